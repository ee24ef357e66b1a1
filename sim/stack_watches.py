"""Where inside a block SP has to be looked at, because the block's fixed cost cannot tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .thumb import SP, Instruction, Kind


@dataclass(frozen=True)
class StackWatch:
    """SP has just changed by an unknown amount.

    `lowest_sp` is the lowest that it reaches from here on, relative to itself, until the next
    unknown change. `same_stack` tells an alloca, which computes SP from SP, from a switch to
    another stack, which loads it.
    """

    lowest_sp: int
    same_stack: bool


def stack_watches(instructions: Sequence[Instruction], taken: set[int]) -> dict[int, StackWatch]:
    """The instructions before which SP has to be looked at.

    `taken` are addresses whose one hook serves another purpose: a neighbour will do as long as SP
    is the same. An unknown change by the last instruction shows in the next block.
    """
    found: dict[int, StackWatch] = {}
    watched: int | None = None
    is_unknown = same_stack = False
    from_sp = 1 << SP  # registers whose value was computed from SP
    sp = lowest = 0
    for instruction in instructions:
        can_hook = instruction.condition is None and instruction.address not in taken
        if is_unknown and watched is None and can_hook:
            watched = instruction.address
            sp = lowest = 0
        if watched is not None:
            lowest = min(lowest, sp + instruction.stack_lowest)
            found[watched] = StackWatch(lowest, same_stack)
        is_computed = instruction.kind is Kind.ALU and bool(instruction.reads & from_sp)
        from_sp = from_sp | instruction.writes if is_computed else from_sp & ~instruction.writes
        from_sp |= 1 << SP
        if instruction.stack_change is None or (
            instruction.condition is not None and instruction.writes >> SP & 1
        ):
            is_unknown, watched, same_stack = True, None, is_computed
        else:
            sp += instruction.stack_change
    return found
