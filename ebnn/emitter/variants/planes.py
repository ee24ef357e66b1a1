"""Lists of the taps that conv_planes.c counts: filters in pairs that have much in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import ConvPool, fan_in
from ebnn.lowered import HiddenLayer

COUNT_PLANES = 11  # EBNN_COUNT_PLANES
NARROW_PRODUCTS_MAX = 509  # above, all of them take part in the comparison
TREE_TAPS = 16  # taps that are counted at once
_INVERTED = 0x8000  # what is listed are a filter's weights -1
_LANES = 32


@dataclass(frozen=True)
class Lanes:
    """How pooled positions lie in a word: `rows` rows, `pitch` lanes apart; `columns` of the
    window's columns are in scratch, and the others one lane further up."""

    columns: int
    pitch: int
    rows: int


def lanes_of(layer: HiddenLayer) -> Lanes | None:
    """The lanes for a layer, None where conv_planes.c does not serve."""
    block = layer.block
    assert isinstance(block, ConvPool)
    _, _, width = layer.out_shape
    products = fan_in(block, layer.in_shape)
    seen = block.kernel_width + block.pool - 1
    columns = max(1, min(block.pool_stride, seen), seen - block.pool_stride)
    pitch = width + (columns < seen)
    column_bytes = 4 * block.kernel_height * _words(layer) * _LANES
    if block.stride != 1 or block.padding != 0 or pitch > _LANES:
        return None
    if products + 3 >= 1 << COUNT_PLANES or seen * column_bytes > 0xFFFF:
        return None
    return Lanes(columns, pitch, min(_LANES // pitch, layer.out_shape[1]))


def _words(layer: HiddenLayer) -> int:
    return -(-layer.in_shape[0] // 32)


@dataclass(frozen=True)
class Lists:
    """The lists of a layer, and the most carries that adding up a filter's counts takes."""

    filters: NDArray[np.uint16]
    all_taps: NDArray[np.uint16]
    carries: int


def lists_of(layer: HiddenLayer) -> Lists:
    """What conv_planes.c counts, and in which order."""
    block = layer.block
    assert isinstance(block, ConvPool)
    filters, channels = layer.weight.shape[:2]
    products = fan_in(block, layer.in_shape)
    # [filter][column][row][channel], the order of the planes.
    positive = (layer.weight > 0).transpose(0, 3, 2, 1)
    row, column = np.arange(block.kernel_height), np.arange(block.kernel_width)
    places = (column[:, None] * block.kernel_height + row)[..., None] * (32 * _words(layer))
    offsets = 4 * (places + np.arange(channels))

    def part(taps: NDArray[np.bool_]) -> list[int]:
        ends = np.cumsum([0, *taps.sum(axis=(1, 2))])
        return [*map(int, ends), *map(int, offsets[taps])]

    def carries(*parts: NDArray[np.bool_]) -> int:
        """Of counting `parts`, where the columns are cut in the worst place."""
        counts = [taps.sum(axis=(1, 2)) for taps in parts]
        return sum(
            max(
                -(-int(count[:cut].sum()) // TREE_TAPS) - (-int(count[cut:].sum()) // TREE_TAPS)
                for cut in range(len(count) + 1)
            )
            for count in counts
        )

    stream = [0] * TREE_TAPS
    most = carries(np.ones((1, block.kernel_height, channels), dtype=bool))
    for pair in _pairs(positive.reshape(filters, -1)):
        listed = [positive[filter_] != inverted for filter_, inverted in pair]
        shared = listed[0] & listed[1] if len(pair) == 2 else np.zeros_like(listed[0])
        stream += part(shared)
        for (filter_, inverted), taps in zip(pair, listed, strict=True):
            own = taps & ~shared
            threshold = int(layer.threshold[filter_])
            if inverted:  # sum >= T is not (-sum >= 1 - T)
                threshold = 1 - threshold
            # Sums have the parity of `products` and lie in -products..products.
            threshold = min(max(threshold, -products), products + 2)
            threshold += (threshold - products) % 2
            margin = (products - threshold) // 2 - int(taps.sum())
            stream += [filter_ | _INVERTED * inverted, margin & 0xFFFF, *part(own)]
            most = max(most, 1 + carries(shared, own))
    every = np.ones((block.kernel_width, block.kernel_height, channels), dtype=bool)
    every[1:] = False
    all_taps = [0] * TREE_TAPS + [0, int(every.sum()), *map(int, offsets[every])]
    return Lists(np.array(stream, np.uint16), np.array(all_taps, np.uint16), most)


def _pairs(positive: NDArray[np.bool_]) -> list[list[tuple[int, bool]]]:
    """Pairs of (filter, whether its weights -1 are listed) with few taps to count; an odd number
    of filters leaves one alone, at the end."""
    filters, products = positive.shape
    signs = np.where(positive, 1, -1).astype(np.int32)
    ones = positive.sum(axis=1)
    agree = (products + signs @ signs.T) // 2  # taps with the same weight
    both = (agree + ones[:, None] + ones[None, :] - products) // 2  # +1 in both
    # Taps that either lists: with both signs kept, and with the second, first, or both inverted.
    either = np.stack(
        [
            ones[:, None] + ones[None, :] - both,
            products - (ones[None, :] - both),
            products - (ones[:, None] - both),
            products - both,
        ]
    )
    cost = either.min(axis=0)
    order = _matched(cost)
    pairs = []
    for first, second in zip(order[::2], order[1::2], strict=False):
        choice = int(either[:, first, second].argmin())
        pairs.append([(first, choice >= 2), (second, choice % 2 == 1)])
    if filters % 2:
        last = order[-1]
        pairs.append([(last, bool(2 * ones[last] > products))])
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
