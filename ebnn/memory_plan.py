"""Where each map lives while a network runs: one arena, every byte of it accounted for.

Neighbouring maps lie at opposite ends of the arena, so a block never writes over what it reads,
and the kernels' scratch between them: the arena is as large as the step that needs most.
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
    scratch_offsets: tuple[int, ...]
    arena_bytes: int


def plan_memory(map_bytes: Sequence[int], scratch_bytes: Sequence[int]) -> MemoryPlan:
    """Place a chain of maps, each written while the one before it is read.

    `map_bytes[i]` is the size of map i, `scratch_bytes[i]` what the kernel writing it needs
    besides.
    """
    sizes = [_rounded_up(count) for count in map_bytes]
    inputs = [0, *sizes][: len(sizes)]
    steps = zip(inputs, sizes, map(_rounded_up, scratch_bytes), strict=True)
    arena_bytes = max(map(sum, steps), default=0)
    offsets = [0 if index % 2 == 0 else arena_bytes - size for index, size in enumerate(sizes)]
    # Of a step's two maps the one with the even index is at the start.
    scratch = [
        size if index % 2 == 0 else before
        for index, (before, size) in enumerate(zip(inputs, sizes, strict=True))
    ]
    return MemoryPlan(
        map_offsets=tuple(offsets),
        map_bytes=tuple(map_bytes),
        scratch_offsets=tuple(scratch),
        arena_bytes=arena_bytes,
    )


def _rounded_up(count: int) -> int:
    return -(-count // WORD_BYTES) * WORD_BYTES
