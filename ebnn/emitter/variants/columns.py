"""How conv_columns cuts its work: lanes of a word, columns, tables of signed sums, bands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ebnn.architecture import ConvPool, fan_in
from ebnn.emitter.layout import WORD_BITS, Layout, words_layout
from ebnn.emitter.variants.common import conv_of, scratch_limit_bytes
from ebnn.emitter.variants.site import Site
from ebnn.lowered import HiddenLayer

_STACK_BYTES = 160  # about what its frames take more than those of the reference lowering
_CHUNK_TAPS_MAX = 5  # a table has 2^(taps - 1) sums
_HELD_MAX = 8  # of the 13 registers of a Cortex-M3 or M4
_DENSE_FILTERS_MAX = 16  # above, a pixel takes a word anyway


@dataclass(frozen=True)
class Columns:
    """A layer's convolution by columns. A word has the sums of `lanes` neighbouring positions of a
    row; a column is the words at one place of all rows of a band, which is `band` rows of the
    pooled map. A kernel row's taps are cut into chunks of `chunk_taps`, each with a table.

    `scale`: sums are so many times what they stand for. `largest_distance`: of a sum and its
    threshold. `is_wide`: values are int16, not uint8. `is_dense`: a word of the map has as many
    pixels as it holds whole.
    """

    block: ConvPool
    in_shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]
    lanes: int
    scale: int
    largest_distance: int
    is_wide: bool
    is_dense: bool
    chunk_taps: int
    band: int

    @property
    def value_type(self) -> str:
        """Of the map, in C."""
        return "int16_t" if self.is_wide else "uint8_t"

    @property
    def group_filters(self) -> int:
        """Filters that a word has a bit of in each lane."""
        return WORD_BITS // self.lanes

    @property
    def groups(self) -> int:
        return -(-self.out_shape[0] // self.group_filters)

    # ---- positions ------------------------------------------------------------------------------

    @property
    def conv_width(self) -> int:
        """Positions of a row that pooling reads."""
        return (self.out_shape[2] - 1) * self.block.pool_stride + self.block.pool

    @property
    def count(self) -> int:
        """Columns of a band."""
        return -(-self.conv_width // self.lanes)

    @property
    def column_step(self) -> int:
        """Columns of the map from one column to the next."""
        return self.lanes * self.block.stride

    @property
    def span(self) -> int:
        """Values of a row that a column's taps are."""
        return self.block.kernel_width + (self.lanes - 1) * self.block.stride

    def conv_rows(self, pooled_rows: int) -> int:
        """Rows of the convolution that `pooled_rows` rows are pooled from."""
        return (pooled_rows - 1) * self.block.pool_stride + self.block.pool

    def table_rows(self, pooled_rows: int) -> int:
        """Rows of the map that they are computed from, padding included."""
        return (self.conv_rows(pooled_rows) - 1) * self.block.stride + self.block.kernel_height

    @property
    def first_inside(self) -> int:
        """First column that reads no padding on the left."""
        return -(-self.block.padding // self.column_step)

    @property
    def end_inside(self) -> int:
        """The column, from `first_inside` on, that reads past the map's right edge: where it needs
        what it reads, or past the map's end."""
        _, height, width = self.in_shape
        last_row = min(self.table_rows(self.out_shape[1]) - self.block.padding, height) - 1
        for column in range(self.first_inside, self.count):
            left = column * self.column_step - self.block.padding
            spare = max(0, (column + 1) * self.lanes - self.conv_width)
            needed = left + self.span - spare * self.block.stride
            if needed > width or last_row * width + left + self.span > height * width:
                return column
        return self.count

    @property
    def has_edges(self) -> bool:
        return self.first_inside > 0 or self.end_inside < self.count

    # ---- tables ---------------------------------------------------------------------------------

    @property
    def chunks(self) -> tuple[tuple[int, int], ...]:
        """Each chunk's first tap and number of taps."""
        taps = self.block.kernel_width
        firsts = range(0, taps, self.chunk_taps)
        return tuple((first, min(self.chunk_taps, taps - first)) for first in firsts)

    @property
    def channel_sums(self) -> int:
        """Entries of a row's tables, of one channel."""
        return sum(1 << (taps - 1) for _, taps in self.chunks)

    @property
    def row_words(self) -> int:
        """Words of a row's tables. The bits of a row of the convolution are written over the row of
        tables in front of those that they are computed from: it, or a spare one, is done with."""
        return max(self.in_shape[0] * self.channel_sums, self.groups)

    @property
    def bits_words(self) -> int:
        """Words from one row's bits to the next one's."""
        return self.row_words * self.block.stride

    @property
    def scratch_words(self) -> int:
        return (1 + self.table_rows(self.band)) * self.row_words

    @property
    def terms(self) -> int:
        """Of a filter's sum."""
        return self.in_shape[0] * self.block.kernel_height * len(self.chunks)

    @property
    def has_lead(self) -> bool:
        """Whether the first row of a window is a single term, with others to follow."""
        return self.in_shape[0] * len(self.chunks) == 1 and self.block.kernel_height > 1

    @property
    def held(self) -> range:
        """Words, counted from where a window's bits are, that have a register each."""
        entries = (self.block.kernel_height - 1) * self.row_words
        is_little = self.has_lead and entries <= _HELD_MAX and not self.is_fused
        return range(2 * self.row_words, 2 * self.row_words + (entries if is_little else 0))

    @property
    def is_fused(self) -> bool:
        """Whether tables and filters are computed in one loop where there are registers for it: it
        pays where two rows are tabulated for each row of the convolution."""
        is_3x3 = (self.block.kernel_height, self.chunks) == (3, ((0, 3),)) and self.row_words == 4
        return is_3x3 and self.block.stride == 2 and self.block.padding == 0 and not self.has_edges

    # ---- the pooled map -------------------------------------------------------------------------

    @property
    def word_pixels(self) -> int:
        """Pixels that a word has whole."""
        return WORD_BITS // self.out_shape[0] if self.is_dense else 1

    @property
    def pixel_words(self) -> int:
        return -(-self.out_shape[0] // WORD_BITS)

    @property
    def pooled_column_words(self) -> int:
        """Words of a pooled column in a dense map."""
        return -(-self.out_shape[1] // self.word_pixels)

    @property
    def map_words(self) -> int:
        _, height, width = self.out_shape
        if self.is_dense:
            return width * self.pooled_column_words
        return height * width * self.pixel_words

    @property
    def layout(self) -> Layout:
        """`EBNN_WORDS`; if dense, one column after the other, each from the top down."""
        if not self.is_dense:
            return words_layout(self.out_shape)
        filters = self.out_shape[0]
        channel, row, column = np.indices(self.out_shape)
        word = column * self.pooled_column_words + row // self.word_pixels
        bit_of = WORD_BITS * word + row % self.word_pixels * filters + channel
        return Layout("EBNN_WORDS", bit_of, self.map_words)

    # ---- what it takes --------------------------------------------------------------------------

    @property
    def tabulated(self) -> int:
        """Rows of a channel and column whose tables are computed; bands overlap."""
        return sum(map(self.table_rows, self._bands)) * self.count * self.in_shape[0]

    @property
    def positions(self) -> int:
        """Words of positions that all filters are computed for."""
        return sum(map(self.conv_rows, self._bands)) * self.count

    @property
    def _bands(self) -> list[int]:
        full, rest = divmod(self.out_shape[1], self.band)
        return [self.band] * full + [rest] * (rest > 0)


def columns_of(site: Site[HiddenLayer]) -> Columns:
    """The cheapest chunks and bands that there is scratch for; else those that take the least."""
    layer, block = site.layer, conv_of(site.layer)
    largest_sum = fan_in(block, layer.in_shape) * site.input_magnitude
    distance = largest_sum + int(np.abs(layer.threshold.astype(np.int64)).max())
    lanes, scale = _lanes_and_scale(distance, block.stride)
    options = []
    for chunk_taps in range(1, min(_CHUNK_TAPS_MAX, block.kernel_width) + 1):
        for band in range(1, layer.out_shape[1] + 1):
            columns = Columns(
                block,
                layer.in_shape,
                layer.out_shape,
                lanes,
                scale,
                distance,
                site.layout.c_name == "EBNN_I16",
                site.feeds_linear and layer.out_shape[0] <= _DENSE_FILTERS_MAX,
                chunk_taps,
                band,
            )
            if band == layer.out_shape[1] or band % columns.word_pixels == 0:
                options.append(columns)
    fitting = [columns for columns in options if _has_scratch(columns)]
    if fitting:
        return min(fitting, key=lambda columns: (_cycles(columns), columns.scratch_words))
    return min(options, key=lambda columns: (columns.scratch_words, _cycles(columns)))


def _lanes_and_scale(distance: int, stride: int) -> tuple[int, int]:
    """Two lanes where sums fit 16 bits. Doubled, where that fits too, a threshold near 0 is one
    instruction to add and not two; with strides that is less than what doubling takes, as more
    rows are tabulated than the convolution has."""
    if distance + 1 >= 1 << 15:
        return 1, 1
    return 2, 2 if stride == 1 and 2 * distance + 1 < 1 << 15 else 1


def _has_scratch(columns: Columns) -> bool:
    limit = scratch_limit_bytes(4 * columns.map_words, columns.out_shape, _STACK_BYTES)
    return 4 * columns.scratch_words <= limit


def _cycles(columns: Columns) -> int:
    """About what an M4 takes."""
    tables = columns.tabulated * (2 * columns.channel_sums + 2 * columns.span + 6)
    filters = columns.positions * columns.out_shape[0] * (2 * columns.terms + 2)
    return tables + filters
