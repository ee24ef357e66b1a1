"""How deep each instruction of a function finds the stack, and what the function calls.

Worked out from the code alone, by following every way through the function: it needs no debug
information and is exact for assembly too. What cannot be known before the run (an alloca, a jump
through a register) is said to be unknown.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from .elf import Elf
from .stack_values import FrameState, Origin, step
from .thumb import LR, PC, Instruction, Kind
from .thumb_decode import decode, it_conditions
from .thumb_targets import (
    SWITCH_HELPERS,
    Read,
    branch_target,
    switch_targets,
    table_targets,
    word_targets,
)

_MOST_VISITS = 400_000  # of instructions, in all functions of an image


@dataclass(frozen=True)
class Call:
    """A place where control goes to another function.

    `target` is None where it goes through a register. `depth_bytes` is how far SP is then below
    its value at the caller's entry, None where unknown. A tail call leaves for good.
    """

    address: int
    target: int | None
    depth_bytes: int | None
    is_tail: bool = False


@dataclass
class FunctionFrames:
    """What the walk through one function found. Depths are in bytes below SP at its entry."""

    start: int
    states: dict[int, FrameState] = field(default_factory=dict)
    deepest_bytes: int = 0
    unknown_depth: bool = False
    complete: bool = True
    calls: list[Call] = field(default_factory=list)
    constants: set[int] = field(default_factory=set)  # built by MOVW and MOVT: may be addresses


class StackFrames:
    """Walks the functions of an image, each once. `read` must not fail, whatever the address."""

    def __init__(self, elf: Elf, read: Read) -> None:
        self._elf = elf
        self._read = read
        self._known: dict[int, FunctionFrames] = {}
        self._visits_left = _MOST_VISITS

    def function(self, start: int) -> FunctionFrames:
        """Of the function that begins at `start`."""
        found = self._known.get(start)
        if found is None:
            walk = _Walk(self._elf, self._read, start)
            found = self._known[start] = walk.run(self._visits_left)
            self._visits_left -= walk.visits
        return found


_Step = tuple[int, FrameState, tuple[int, ...]]  # address, state, IT conditions still open


class _Walk:
    def __init__(self, elf: Elf, read: Read, start: int) -> None:
        self._elf = elf
        self._read = read
        self._found = FunctionFrames(start)
        self._waiting: list[_Step] = [(start, FrameState(), ())]
        # Behind a call, which may never return: what stands there then belongs to another way.
        self._behind_calls: deque[_Step] = deque()
        # Behind a BL into the function itself. So GCC jumps far on an ARMv6-M, and there is often
        # data; where anything returns by an LR that is not the caller's, it is a subroutine.
        self._behind_jumps: list[_Step] = []
        self._subroutines = False
        self._calls: dict[tuple[int, int | None], Call] = {}
        self._end = _end_of(elf, start)
        self.visits = 0

    def run(self, most_visits: int) -> FunctionFrames:
        while (self._waiting or self._behind_calls) and self.visits < most_visits:
            self.visits += 1
            self._visit(*(self._waiting.pop() if self._waiting else self._behind_calls.popleft()))
        self._found.complete = not (self._waiting or self._behind_calls)
        self._found.calls = [self._calls[key] for key in sorted(self._calls, key=str)]
        return self._found

    def _visit(self, address: int, state: FrameState, conditions: tuple[int, ...]) -> None:
        known = self._found.states.get(address)
        if known is not None:
            if None not in (known.sp, state.sp) and known.sp != state.sp:
                return  # no compiler does this: not really a way to here
            joined = known.join(state)
            if joined == known:
                return
            state = joined
        self._found.states[address] = state
        code = self._read(address, 4)
        instruction = decode(code, address)
        conditional = bool(conditions)
        conditions = conditions[1:]
        if instruction.kind is Kind.IT:
            conditions = tuple(it_conditions(instruction.it))
        if instruction.kind is Kind.UNDEFINED:
            return
        after = step(state, instruction, code, self._read)
        self._note_depth(instruction, state, after)
        ends = self._follow(instruction, code, state, after)
        if ends and not conditional and not instruction.conditional_branch:
            return
        calls = instruction.kind is Kind.BRANCH_LINK or _is_blx(instruction, code)
        if calls:
            after = after.after_call()
        if conditional:
            after = state if ends else state.join(after)
        self._go(instruction.end, after, conditions, behind_call=calls)

    def _go(
        self,
        address: int,
        state: FrameState,
        conditions: tuple[int, ...] = (),
        behind_call: bool = False,
    ) -> None:
        if self._found.start <= address < self._end:
            (self._behind_calls if behind_call else self._waiting).append(
                (address, state, conditions)
            )

    def _note_depth(self, instruction: Instruction, before: FrameState, after: FrameState) -> None:
        found = self._found
        if before.sp is not None:
            lowest = before.sp + instruction.stack_lowest
            found.deepest_bytes = max(found.deepest_bytes, -lowest)
        if after.sp is not None:
            found.deepest_bytes = max(found.deepest_bytes, -after.sp)
        elif instruction.writes >> 13 & 1:
            found.unknown_depth = True
        for number in range(13):
            if instruction.size == 4 and instruction.writes >> number & 1:
                value = after.registers[number]
                if value is not None and value[0] is Origin.CONSTANT:
                    found.constants.add(value[1])

    def _follow(
        self, instruction: Instruction, code: bytes, state: FrameState, after: FrameState
    ) -> bool:
        """Go where the instruction may jump to; True where it does not also fall through."""
        kind = instruction.kind
        depth = None if state.sp is None else -state.sp
        if kind is Kind.BRANCH:
            target = branch_target(instruction, code)
            assert target is not None
            if self._found.start < target < self._end or target == self._found.start:
                self._go(target, after)
            else:
                self._call(instruction.address, target, depth, is_tail=True)
            return True
        if kind is Kind.BRANCH_LINK:
            target = branch_target(instruction, code)
            assert target is not None
            if self._found.start < target < self._end:
                self._go(target, after)
                behind = (instruction.end, after.after_call(), ())
                (self._behind_calls if self._subroutines else self._behind_jumps).append(behind)
                return True
            self._call(instruction.address, target, depth)
            return self._switch(target, instruction, after.after_call())
        if kind is Kind.BRANCH_REGISTER:
            return self._through_register(instruction, code, state, depth)
        if kind is Kind.TABLE_BRANCH:
            for target in table_targets(instruction, code, self._read):
                self._go(target, after)
            return True
        if kind is Kind.LOAD_PC:
            self._load_pc(instruction, code, state, depth)
            return True
        return kind is Kind.POP_PC

    def _switch(self, target: int, instruction: Instruction, after: FrameState) -> bool:
        function = self._elf.function_at(target)
        if function is None or function.name not in SWITCH_HELPERS:
            return False
        for case in switch_targets(function.name, instruction.end, self._read):
            self._go(case & ~1, after)
        return True

    def _through_register(
        self, instruction: Instruction, code: bytes, state: FrameState, depth: int | None
    ) -> bool:
        register = code[0] >> 3 & 15
        value = state.value(register) if register != PC else None
        is_call = _is_blx(instruction, code)
        if value and value[0] is Origin.CASE and self._go_to_words(value[1], state):
            return True
        if not is_call and (register == LR or value == (Origin.ENTRY, LR)):
            if value != (Origin.ENTRY, LR):
                self._subroutines = True
                self._behind_calls.extend(self._behind_jumps)
                self._behind_jumps.clear()
            return True  # returns
        target = value[1] & ~1 if value and value[0] is Origin.CONSTANT else None
        inside = target is not None and self._found.start <= target < self._end
        if inside and not is_call and target is not None:
            self._go(target, state)
        else:
            self._call(instruction.address, target, depth, is_tail=not is_call)
        return not is_call

    def _load_pc(
        self, instruction: Instruction, code: bytes, state: FrameState, depth: int | None
    ) -> None:
        first, second = (int.from_bytes(code[at : at + 2], "little") for at in (0, 2))
        if first & 15 == 13:
            return  # pops the return address
        target = None
        if instruction.literal:
            offset = second & 0xFFF if first & 0x80 else -(second & 0xFFF)
            at = (instruction.address + 4 & ~3) + offset
            target = int.from_bytes(self._read(at, 4), "little") & ~1
        elif instruction.register_offset:
            base = state.value(first & 15)
            if base and base[0] is Origin.CONSTANT and self._go_to_words(base[1], state):
                return
        self._call(instruction.address, target, depth, is_tail=True)

    def _go_to_words(self, table: int, state: FrameState) -> bool:
        """Follow a switch statement's table of addresses; False where it is none."""
        targets = word_targets(table, self._found.start, self._end, self._read)
        for target in targets:
            self._go(target, state)
        return bool(targets)

    def _call(
        self, address: int, target: int | None, depth: int | None, is_tail: bool = False
    ) -> None:
        self._calls[address, target] = Call(address, target, depth, is_tail)


def _is_blx(instruction: Instruction, code: bytes) -> bool:
    return instruction.kind is Kind.BRANCH_REGISTER and code[1] == 0x47 and bool(code[0] & 0x80)


def _end_of(elf: Elf, start: int) -> int:
    """First address behind the function that begins at `start`: by its size, or the next one."""
    function = elf.function_at(start)
    if function is not None and function.size_bytes and function.address == start:
        return start + function.size_bytes
    following = elf.function_after(start)
    section = next((s for s in elf.sections if s.address <= start < s.end), None)
    end = section.end if section else start + 2
    return end if following is None else min(end, following.address)
