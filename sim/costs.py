"""From the bytes of a basic block to what the engines add up: decode, judge, cost, cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .core import Core, missing_feature
from .cost import BlockCost, BoardTiming, block_cost, fetches
from .engine import (
    FLAG_CALL,
    FLAG_ENTRY,
    FLAG_FPU,
    FLAG_STACK,
    FLAG_STACK_AFTER,
    FLAG_UNHOOKED,
    NEVER,
)
from .errors import UserError
from .stack_watches import stack_watches
from .system_registers import SystemInstruction, is_load_exclusive, system_instruction
from .thumb import BRANCHES, LR, Instruction, Kind
from .thumb_decode import decode, decode_range, it_conditions

_LARGEST_STACK_BYTES = 1 << 30
# Remembered at most, in all blocks: a full MiB of code has half a million, and blocks may overlap.
_MOST_INSTRUCTIONS = 2_000_000
_SYSTEM = frozenset({Kind.SYSTEM, Kind.CHANGE_STATE, Kind.HINT})
_RARE = _SYSTEM | {Kind.UNDEFINED}


@dataclass(frozen=True)
class CostedBlock:
    """A block variant as the engine knows it by index."""

    address: int
    instructions: tuple[Instruction, ...]
    cost: BlockCost
    before: Instruction | None
    entered_by_branch: bool

    def cycles_before(self, core: Core, board: BoardTiming, pc: int) -> int:
        """Cycles of the block up to, and without, the instruction at `pc`."""
        earlier = [one for one in self.instructions if one.address < pc]
        if not earlier:
            return self.cost.entry_cycles if self.entered_by_branch else 0
        prefix = block_cost(core, board, earlier, self.before)
        return prefix.cycles + (prefix.entry_cycles if self.entered_by_branch else 0)


class CostModel:
    """Costs blocks for one core on one board, and remembers each by the index it was given."""

    def __init__(self, core: Core, board: BoardTiming, read: Callable[[int, int], bytes]) -> None:
        self.core = core
        self.board = board
        self.blocks: list[CostedBlock] = []
        self.entries: dict[int, int] = {}
        """First instruction of each watched function -> the engine's index of it."""
        self.hooked: set[int] = set()
        """Dynamic instructions that have a hook."""
        self._read = read
        self.loads_exclusive = False  # whether any block had LDREX
        self._remembered = 0  # instructions in `blocks`
        self._costed: dict[tuple[Any, ...], CostedBlock] = {}

    def fill(
        self, address: int, size: int, before_index: int | None, into: Any
    ) -> Sequence[tuple[int, int]]:
        """Engine callback: cost the block of `size` bytes at `address` into the engine's record.

        Returns the lines of flash that it is fetched from (`cost.fetches`), none without wait
        states.
        """
        block = self._costed_block(address, size, before_index)
        self._remembered += len(block.instructions)
        if self._remembered > _MOST_INSTRUCTIONS:
            raise UserError(
                f"more than {_MOST_INSTRUCTIONS:,} instructions of code to remember by "
                f"{address:#010x}: the firmware jumps into the midst of its code over and over"
            )
        instructions, cost = block.instructions, block.cost
        assert into.index == len(self.blocks)
        self.blocks.append(block)
        last = instructions[-1]
        leaves = last.kind in BRANCHES and not last.conditional_branch and last.condition is None
        into.end = NEVER if leaves else address + size
        into.cycles = cost.cycles + (cost.entry_cycles if before_index is None else 0)
        into.taken_cycles = cost.taken_cycles
        into.instructions = cost.instruction_count
        into.lowest_sp = max(cost.lowest_sp, -_LARGEST_STACK_BYTES)
        into.sp_change = cost.sp_change
        flags = 0
        if cost.lowest_sp < 0:
            flags |= FLAG_STACK
        if cost.sp_unknown:
            flags |= FLAG_STACK_AFTER
        if cost.uses_fpu and self.core.has_fpu:
            flags |= FLAG_FPU
        if last.kind in (Kind.BRANCH_LINK, Kind.BRANCH_REGISTER) and last.writes >> LR & 1:
            flags |= FLAG_CALL
        if address in self.entries:
            flags |= FLAG_ENTRY
            into.function = self.entries[address]
        if any(at not in self.hooked for at in self.watched_instructions(block)):
            flags |= FLAG_UNHOOKED
        into.flags = flags
        if not self.board.has_wait_states:
            return ()
        entry_cycles = cost.entry_cycles if before_index is None else 0
        return fetches(self.core, self.board, instructions, block.before, entry_cycles)

    def _costed_block(self, address: int, size: int, before_index: int | None) -> CostedBlock:
        code = self._read(address, size)
        before_block = None if before_index is None else self.blocks[before_index]
        before = before_block.instructions[-1] if before_block else None
        open_conditions = _open_conditions(before_block)
        # Many a block is fallen into from several others, which end in the same encoding.
        key = (address, code, before and before[1:], *open_conditions)
        block = self._costed.get(key)
        if block is None:
            instructions = tuple(decode_range(code, address))
            if open_conditions:
                instructions = _apply(instructions, open_conditions)
            if not instructions:
                instructions = (decode(b"\x00\xde", address),)
            self.loads_exclusive |= any(
                is_load_exclusive(code[one.address - address :])
                for one in instructions
                if one.must_align and one.kind is Kind.LOAD
            )
            cost = block_cost(self.core, self.board, instructions, before)
            block = CostedBlock(address, instructions, cost, before, before_index is None)
            self._costed[key] = block
        return block

    def watched_instructions(self, block: CostedBlock) -> list[int]:
        """Addresses in the block that need a hook: dynamic costs, what the core lacks, SP."""
        found = {dynamic.address for dynamic in block.cost.dynamic}
        has = self.core.features
        rare = [one for one in block.instructions if one.kind in _RARE or one.feature not in has]
        found |= {i.address for i in rare if missing_feature(self.core, i) or self.system(i)}
        if block.cost.sp_unknown:
            found |= set(stack_watches(block.instructions, found))
        return sorted(found)

    def system(self, instruction: Instruction) -> SystemInstruction | None:
        """What Python may have to carry out of `instruction`; None for nearly all."""
        if instruction.kind not in _SYSTEM:
            return None
        return system_instruction(self._read(instruction.address, instruction.size))


def _open_conditions(block: CostedBlock | None) -> list[int]:
    """IT conditions that reach past the end of `block`, which was cut at a page's border."""
    if block is None:
        return []
    instructions = block.instructions
    for back, one in enumerate(reversed(instructions[-5:])):
        if one.it:
            return it_conditions(one.it)[back:]
    return []


def _apply(instructions: tuple[Instruction, ...], conditions: list[int]) -> tuple[Instruction, ...]:
    changed = list(instructions)
    for index, condition in enumerate(conditions[: len(changed)]):
        changed[index] = changed[index]._replace(condition=condition)
    return tuple(changed)
