"""Where inside a block SP has to be looked at, because the block's fixed cost cannot tell it."""

from __future__ import annotations

from collections.abc import Sequence

from .thumb import SP, Instruction


def stack_watches(instructions: Sequence[Instruction], taken: set[int]) -> dict[int, int]:
    """Instructions before which SP has just changed by an unknown amount.

    Each comes with the lowest SP that is reached from it on, relative to SP there, until the next
    unknown change. `taken` are addresses whose one hook serves another purpose: a neighbour will do
    as long as SP is the same. An unknown change by the last instruction shows in the next block.
    """
    found: dict[int, int] = {}
    watched: int | None = None
    is_unknown = False
    sp = 0
    for instruction in instructions:
        can_hook = instruction.condition is None and instruction.address not in taken
        if is_unknown and watched is None and can_hook:
            watched = instruction.address
            found[watched] = sp = 0
        if watched is not None:
            found[watched] = min(found[watched], sp + instruction.stack_lowest)
        if instruction.stack_change is None or (
            instruction.condition is not None and instruction.writes >> SP & 1
        ):
            is_unknown, watched = True, None
        else:
            sp += instruction.stack_change
    return found
