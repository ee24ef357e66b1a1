"""Where each map lives while a network runs: one arena, every byte of it accounted for.

Neighbouring maps lie at opposite ends of the arena, so a block never writes over what it reads
and the arena is as large as the largest two neighbours; the kernels' scratch follows behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WORD_BYTES = 4


@dataclass(frozen=True)
class MemoryPlan:
    """Offsets in bytes from the start of the arena; all are multiples of 4."""

    map_offsets: tuple[int, ...]
    map_bytes: tuple[int, ...]
    scratch_offset: int
    scratch_bytes: int

    @property
    def arena_bytes(self) -> int:
        return self.scratch_offset + self.scratch_bytes


def plan_memory(map_bytes: Sequence[int], scratch_bytes: Sequence[int]) -> MemoryPlan:
    """Place a chain of maps, each written while the one before it is read.

    `map_bytes[i]` is the size of map i, `scratch_bytes[i]` what the kernel writing it needs
    besides.
    """
    sizes = [_rounded_up(count) for count in map_bytes]
    pairs = [first + second for first, second in zip([0, *sizes], sizes, strict=False)]
    maps_end = max(pairs, default=0)
    offsets = [0 if index % 2 == 0 else maps_end - size for index, size in enumerate(sizes)]
    return MemoryPlan(
        map_offsets=tuple(offsets),
        map_bytes=tuple(map_bytes),
        scratch_offset=maps_end,
        scratch_bytes=_rounded_up(max(scratch_bytes, default=0)),
    )


def _rounded_up(count: int) -> int:
    return -(-count // WORD_BYTES) * WORD_BYTES
