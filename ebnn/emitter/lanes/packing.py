"""From pooled words, a filter's lanes each, to the map that the next block reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebnn.emitter.lanes.geometry import WORD_BITS, Lanes
from ebnn.emitter.layout import Layout


@dataclass(frozen=True)
class Merge:
    """How many pooled words have room in one: `shifts` of each, and the `bits` that they take."""

    shifts: tuple[int, ...]
    bits: int

    def place(self, index: int) -> int:
        """Bit of lane 0 of the `index`-th of many words that are merged, and these put one behind
        the other."""
        merged, shift = divmod(index, len(self.shifts))
        return merged * self.bits + self.shifts[shift]

    def words(self, count: int) -> int:
        """Words that `count` pooled words take so."""
        merged = -(-count // len(self.shifts))
        return -(-merged * self.bits // WORD_BITS)


def merge_of(mask: int) -> Merge:
    """The most words with ones in `mask` alone that have room in one another's gaps."""
    shifts, used = [], 0
    for shift in range(WORD_BITS - mask.bit_length() + 1):
        if used & mask << shift == 0:
            shifts.append(shift)
            used |= mask << shift
    return Merge(tuple(shifts), used.bit_length())


def packed_layout(
    lanes: Lanes,
    merge: Merge,
    batches: Sequence[tuple[int, int, int]],
    groups: Sequence[Sequence[int]],
) -> Layout:
    """The map as packed pooled words: any order does for a fully connected layer. `batches` are
    (strip, first pooled word, count), `groups` the filters that are computed one after another."""
    bit_of: NDArray[np.intp] = np.zeros(lanes.out_shape, dtype=np.intp)
    base = 0
    for strip, first, count in batches:
        for group in groups:
            for word in range(first, first + count):
                lane, row, column = lanes.pooled_lanes(strip, word).T
                for index, filter_ in enumerate(group):
                    place = WORD_BITS * base + merge.place(index)
                    bit_of[filter_, row, column] = place + lane
                base += merge.words(len(group))
    return Layout("EBNN_DENSE", bit_of, base)
