"""Weights of a bit each as walk_planes.c walks them: filters in pairs that have much in common."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ebnn.emitter.variants.edges import outside_of
from ebnn.emitter.variants.lanes import LANES, filter_sets, plane_halves
from ebnn.emitter.variants.planes import INVERTED, by_shift, margins_of, pairs_of
from ebnn.lowered import HiddenLayer

PACKED_AT_ONCE = 16  # filters that are written
_QUAD = 4  # planes that are counted at once
_CARRY_QUADS = 4  # that give a carry


@dataclass(frozen=True)
class Packed:
    """The weights of a layer: `words` uint32; `numbers` uint8, a filter's place among those at
    once, with 0x80 where its weights are inverted; `margins` int16 (filters, classes), in the
    pairs' order.

    `quads` and `walked` are how many quads and words are walked for all filters; `carries` is the
    most carries that a filter's counts give.
    """

    words: NDArray[np.uint32]
    numbers: NDArray[np.uint8]
    margins: NDArray[np.int16]
    quads: int
    walked: int
    carries: int


def packed_of(layer: HiddenLayer) -> Packed:
    """What conv_packed.c walks, and in which order."""
    positive, used = by_shift(layer)
    outside = outside_of(layer).reshape(-1, *layer.weight.shape[2:])
    planes = LANES // 2 * plane_halves(layer)
    words: list[NDArray[np.uint32]] = []
    numbers, margins = [], []
    quads = walked = carries = 0
    for filters in filter_sets(layer, PACKED_AT_ONCE):
        first = filters.start
        at_once = positive[first : filters.stop]
        for pair in pairs_of(at_once[:, used], _quads_of_pairs(at_once, used)):
            bits = [(positive[first + index] != inverted) & used for index, inverted in pair]
            if len(bits) == 1:
                bits.append(np.zeros_like(used))
            one, other = (each[::-1, :planes] for each in bits)  # the highest shift first
            words.append(_packed(one, other))
            counts = [_quads(one & other), _quads(one & ~other), _quads(other & ~one)]
            quads += sum(int(count.sum()) for count in counts[: len(pair) + 1])
            walked += sum(count.size for count in counts[: len(pair) + 1])
            shared, *own = (-(-int(count.sum()) // _CARRY_QUADS) for count in counts)
            carries = max(carries, shared + max(own))
            for index, inverted in pair:
                numbers.append(index | INVERTED * inverted)
                margins.append(margins_of(layer, first + index, inverted, outside))
    return Packed(
        np.concatenate(words),
        np.array(numbers, np.uint8),
        np.array(margins, np.int16),
        quads,
        walked,
        carries,
    )


def _packed(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Words of both filters in turn, of each [part][plane]; the last two are one where a half is
    enough."""
    words = np.stack([_words(one), _words(other)], axis=-1)
    parts = words.reshape(len(words), -1)
    if one.shape[1] % LANES:
        halves = parts[:, -2] | parts[:, -1] >> LANES // 2
        parts = np.concatenate([parts[:, :-2], halves[:, None]], axis=1)
    return parts.ravel().astype(np.uint32)


def _words(bits: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """[part][word] of bits [part][plane], the first one on top."""
    filling = -bits.shape[1] % LANES
    filled = np.pad(bits, ((0, 0), (0, filling)))
    return np.packbits(filled, axis=1).view(">u4").astype(np.uint32)


def _quads(bits: NDArray[np.bool_]) -> NDArray[np.integer]:
    """Quads of each word of bits [part][plane]."""
    return _quads_of(_by_word(bits).sum(axis=-1))


def _quads_of_pairs(positive: NDArray[np.bool_], used: NDArray[np.bool_]) -> NDArray[np.integer]:
    """Quads of two filters' three lists, as `pairs_of` takes them."""
    kept, inverted = (
        _by_word(bits & used).reshape(len(bits), -1, LANES).astype(np.int32)
        for bits in (positive, ~positive)
    )
    costs = []
    for first, second in product((kept, inverted), repeat=2):
        both = np.einsum("iwk,jwk->ijw", first, second)
        alone = (first.sum(axis=2)[:, None] - both, second.sum(axis=2)[None] - both)
        costs.append(sum(_quads_of(ones).sum(axis=2) for ones in (both, *alone)))
    return np.stack(costs)


def _by_word(bits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bits [...][plane] as [...][word][bit]."""
    filled = np.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, -bits.shape[-1] % LANES)])
    return filled.reshape(*bits.shape[:-1], -1, LANES)


def _quads_of(ones: NDArray[np.integer]) -> NDArray[np.integer]:
    """Of words with so many ones: at least one each."""
    quads: NDArray[np.integer] = np.maximum(1, -(-ones // _QUAD))
    return quads
