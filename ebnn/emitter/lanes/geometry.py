"""Which positions of a convolution are which bits of a word."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import ConvPool
from ebnn.lowered import HiddenLayer

WORD_BITS = 32


@dataclass(frozen=True)
class Lanes:
    """The lanes of a word: positions before pooling, of a strip of the map's columns.

    A strip has `columns` pooled columns; those of strip q begin at pooled column `strips[q]`. A
    word has `slots` bands of rows: lane slot_lanes[k] + stride * x of word i belongs to column x of
    the strip, in row i + k * band_rows * pool_stride. The first `interleaved` slots lie between
    each other, those that follow `pitch` lanes above.

    `origin`: a strip's rows have the column in bit 0 that a window at the strip's left end has
    `origin` columns from its left.
    """

    block: ConvPool  # with pool_stride 1 where pool is 1
    in_shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]
    strips: tuple[int, ...]
    columns: int
    origin: int
    slot_lanes: tuple[int, ...]
    interleaved: int
    pitch: int
    band_rows: int  # pooled rows of a band, the last one's may be fewer

    @property
    def slots(self) -> int:
        return len(self.slot_lanes)

    @property
    def row_step(self) -> int:
        """Rows of the map that are new to the next row of windows."""
        return min(self.block.stride, self.block.kernel_height)

    def conv_words(self, pooled_words: int) -> int:
        """Words before pooling that so many pooled words need."""
        return (pooled_words - 1) * self.block.pool_stride + self.block.pool

    def map_words(self, pooled_words: int) -> int:
        """Words of rows of the map that so many pooled words need."""
        return (self.conv_words(pooled_words) - 1) * self.row_step + self.block.kernel_height

    @property
    def band_offset(self) -> int:
        """Rows of the map from a band to the next."""
        return self.band_rows * self.block.pool_stride * self.block.stride

    def map_row(self, word: int) -> int:
        """Row of the map that is the first band's in word `word` of rows; it may be outside."""
        window, within = divmod(word, self.row_step)
        return window * self.block.stride + within - self.block.padding

    @property
    def has_gaps(self) -> bool:
        """Whether there are rows before pooling that no pooled row needs."""
        return self.block.pool < self.block.pool_stride

    def column_shift(self, column: int) -> tuple[int, int]:
        """(phase, shift to the right) that bring the taps of a kernel's column to their lanes."""
        right = column - self.origin
        if self.interleaved == 1:
            return 0, right
        return right % self.block.stride, right - right % self.block.stride

    @property
    def phases(self) -> list[int]:
        """First columns of those that are in one word: of the stride's where rows are interleaved,
        else one."""
        return sorted({self.column_shift(c)[0] for c in range(self.block.kernel_width)})

    def first_column(self, strip: int) -> int:
        """The map's column in bit 0 of a strip's rows; below 0 in the padding."""
        left = self.strips[strip] * self.block.pool_stride * self.block.stride
        return left - self.block.padding + self.origin

    def pooled_lanes(self, strip: int, word: int) -> NDArray[np.intp]:
        """Lanes of pooled word `word`: int (lanes, 3), lane, row, column of the map of results;
        each position of the map in one strip, word and lane alone."""
        _, height, width = self.out_shape
        before = self.strips[strip - 1] + self.columns if strip else 0
        step = self.block.stride * self.block.pool_stride
        found = [
            (first + step * x, row, column)
            for slot, first in enumerate(self.slot_lanes)
            if (row := slot * self.band_rows + word) < height
            for x in range(self.columns)
            if before <= (column := self.strips[strip] + x) < width
        ]
        return np.array(found, dtype=np.intp).reshape(-1, 3)

    def mask(self, strip: int, word: int) -> int:
        """The lanes of `pooled_lanes` as a word."""
        return sum(1 << int(lane) for lane in self.pooled_lanes(strip, word)[:, 0])


def lanes_of(layer: HiddenLayer) -> Lanes | None:
    """The lanes for a convolution, None where a window is wider than a word."""
    block = layer.block
    assert isinstance(block, ConvPool)
    if block.pool == 1:
        block = replace(block, stride=block.stride * block.pool_stride, pool_stride=1)
    strips = _strips(block, layer)
    if strips is None:
        return None
    starts, columns, origin = strips
    _, height, _ = layer.out_shape
    span = block.stride * ((columns - 1) * block.pool_stride + block.pool - 1) + 1
    width = layer.in_shape[2] + block.padding
    pitch = -(-width // block.stride) * block.stride
    beside = 1
    if len(starts) == 1:
        while beside * pitch + max(span, layer.in_shape[2]) <= WORD_BITS:
            beside += 1
    # Between each other, bands have every stride-th column of the map, up to the last one seen.
    seen = min(layer.in_shape[2], span + block.kernel_width - 1 - origin) - 1
    last = max(span - 1, seen // block.stride * block.stride)
    between = min(block.stride, WORD_BITS - (beside - 1) * pitch - last)
    band_rows = -(-height // min(height, beside * between))
    slots = -(-height // band_rows)
    interleaved = min(between, slots)
    lanes = tuple(slot % interleaved + slot // interleaved * pitch for slot in range(slots))
    return Lanes(
        block=block,
        in_shape=layer.in_shape,
        out_shape=layer.out_shape,
        strips=starts,
        columns=columns,
        origin=origin,
        slot_lanes=lanes,
        interleaved=interleaved,
        pitch=pitch,
        band_rows=band_rows,
    )


def _strips(block: ConvPool, layer: HiddenLayer) -> tuple[tuple[int, ...], int, int] | None:
    """First pooled columns, pooled columns of each, and origin."""
    width, in_width = layer.out_shape[2], layer.in_shape[2]
    span = block.stride * ((width - 1) * block.pool_stride + block.pool - 1) + 1
    if in_width <= WORD_BITS and span <= WORD_BITS:
        # Shifted either way, a row brings the padding's zeros along.
        return (0,), width, block.padding
    step = block.stride * block.pool_stride
    most = (WORD_BITS - block.kernel_width - block.stride * (block.pool - 1) + step) // step
    if most < 1:
        return None
    count = -(-width // most)
    columns = -(-width // count)
    # The last ones begin early, and so end with the map.
    return tuple(min(index * columns, width - columns) for index in range(count)), columns, 0
