"""How one layer is computed: what is shared, and in which batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import or_

from ebnn.emitter.lanes.borders import Borders, borders_of
from ebnn.emitter.lanes.circuit import Signal
from ebnn.emitter.lanes.geometry import WORD_BITS, Lanes, lanes_of
from ebnn.emitter.lanes.packing import Merge, merge_of
from ebnn.emitter.lanes.sums import SharedSums
from ebnn.lowered import HiddenLayer

_GROUPS = (32, 16, 8)  # filters whose words before pooling are kept at a time
_SMALL_GROUP, _SMALL_TRANSPOSED = 4, 8  # where scratch is to be small
# Filters of a bundle may share what they read; more of them take more registers than there are.
_BUNDLE_FILTERS = 3
_BUNDLE_PLANES = 20


@dataclass(frozen=True)
class Plan:
    """Of a layer, `name` in C. A batch is `batch_words` pooled words of all filters: first the rows
    of the map that they need, then the shared sums, then, `group` filters at a time, the words
    before pooling and what is made of them: packed words where `packed`, else, `transposed` filters
    at a time, 8, 16 or 32, transposed, pixels of whole units of `unit_bytes`."""

    name: str
    layer: HiddenLayer
    lanes: Lanes
    sums: SharedSums
    borders: Borders
    packed: bool
    batch_words: int
    group: int
    transposed: int = WORD_BITS
    unit_bytes: int = 4

    @property
    def filters(self) -> int:
        return self.lanes.out_shape[0]

    @cached_property
    def circuits(self) -> dict[int, tuple[list[str], Signal | bool]]:
        """Of the filters, as far as they were asked for."""
        return {}

    @cached_property
    def groups(self) -> list[range]:
        """Filters of each group."""
        starts = range(0, self.filters, self.group)
        return [range(start, min(start + self.group, self.filters)) for start in starts]

    @property
    def batches(self) -> list[tuple[int, int, int]]:
        """(strip, first pooled word, count) in the order in which they are computed."""
        lanes = self.lanes
        return [
            (strip, first, min(self.batch_words, lanes.band_rows - first))
            for strip in range(len(lanes.strips))
            for first in range(0, lanes.band_rows, self.batch_words)
        ]

    @cached_property
    def masks(self) -> list[list[int]]:
        """Lanes in use, of [strip][pooled word]."""
        lanes = self.lanes
        return [
            [lanes.mask(strip, word) for word in range(lanes.band_rows)]
            for strip in range(len(lanes.strips))
        ]

    @property
    def mask(self) -> int:
        """Lanes in use in any pooled word."""
        return reduce(or_, (mask for strip in self.masks for mask in strip))

    @property
    def is_ragged(self) -> bool:
        """Whether lanes are in use in some pooled words alone."""
        return any(mask != self.mask for strip in self.masks for mask in strip)

    @cached_property
    def merge(self) -> Merge:
        return merge_of(self.mask)

    # ---- rows of the map -------------------------------------------------------------------

    @property
    def rows_in_place(self) -> bool:
        """Whether the rows of the map are words already, and all there are."""
        lanes = self.lanes
        _, height, width = lanes.in_shape
        last = lanes.map_row(lanes.map_words(lanes.band_rows) - 1)
        return (
            width == WORD_BITS
            and lanes.block.padding == 0
            and len(lanes.strips) == 1
            and lanes.row_step == lanes.block.stride
            and last + (lanes.slots - 1) * lanes.band_offset < height
        )

    @property
    def band_words(self) -> int:
        """Words from a band's rows to the next one's."""
        if self.rows_in_place:
            return self.lanes.band_offset
        return self.lanes.map_words(self.batch_words)

    @property
    def channel_words(self) -> int:
        """Words from a channel's rows to the next one's."""
        if self.rows_in_place:
            return self.lanes.in_shape[1]
        return self.lanes.slots * self.band_words

    @property
    def rows_read(self) -> int:
        """Words of rows that make one word of lanes."""
        return self.lanes.in_shape[0] * self.lanes.slots

    # ---- scratch, in words -----------------------------------------------------------------

    @property
    def rows_words(self) -> int:
        return 0 if self.rows_in_place else self.lanes.in_shape[0] * self.channel_words

    @property
    def planes_words(self) -> int:
        return 0 if self.sums.are_rows else self.sums.pitch * self.lanes.map_words(self.batch_words)

    def kept_words(self, pooled_words: int) -> int:
        """Words before pooling that are kept of each filter, for so many pooled words."""
        if self.lanes.has_gaps:
            return self.lanes.block.pool * pooled_words
        return self.lanes.conv_words(pooled_words)

    @property
    def reached_words(self) -> int:
        return min(self.group, self.filters) * self.kept_words(self.batch_words)

    @property
    def transposed_words(self) -> int:
        """Words that are transposed at once: of 8, 16 or 32 filters."""
        if self.packed:
            return 0
        return next(words for words in (8, 16, 32) if words >= min(self.filters, self.transposed))

    @property
    def scratch_words(self) -> int:
        return self.rows_words + self.planes_words + self.reached_words + self.transposed_words

    # ---- filters ---------------------------------------------------------------------------

    def bundles(self, group: Sequence[int]) -> list[list[int]]:
        """The filters of a group, in bundles that read the same planes as far as possible."""
        planes = {f: {s.text for level in self.sums.terms(f) for s in level} for f in group}
        borders = -(-self.borders.words.shape[1] // self.filters)
        length = _BUNDLE_PLANES // (len(planes[group[0]]) + borders)
        left, bundles = list(group), []
        while left:
            bundle = [left.pop(0)]
            seen = planes[bundle[0]]
            while left and len(bundle) < min(length, _BUNDLE_FILTERS):
                best = max(left, key=lambda f: len(seen & planes[f]))
                left.remove(best)
                bundle.append(best)
                seen = seen | planes[best]
            bundles.append(bundle)
        return bundles


def smallest_plan_of(
    name: str, layer: HiddenLayer, packed: bool, unit_bytes: int = 4
) -> Plan | None:
    """The plan with the least scratch: a pooled word at a time, nothing shared, a byte of each
    pixel written at once; None where a window is wider than a word."""
    lanes = lanes_of(layer)
    if lanes is None:
        return None
    borders = borders_of(layer, lanes)
    # Packed, each group of filters begins a word.
    group = _GROUPS[-1] if packed else _SMALL_GROUP
    sums = SharedSums(layer.weight, lanes, int(borders.any), tabulated=False)
    plan = Plan(name, layer, lanes, sums, borders, packed, 1, group, _SMALL_TRANSPOSED, unit_bytes)
    if borders.any or lanes.slots > 1:
        return plan
    return replace(plan, sums=SharedSums(layer.weight, lanes, 0, False, plan.channel_words))


def plan_of(
    name: str, layer: HiddenLayer, packed: bool, scratch_words_max: int, unit_bytes: int = 4
) -> Plan | None:
    """The plan with shared sums if possible, and the largest batches; None where the smallest takes
    too much scratch."""
    lanes = lanes_of(layer)
    if lanes is None:
        return None
    borders = borders_of(layer, lanes)
    for tabulated in (True, False):
        sums = SharedSums(layer.weight, lanes, int(borders.any), tabulated)
        transposed = 8 * unit_bytes
        first = Plan(name, layer, lanes, sums, borders, packed, 1, 1, transposed, unit_bytes)
        # Transposed are the lanes of one word, of as many pooled words as have room in it.
        most = lanes.band_rows if packed else min(lanes.band_rows, len(first.merge.shifts))
        for batch_words in range(most, 0, -1):
            for group in [each for each in _GROUPS if each <= transposed]:
                plan = replace(first, batch_words=batch_words, group=group)
                if plan.scratch_words <= scratch_words_max:
                    # As many batches, but of the same length.
                    batches = -(-lanes.band_rows // batch_words)
                    return replace(plan, batch_words=-(-lanes.band_rows // batches))
    return None
