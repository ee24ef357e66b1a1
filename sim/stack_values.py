"""What a function's code does to SP and to the registers that a caller's frame is found by.

Values are followed only as far as frames need it: a register holds what it held when the function
was entered, an address in the frame, a constant, or something unknown (None).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from .thumb import LR, PC, SP, Instruction, Kind
from .thumb_decode import modified_immediate
from .thumb_targets import Read

_CLOBBERED = (0, 1, 2, 3, 12, LR)  # AAPCS 6.1.1: what a call need not preserve


class Origin(Enum):
    ENTRY = "entry"  # the value of a register, by number, at the function's entry
    FRAME = "frame"  # an address, relative to SP at the function's entry
    CONSTANT = "constant"
    TABLE = "table"  # an address in a table that begins there
    CASE = "case"  # a word of the table that begins there


Value = tuple[Origin, int]


@dataclass(frozen=True)
class FrameState:
    """What is known before an instruction. Offsets are relative to SP at the function's entry."""

    sp: int | None = 0
    registers: tuple[Value | None, ...] = tuple((Origin.ENTRY, number) for number in range(16))
    slots: dict[int, Value] = field(default_factory=dict)  # words of the frame, by offset

    def value(self, register: int) -> Value | None:
        if register == SP:
            return None if self.sp is None else (Origin.FRAME, self.sp)
        return self.registers[register]

    def set(self, register: int, value: Value | None) -> FrameState:
        if register == SP:
            known = value is not None and value[0] is Origin.FRAME
            return FrameState(value[1] if value and known else None, self.registers, self.slots)
        registers = list(self.registers)
        registers[register] = value
        return FrameState(self.sp, tuple(registers), self.slots)

    def kept_at(self, register: int) -> int | None:
        """Offset of the word of the frame that holds the caller's `register`; None for none."""
        wanted = (Origin.ENTRY, register)
        return next((offset for offset, value in self.slots.items() if value == wanted), None)

    def join(self, other: FrameState) -> FrameState:
        """What holds on both ways to one instruction."""
        if self == other:
            return self
        return FrameState(
            self.sp if self.sp == other.sp else None,
            tuple(
                mine if mine == theirs else None
                for mine, theirs in zip(self.registers, other.registers, strict=True)
            ),
            {at: value for at, value in self.slots.items() if other.slots.get(at) == value},
        )

    def after_call(self) -> FrameState:
        registers = list(self.registers)
        for number in _CLOBBERED:
            registers[number] = None
        return FrameState(self.sp, tuple(registers), self.slots)


def step(state: FrameState, instruction: Instruction, code: bytes, read: Read) -> FrameState:
    """The state behind `instruction`, whose bytes are `code`, where it ran."""
    first = int.from_bytes(code[:2], "little")
    second = int.from_bytes(code[2:4], "little") if instruction.size == 4 else 0
    assigned = _assigned(state, first, second, instruction, read)
    if assigned is not None:
        return state.set(*assigned)
    before = state
    moved = _transfers(state, first, second, instruction)
    for register in range(15):
        if register != SP and instruction.writes >> register & 1:
            state = state.set(register, None)
    if instruction.stack_change is None:
        state = state.set(SP, None)
    elif before.sp is not None and instruction.stack_change:
        state = state.set(SP, (Origin.FRAME, before.sp + instruction.stack_change))
    if moved is not None:
        is_load, words = moved
        if is_load:
            for offset, register in words:
                if register != PC:
                    state = state.set(register, before.slots.get(offset))
        else:
            slots = dict(state.slots)
            for offset, register in words:
                value = before.value(register)
                slots.pop(offset, None)
                if value is not None:
                    slots[offset] = value
            state = FrameState(state.sp, state.registers, slots)
    return state


def _add(first: Value | None, second: Value | None, sign: int = 1) -> Value | None:
    known = first or second
    if first is None or second is None:
        is_table = known is not None and known[0] is Origin.CONSTANT and sign == 1
        return (Origin.TABLE, known[1]) if known and is_table else None
    if first[0] is Origin.CONSTANT and sign == 1:
        first, second = second, first
    if second[0] is not Origin.CONSTANT or first[0] not in (Origin.CONSTANT, Origin.FRAME):
        return (Origin.TABLE, second[1]) if second[0] is Origin.CONSTANT and sign == 1 else None
    total = first[1] + sign * second[1]
    if first[0] is Origin.CONSTANT:
        return Origin.CONSTANT, total & 0xFFFFFFFF
    total &= 0xFFFFFFFF  # offsets wrap around as addresses do
    return Origin.FRAME, total - (1 << 32) if total >> 31 else total


def _case(address: Value | None) -> Value | None:
    """What a load from `address` gives, should it lie in a table of code addresses."""
    return (Origin.CASE, address[1]) if address and address[0] is Origin.TABLE else None


def _constant(value: int) -> Value:
    return Origin.CONSTANT, value & 0xFFFFFFFF


def _assigned(
    state: FrameState, first: int, second: int, instruction: Instruction, read: Read
) -> tuple[int, Value | None] | None:
    """Register and new value of an instruction that only moves or adds; None for any other."""
    if instruction.size == 2:
        return _assigned_narrow(state, first, instruction.address, read)
    return _assigned_wide(state, first, second, instruction.address, read)


def _assigned_narrow(
    state: FrameState, hw: int, address: int, read: Read
) -> tuple[int, Value | None] | None:
    """Encodings: ARMv7-M ARM A5.2."""
    value = state.value
    low, middle, high, number = hw & 7, hw >> 3 & 7, hw >> 8 & 7, hw & 0xFF
    if hw & 0xFE00 == 0x4400:  # ADD, CMP, MOV of any register
        rd, rm = low | hw >> 4 & 8, hw >> 3 & 15
        if hw & 0x100 or rd == PC:
            return None
        return rd, _add(value(rd), value(rm))
    if hw & 0xFF00 == 0x4600:
        rd = low | hw >> 4 & 8
        return None if rd == PC else (rd, value(hw >> 3 & 15))
    if hw & 0xF800 == 0:  # LSLS; by 0 a move
        shift, found = hw >> 6 & 31, value(middle)
        if shift and (found is None or found[0] is not Origin.CONSTANT):
            return low, None
        return low, found if not shift or found is None else _constant(found[1] << shift)
    if hw & 0xF800 == 0x1800:  # ADDS, SUBS of three operands
        operand = _constant(hw >> 6 & 7) if hw & 0x400 else value(hw >> 6 & 7)
        return low, _add(value(middle), operand, -1 if hw & 0x200 else 1)
    if hw & 0xF800 == 0x2000:
        return high, _constant(number)
    if hw & 0xF000 == 0x3000:
        return high, _add(value(high), _constant(number), -1 if hw & 0x800 else 1)
    if hw & 0xFFC0 in (0x4240, 0x43C0):  # NEGS, MVNS
        found = value(middle)
        if found is None or found[0] is not Origin.CONSTANT:
            return low, None
        return low, _constant(-found[1] if hw & 0xFFC0 == 0x4240 else ~found[1])
    if hw & 0xF800 == 0x4800:
        at = (address + 4 & ~3) + 4 * number
        return high, _constant(int.from_bytes(read(at, 4), "little"))
    if hw & 0xF800 == 0xA000:  # ADR
        return high, _constant((address + 4 & ~3) + 4 * number)
    if hw & 0xFE00 == 0x5800:  # LDR with a register offset: from a table?
        return low, _case(_add(value(middle), value(hw >> 6 & 7)))
    if hw & 0xFFC0 == 0x6800:
        return low, _case(value(middle))
    if hw & 0xF800 == 0xA800:
        return high, _add(value(SP), _constant(4 * number))
    return None


def _assigned_wide(
    state: FrameState, hw1: int, hw2: int, address: int, read: Read
) -> tuple[int, Value | None] | None:
    """Encodings: ARMv7-M ARM A5.3."""
    value = state.value
    rn, rd = hw1 & 15, hw2 >> 8 & 15
    plain = (hw1 & 0x400) << 1 | (hw2 & 0x7000) >> 4 | hw2 & 0xFF
    if hw1 & 0xFF7F == 0xF85F:  # LDR (literal)
        offset = hw2 & 0xFFF if hw1 & 0x80 else -(hw2 & 0xFFF)
        if hw2 >> 12 == PC:
            return None
        return hw2 >> 12, _constant(int.from_bytes(read((address + 4 & ~3) + offset, 4), "little"))
    if hw1 & 0xFFF0 == 0xF850 and hw2 & 0xFC0 == 0 and hw2 >> 12 != PC:
        return hw2 >> 12, _case(_add(value(rn), None))
    if rd == PC or hw2 & 0x8000:
        return None
    if hw1 & 0xFB5F == 0xF20F and hw1 & 0xA0 in (0, 0xA0):  # ADR
        return rd, _constant((address + 4 & ~3) + (-plain if hw1 & 0x80 else plain))
    if hw1 & 0xFBF0 in (0xF240, 0xF2C0):  # MOVW, MOVT
        half = rn << 12 | plain
        if hw1 & 0xFBF0 == 0xF240:
            return rd, _constant(half)
        found = value(rd)
        is_constant = found is not None and found[0] is Origin.CONSTANT
        return rd, _constant(half << 16 | found[1] & 0xFFFF) if found and is_constant else None
    if hw1 & 0xFBEF in (0xF04F, 0xF06F):  # MOV, MVN
        constant = modified_immediate(hw1, hw2)
        return rd, _constant(constant if hw1 & 0xFBEF == 0xF04F else ~constant)
    if hw1 & 0xFBE0 in (0xF100, 0xF1A0):
        sign = 1 if hw1 & 0xFBE0 == 0xF100 else -1
        return rd, _add(value(rn), _constant(modified_immediate(hw1, hw2)), sign)
    if hw1 & 0xFBF0 in (0xF200, 0xF2A0) and rn != PC:  # ADDW, SUBW
        return rd, _add(value(rn), _constant(plain), 1 if hw1 & 0xFBF0 == 0xF200 else -1)
    if hw2 & 0x70F0 == 0:  # of a register that is not shifted
        if hw1 & 0xFFEF == 0xEA4F:
            return rd, value(hw2 & 15)
        if hw1 & 0xFFE0 in (0xEB00, 0xEBA0):
            sign = 1 if hw1 & 0xFFE0 == 0xEB00 else -1
            return rd, _add(value(rn), value(hw2 & 15), sign)
    return None


def _transfers(
    state: FrameState, hw1: int, hw2: int, instruction: Instruction
) -> tuple[bool, list[tuple[int, int]]] | None:
    """Whether words at SP are loaded, and each word's offset and register; None for any other."""
    sp = state.sp
    if sp is None:
        return None
    if instruction.size == 2:
        if hw1 & 0xF600 == 0xB400:  # PUSH, POP
            is_load = bool(hw1 & 0x800)
            extra = (PC if is_load else LR) if hw1 & 0x100 else None
            registers = [n for n in range(8) if hw1 >> n & 1] + ([] if extra is None else [extra])
            start = sp if is_load else sp - 4 * len(registers)
            return is_load, _in_order(start, registers)
        if hw1 & 0xF000 == 0x9000:
            return bool(hw1 & 0x800), [(sp + 4 * (hw1 & 0xFF), hw1 >> 8 & 7)]
        return None
    if hw1 & 15 != SP or instruction.kind in (Kind.FP_LOAD, Kind.FP_STORE):
        return None
    is_load = bool(hw1 & 0x10)
    if hw1 & 0xFE40 == 0xE800:  # LDM, STM
        registers = [n for n in range(16) if hw2 >> n & 1]
        start = sp if hw1 & 0x80 else sp - 4 * len(registers)
        return is_load, _in_order(start, registers)
    if hw1 & 0xFE40 == 0xE840 and hw1 & 0x120:  # LDRD, STRD
        offset = (hw2 & 0xFF) * (4 if hw1 & 0x80 else -4)
        start = sp + offset if hw1 & 0x100 else sp
        return is_load, _in_order(start, [hw2 >> 12, hw2 >> 8 & 15])
    if hw1 & 0xFFE0 == 0xF8C0:  # LDR, STR with a 12-bit offset
        return is_load, [(sp + (hw2 & 0xFFF), hw2 >> 12)]
    if hw1 & 0xFFE0 == 0xF840 and hw2 & 0x800:
        offset = hw2 & 0xFF if hw2 & 0x200 else -(hw2 & 0xFF)
        return is_load, [(sp + offset if hw2 & 0x400 else sp, hw2 >> 12)]
    return None


def _in_order(start: int, registers: list[int]) -> list[tuple[int, int]]:
    return [(start + 4 * index, register) for index, register in enumerate(registers)]
