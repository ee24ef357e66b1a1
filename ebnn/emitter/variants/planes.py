"""Lists of the taps that conv_planes.c counts: filters in pairs that have much in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebnn.emitter.variants.common import conv_of
from ebnn.emitter.variants.edges import outside_of
from ebnn.emitter.variants.lanes import LANES, filter_sets, lanes_of, plane_runs
from ebnn.lowered import HiddenLayer

BLOCK_PLANES = 224  # EBNN_BLOCK_PLANES
_FILTERS_AT_ONCE = 32  # filters that are written at once
_QUAD = 4  # taps that are counted at once
_CARRY_QUADS = 4  # that give a carry
INVERTED = 0x80  # EBNNINVERTED: what is listed are a filter's weights -1
_NEXT_BLOCK, _SHARED_END, _OWN_END = 253, 254, 255  # EBNN_NEXT_BLOCK and so on

Taps = NDArray[np.bool_]  # [shift][plane]


@dataclass(frozen=True)
class Lists:
    """The lists of a layer: `taps` uint8; `margins` int16 (filters, classes), in the lists' order.

    `quads` and `parts` are how many quads and parts all lists have; `carries` is the most carries
    that a filter's counts give.
    """

    taps: NDArray[np.uint8]
    margins: NDArray[np.int16]
    quads: int
    parts: int
    carries: int


@dataclass(frozen=True)
class _List:
    """Parts are the taps of one shift and block, in the order in which they are counted."""

    parts: list[NDArray[np.intp]]
    blocks: int
    end: int

    @property
    def quads(self) -> list[int]:
        return [max(1, -(-len(part) // _QUAD)) for part in self.parts]

    @property
    def carries(self) -> int:
        return sum(-(-quads // _CARRY_QUADS) for quads in self.quads)

    def encoded(self) -> list[int]:
        """Bytes, as count_planes.h has them."""
        listed: list[int] = []
        shifts = len(self.parts) // self.blocks
        for index, (part, quads) in enumerate(zip(self.parts, self.quads, strict=True)):
            if index and index % shifts == 0:
                listed.append(_NEXT_BLOCK)
            filling = [0] * (quads * _QUAD - len(part))
            slots = (1 + int(plane) + int(plane) // LANES for plane in part)  # behind words 0
            listed += [quads - 1, *slots, *filling]
        return [*listed, self.end]


def lists_of(layer: HiddenLayer) -> Lists:
    """What conv_planes.c counts, and in which order."""
    positive, used = by_shift(layer)
    outside = outside_of(layer).reshape(-1, *layer.weight.shape[2:])
    taps: list[int] = []
    margins = []
    quads = parts = carries = 0
    for filters in filter_sets(layer, _FILTERS_AT_ONCE):
        first = filters.start
        at_once = positive[first : filters.stop, used]
        for pair in pairs_of(at_once, _taps_of_pairs(at_once)):
            listed = [(positive[first + index] != inverted) & used for index, inverted in pair]
            shared = _list(_shared(*listed), is_shared=True)
            own = [_list(each & ~_shared(*listed), is_shared=False) for each in listed]
            taps += shared.encoded()
            for (index, inverted), alone in zip(pair, own, strict=True):
                taps += [*alone.encoded(), index | INVERTED * inverted]
                margins.append(margins_of(layer, first + index, inverted, outside))
                carries = max(carries, shared.carries + alone.carries)
            quads += sum(sum(each.quads) for each in (shared, *own))
            parts += sum(len(each.parts) for each in (shared, *own))
    return Lists(np.array(taps, np.uint8), np.array(margins, np.int16), quads, parts, carries)


def by_shift(layer: HiddenLayer) -> tuple[NDArray[np.bool_], Taps]:
    """[filter][shift][plane]: where the weights are +1; and where there are weights."""
    block, lanes = conv_of(layer), lanes_of(layer)
    assert lanes is not None
    filters, channels = layer.weight.shape[:2]
    shape = (lanes.shifts, lanes.phases, LANES * plane_runs(layer) // lanes.phases)
    positive = np.zeros((filters, *shape), dtype=bool)
    used = np.zeros(shape, dtype=bool)
    taps = block.kernel_height * channels
    for kx in range(block.kernel_width):
        shift, phase = divmod(kx, block.stride)
        of_column = layer.weight[..., kx].transpose(0, 2, 1).reshape(filters, taps)
        positive[:, shift, phase, :taps] = of_column > 0
        used[shift, phase, :taps] = True
    return positive.reshape(filters, lanes.shifts, -1), used.reshape(lanes.shifts, -1)


def _list(taps: Taps, is_shared: bool) -> _List:
    """A list of taps. Its blocks start at alternate ends of the shifts, where the one before, or
    the shared list, left off."""
    starts = range(0, taps.shape[1], BLOCK_PLANES)
    backwards = is_shared or len(starts) % 2 == 0
    parts = []
    for start in starts:
        of_block = taps[:, start : start + BLOCK_PLANES]
        parts += [np.flatnonzero(part) for part in (of_block[::-1] if backwards else of_block)]
        backwards = not backwards
    return _List(parts, len(starts), _SHARED_END if is_shared else _OWN_END)


def _shared(first: Taps, second: Taps | None = None) -> Taps:
    """What is counted once for a pair. Taps of both that begin a quad which there is room for in
    the quads of each are left to these."""
    if second is None:
        return np.zeros_like(first)
    shared = first & second
    for start in range(0, shared.shape[1], BLOCK_PLANES):
        part = slice(start, start + BLOCK_PLANES)
        for taps, *own in zip(shared[:, part], first[:, part], second[:, part], strict=True):
            common = int(taps.sum())
            alone = [int(each.sum()) - common for each in own]
            quads = [
                sum(-(-count // _QUAD) for count in (common - left, *(n + left for n in alone)))
                for left in range(min(common, _QUAD - 1) + 1)
            ]
            left = int(np.argmin(quads))
            taps[np.flatnonzero(taps)[common - left :]] = False
    return shared


def margins_of(
    layer: HiddenLayer, filter_: int, inverted: bool, outside: NDArray[np.bool_]
) -> list[int]:
    """For each class of positions what 2 A - |a| is compared with."""
    weight = layer.weight[filter_] * (-1 if inverted else 1)
    products = weight.size
    threshold = int(layer.threshold[filter_])
    if inverted:  # sum >= T is not (-sum >= 1 - T)
        threshold = 1 - threshold
    threshold = min(max(threshold, -products), products + 2)
    positive = int((weight > 0).sum())
    margins = []
    for hidden in outside:
        out = weight[:, hidden]
        margins.append(int((out > 0).sum()) + (products - out.size - 2 * positive - threshold) // 2)
    return margins


def _taps_of_pairs(positive: NDArray[np.bool_]) -> NDArray[np.integer]:
    """Taps that either of two filters lists, as `pairs_of` takes them."""
    products = positive.shape[1]
    signs = np.where(positive, 1, -1).astype(np.int32)
    ones = positive.sum(axis=1)
    agree = (products + signs @ signs.T) // 2  # taps with the same weight
    both = (agree + ones[:, None] + ones[None, :] - products) // 2  # +1 in both
    return np.stack(
        [
            ones[:, None] + ones[None, :] - both,
            products - (ones[None, :] - both),
            products - (ones[:, None] - both),
            products - both,
        ]
    )


def pairs_of(
    positive: NDArray[np.bool_], costs: NDArray[np.integer]
) -> list[list[tuple[int, bool]]]:
    """Pairs of (filter, whether its weights -1 are listed) that cost little; an odd number of
    filters leaves one alone, at the end. `costs`, (4, filters, filters), are those of a pair with
    both signs kept, and with the second, first, or both inverted."""
    filters, products = positive.shape
    order = _matched(costs.min(axis=0))
    pairs = []
    for first, second in zip(order[::2], order[1::2], strict=False):
        choice = int(costs[:, first, second].argmin())
        pairs.append([(first, choice >= 2), (second, choice % 2 == 1)])
    if filters % 2:
        last = order[-1]
        pairs.append([(last, bool(2 * positive[last].sum() > products))])
    return pairs


def _matched(cost: NDArray[np.integer]) -> list[int]:
    """An order of the filters whose neighbours (0 and 1, 2 and 3, ...) cost little in sum: the
    cheapest pairs first, then exchanges between two pairs as long as they help."""
    filters = len(cost)
    order: list[int] = []
    left = set(range(filters))
    for place in np.argsort(cost + np.where(np.tri(filters), cost.max() + 1, 0), axis=None):
        first, second = divmod(int(place), filters)
        if first in left and second in left and first != second:
            order += [first, second]
            left -= {first, second}
    order += sorted(left)
    improved = True
    while improved:
        improved = False
        for i in range(0, filters - 1, 2):
            for j in range(i + 2, filters - 1, 2):
                a, b, c, d = order[i], order[i + 1], order[j], order[j + 1]
                now = cost[a, b] + cost[c, d]
                if cost[a, c] + cost[b, d] < now:
                    order[i : i + 2], order[j : j + 2] = [a, c], [b, d]
                    improved = True
                elif cost[a, d] + cost[b, c] < now:
                    order[i : i + 2], order[j : j + 2] = [a, d], [b, c]
                    improved = True
    return order
