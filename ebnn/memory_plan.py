"""Where each map lives while a network runs: one arena, every byte of it accounted for.

A kernel that goes through its input row by row can write its output over rows that it has read: the
two maps then share a place, the output a little in front of the input. Maps that share no place lie
at opposite ends of the arena, so that a block never writes over what it reads, and the kernels'
scratch between them: the arena is as large as the step that needs most.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

WORD_BYTES = 4
_CHOICES_MAX = 12  # steps whose sharing is tried both ways; beyond, all that can share do


@dataclass(frozen=True)
class StepMemory:
    """What one step needs: the map that it writes, and scratch besides.

    `lead_bytes`: it may write its map over the one that it reads, if it begins at least so many
    bytes in front of it; None where it must not. `unread_bytes`: at the end of the map that
    is there for it, so many bytes are not read, and scratch and output may lie over them.
    """

    output_bytes: int
    scratch_bytes: int = 0
    lead_bytes: int | None = None
    unread_bytes: int = 0


@dataclass(frozen=True)
class MemoryPlan:
    """Offsets in bytes from the start of the arena; all are multiples of 4."""

    map_offsets: tuple[int, ...]
    scratch_offsets: tuple[int, ...]
    arena_bytes: int


def plan_memory(steps: Sequence[StepMemory]) -> MemoryPlan:
    """Place a chain of maps, each written while the one before it is read, in the smallest arena;
    the first is computed from what is not in the arena."""
    able = [index for index, step in enumerate(steps) if index and step.lead_bytes is not None]
    choices: list[tuple[bool, ...]] = [(True,) * len(able)]
    if len(able) <= _CHOICES_MAX:
        choices = list(itertools.product((True, False), repeat=len(able)))
    plans = [
        _plan(steps, {index for index, shares in zip(able, choice, strict=True) if shares})
        for choice in choices
    ]
    return min(plans, key=lambda plan: plan.arena_bytes)


@dataclass(frozen=True)
class _Group:
    """Maps that share a place: `first` to `last`, at `offsets` from its start, `size` bytes."""

    first: int
    last: int
    offsets: tuple[int, ...]
    size: int


def _plan(steps: Sequence[StepMemory], sharing: set[int]) -> MemoryPlan:
    """Groups of maps that share a place lie at the start and the end of the arena in turn."""
    sizes = [_rounded_up(step.output_bytes) for step in steps]
    groups = _groups(steps, sizes, sharing)
    group_of = [group for group in groups for _ in range(group.first, group.last + 1)]
    at_end = [groups.index(group) % 2 == 1 for group in group_of]

    def reach(index: int) -> int:
        """Bytes from the map's end of the arena to its far side."""
        group = group_of[index]
        offset = group.offsets[index - group.first]
        return group.size - offset if at_end[index] else offset + sizes[index]

    def read_reach(index: int) -> int:
        """The same of what step `index` reads."""
        unread = min(steps[index].unread_bytes, steps[index - 1].output_bytes)
        unread = 0 if at_end[index - 1] else unread // WORD_BYTES * WORD_BYTES
        return reach(index - 1) - unread

    needs = []
    for index, step in enumerate(steps):
        scratch = _rounded_up(step.scratch_bytes)
        if index in sharing:
            needs.append(max(read_reach(index), reach(index)) + scratch)
        else:
            needs.append((read_reach(index) if index else 0) + scratch + reach(index))
    arena_bytes = max(needs, default=0)
    maps, scratches = [], []
    for index, step in enumerate(steps):
        group = group_of[index]
        start = arena_bytes - group.size if at_end[index] else 0
        maps.append(start + group.offsets[index - group.first])
        # Behind what lies at the start of the arena, in front of what lies at its end.
        reaches = [(read_reach(index), at_end[index - 1])] if index else []
        reaches.append((reach(index), at_end[index]))
        before = [far for far, is_at_end in reaches if not is_at_end]
        after = [far for far, is_at_end in reaches if is_at_end]
        scratch = _rounded_up(step.scratch_bytes)
        place = max(before) if before else arena_bytes - max(after) - scratch
        scratches.append(place)
    return MemoryPlan(tuple(maps), tuple(scratches), arena_bytes)


def _groups(steps: Sequence[StepMemory], sizes: Sequence[int], sharing: set[int]) -> list[_Group]:
    groups = []
    first = 0
    for last in range(len(steps)):
        if last + 1 in sharing:
            continue
        offsets = [0]
        for index in range(last, first, -1):
            lead = steps[index].lead_bytes
            assert lead is not None
            offsets.insert(0, offsets[0] + _rounded_up(max(0, lead)))
        size = max(o + s for o, s in zip(offsets, sizes[first : last + 1], strict=True))
        groups.append(_Group(first, last, tuple(offsets), size))
        first = last + 1
    return groups


def _rounded_up(count: int) -> int:
    return -(-count // WORD_BYTES) * WORD_BYTES
