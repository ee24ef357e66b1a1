"""Thumb and Thumb-2 decoding, as far as timing, legality and stack effects need it.

Follows chapter A5 ("The Thumb Instruction Set Encoding") of the ARMv7-M Architecture Reference
Manual, section by section; the differences of ARMv6-M and ARMv8-M are in the `feature` an
instruction needs. Not a disassembler: operands that no cost depends on are not decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from struct import unpack_from
from typing import Any

from .thumb import LR, PC, SP, Instruction, Kind

_R = [1 << number for number in range(16)]
_SP_BIT, _PC_BIT = 1 << SP, 1 << PC
_FIRST_WIDE = 0xE800  # of a 32-bit instruction the first halfword is at least this (A5.1)
_Fields = dict[str, Any]


def decode(code: bytes, address: int) -> Instruction:
    """The instruction that `code` (2 bytes or more) starts with, at `address`.

    Encodings that are undefined, or cut short, come back as `Kind.UNDEFINED`.
    """
    return next(decode_range(code[:4], address))


def decode_range(code: bytes, address: int) -> Iterator[Instruction]:
    """The instructions of `code` one after the other, with the conditions that IT puts on them."""
    halfwords = unpack_from(f"<{len(code) // 2}H", code)
    index = 0
    conditions: list[int] = []
    while index < len(halfwords):
        first, at = halfwords[index], address + 2 * index
        index += 1
        if first < _FIRST_WIDE:
            instruction = _placed(first, 0, at)
        elif index < len(halfwords):
            instruction = _placed(first, halfwords[index], at)
            index += 1
        else:
            instruction = Instruction(at, 2, Kind.UNDEFINED)
        if conditions:
            instruction = instruction._replace(condition=conditions.pop(0))
        if instruction.it:
            conditions = it_conditions(instruction.it)
        yield instruction


def it_conditions(it: int) -> list[int]:
    """Conditions of the 1 to 4 instructions behind an IT (ARMv7-M ARM, A7.3.2)."""
    first, mask = it >> 4, it & 15
    count = 4 - ((mask & -mask).bit_length() - 1)
    return [first] + [first & 14 | mask >> (4 - index) & 1 for index in range(1, count)]


@lru_cache(maxsize=1 << 16)
def _placed(first: int, second: int, address: int) -> Instruction:
    # Blocks overlap: one that begins inside another shares the rest of its instructions with it.
    return tuple.__new__(Instruction, (address, *_decoded(first, second)))  # `_make`, quicker


@lru_cache(maxsize=1 << 16)
def _decoded(first: int, second: int) -> tuple[Any, ...]:
    """All fields of an `Instruction` but the address."""
    if first < _FIRST_WIDE:
        fields = {"size": 2, **_narrow(first)}
    else:
        fields = {"size": 4, "feature": "v7m", **_wide(first, second)}
    return Instruction(0, **fields)[1:]


def _undefined() -> _Fields:
    return {"kind": Kind.UNDEFINED, "feature": "base"}


def _alu(reads: int = 0, writes: int = 0, **more: Any) -> _Fields:
    if writes & _SP_BIT and "stack_change" not in more:
        more["stack_change"] = None
    return {"kind": Kind.ALU, "reads": reads, "writes": writes, **more}


# ---- 16 bits (A5.2) ----------------------------------------------------------------------------


def _narrow(hw: int) -> _Fields:
    low, middle, high = hw & 7, hw >> 3 & 7, hw >> 8 & 7
    top = hw >> 11
    if top < 3:  # A5.2.1 shift by immediate
        return _alu(_R[middle], _R[low])
    if top == 3:  # add, subtract
        register = 0 if hw & 0x400 else _R[hw >> 6 & 7]
        return _alu(_R[middle] | register, _R[low])
    if top < 8:  # move, compare, add, subtract an 8-bit immediate
        operation = top & 3
        return _alu(_R[high] if operation else 0, 0 if operation == 1 else _R[high])
    if hw >> 10 == 0b010000:  # A5.2.2 data processing
        operation = hw >> 6 & 15
        if operation == 13:
            return {"kind": Kind.MULTIPLY, "reads": _R[low] | _R[middle], "writes": _R[low]}
        reads = _R[middle] | (0 if operation in (9, 15) else _R[low])
        return _alu(reads, 0 if operation in (8, 10, 11) else _R[low])
    if hw >> 10 == 0b010001:
        return _special(hw)
    if top == 0b01001:  # LDR (literal)
        return _load(_R[high], _PC_BIT, 4, literal=True)
    if hw >> 12 == 0b0101:  # A5.2.4 load, store with a register offset
        operation = hw >> 9 & 7
        registers = _R[middle] | _R[hw >> 6 & 7]
        size = (4, 2, 1, 1, 4, 2, 1, 2)[operation]
        if operation < 3:
            return _store(_R[low], registers, size, register_offset=True)
        return _load(_R[low], registers, size, register_offset=True)
    if hw >> 13 == 0b011:
        access = _load if hw & 0x800 else _store
        return access(_R[low], _R[middle], 1 if hw & 0x1000 else 4)
    if hw >> 12 == 0b1000:
        return (_load if hw & 0x800 else _store)(_R[low], _R[middle], 2)
    if hw >> 12 == 0b1001:
        return (_load if hw & 0x800 else _store)(_R[high], _SP_BIT, 4)
    if hw >> 12 == 0b1010:  # ADR; ADD (SP plus immediate)
        return _alu(_SP_BIT if hw & 0x800 else 0, _R[high])
    if hw >> 12 == 0b1011:
        return _miscellaneous(hw)
    if hw >> 12 == 0b1100:
        registers, count = hw & 0xFF, (hw & 0xFF).bit_count()
        if hw & 0x800:
            return _load_multiple(registers, _R[high], count, not registers & _R[high])
        return _store_multiple(registers, _R[high], count)
    if hw >> 12 == 0b1101:
        if hw >> 8 & 15 == 14:
            return _undefined()
        if hw >> 8 & 15 == 15:
            return {"kind": Kind.EXCEPTION}
        return {"kind": Kind.BRANCH, "conditional_branch": True}
    return {"kind": Kind.BRANCH}  # 11100: B


def _special(hw: int) -> _Fields:
    """A5.2.3: add, compare, move high registers; BX, BLX."""
    operation, rd, rm = hw >> 8 & 3, hw & 7 | hw >> 4 & 8, hw >> 3 & 15
    if operation == 3:
        link = _R[LR] if hw & 0x80 else 0
        return {"kind": Kind.BRANCH_REGISTER, "reads": _R[rm], "writes": link}
    if operation == 1:
        return _alu(_R[rd] | _R[rm])
    reads = _R[rm] | (_R[rd] if operation == 0 else 0)
    if rd == PC:
        return {"kind": Kind.BRANCH_REGISTER, "reads": reads}
    return _alu(reads, _R[rd])


def _miscellaneous(hw: int) -> _Fields:
    """A5.2.5."""
    if hw & 0xFF00 == 0xB000:
        change = (hw & 0x7F) * (-4 if hw & 0x80 else 4)
        return _alu(_SP_BIT, _SP_BIT, stack_change=change, stack_lowest=min(change, 0))
    if hw & 0xF500 == 0xB100:
        return {
            "kind": Kind.BRANCH,
            "conditional_branch": True,
            "reads": _R[hw & 7],
            "feature": "v7m",
        }
    if hw & 0xFF00 == 0xB200 or (hw & 0xFF00 == 0xBA00 and hw & 0xC0 != 0x80):
        return _alu(_R[hw >> 3 & 7], _R[hw & 7])
    if hw & 0xFE00 == 0xB400:
        registers = hw & 0xFF | (_R[LR] if hw & 0x100 else 0)
        count = registers.bit_count()
        return _store_multiple(registers, _SP_BIT, count, -4 * count)
    if hw & 0xFE00 == 0xBC00:
        registers = hw & 0xFF | (_PC_BIT if hw & 0x100 else 0)
        count = registers.bit_count()
        return _load_multiple(registers, _SP_BIT, count, True, 4 * count)
    if hw & 0xFFE8 == 0xB660:
        return {"kind": Kind.CHANGE_STATE}
    if hw & 0xFF00 == 0xBE00:
        return {"kind": Kind.EXCEPTION}
    if hw & 0xFF00 == 0xBF00:
        if hw & 15:
            return {"kind": Kind.IT, "it": hw & 0xFF, "feature": "v7m"}
        return {"kind": Kind.HINT}
    return _undefined()


# ---- 32 bits (A5.3) ----------------------------------------------------------------------------


def _wide(hw1: int, hw2: int) -> _Fields:
    if hw1 & 0xEC00 == 0xEC00:
        return _coprocessor(hw1, hw2)
    if hw1 & 0xFE00 == 0xE800:
        return _dual_exclusive(hw1, hw2) if hw1 & 0x40 else _multiple(hw1, hw2)
    if hw1 & 0xFE00 == 0xEA00:
        return _shifted_register(hw1, hw2)
    if hw1 & 0xF800 == 0xF000:
        return _branches_and_control(hw1, hw2) if hw2 & 0x8000 else _immediate(hw1, hw2)
    if hw1 & 0xFE00 == 0xF800:
        return _single_access(hw1, hw2)
    if hw1 & 0xFF00 == 0xFA00:
        return _register(hw1, hw2)
    if hw1 & 0xFF80 == 0xFB00:
        return _multiply(hw1, hw2)
    if hw1 & 0xFF80 == 0xFB80:
        return _long_multiply(hw1, hw2)
    return _undefined()


def _multiple(hw1: int, hw2: int) -> _Fields:
    """A5.3.5."""
    order, rn, writeback = hw1 >> 7 & 3, hw1 & 15, bool(hw1 & 0x20)
    if order not in (1, 2):
        return _undefined()
    count = hw2.bit_count()
    if hw1 & 0x10:
        change = (4 if order == 1 else -4) * count if writeback else 0
        return _load_multiple(hw2, _R[rn], count, writeback, change if rn == SP else 0)
    change = (4 if order == 1 else -4) * count
    fields = _store_multiple(hw2, _R[rn], count, change if rn == SP else 0)
    if not writeback:
        fields |= {"writes": 0, "stack_change": 0}
    return fields


# STREXB, STREXH; of ARMv8-M: STLB, STLH, STL, STLEXB, STLEXH, STLEX; and the loads alike.
_EXCLUSIVES = (4, 5, 8, 9, 10, 12, 13, 14)


def _dual_exclusive(hw1: int, hw2: int) -> _Fields:
    """A5.3.6: load and store dual or exclusive, table branch."""
    rn, rt, rt2 = hw1 & 15, hw2 >> 12, hw2 >> 8 & 15
    operation, mode = hw1 >> 4 & 3, hw1 >> 7 & 3
    if mode == 0 and not hw1 & 0x20:  # STREX, LDREX (and TT of ARMv8-M)
        if operation & 1:
            return _load(_R[rt], _R[rn], 4, must_align=True)
        if rt == 15:
            return _alu(_R[rn], _R[rt2], feature="v8m")
        return _store(_R[rt], _R[rn], 4, must_align=True, writes=_R[rt2])
    if mode == 1 and not hw1 & 0x20:
        if operation & 1 and hw2 & 0xE0 == 0:  # TBB, TBH
            registers = _R[rn] | _R[hw2 & 15]
            return {
                "kind": Kind.TABLE_BRANCH,
                "reads": registers,
                "address_registers": registers,
            }
        size = 1 << (hw2 >> 4 & 3)
        if size == 8 or hw2 >> 4 & 15 not in _EXCLUSIVES:
            return _undefined()
        feature = "v8m" if hw2 & 0x80 else "v7m"  # load-acquire, store-release
        if operation & 1:
            return _load(_R[rt], _R[rn], size, must_align=True, feature=feature)
        status = 0 if hw2 >> 4 & 12 == 8 else _R[hw2 & 15]  # plain STL has none
        return _store(_R[rt], _R[rn], size, must_align=True, feature=feature, writes=status)
    registers = _R[rt] | _R[rt2]
    offset = (hw2 & 0xFF) * (4 if hw1 & 0x80 else -4)
    writeback = bool(hw1 & 0x20)
    fields: _Fields = {
        "transfers": 2,
        "access_bytes": 4,
        "must_align": True,
        "address_registers": _R[rn],
        "literal": rn == PC,
    }
    if operation & 1:
        fields |= {"kind": Kind.LOAD_MULTIPLE, "reads": _R[rn], "writes": registers}
    else:
        fields |= {"kind": Kind.STORE_MULTIPLE, "reads": registers | _R[rn]}
    if writeback:
        fields["writes"] = fields.get("writes", 0) | _R[rn]
        if rn == SP:
            fields |= {"stack_change": offset, "stack_lowest": min(offset, 0)}
    return fields


def _shifted_register(hw1: int, hw2: int) -> _Fields:
    """A5.3.11."""
    operation, rn, rd, rm = hw1 >> 5 & 15, hw1 & 15, hw2 >> 8 & 15, hw2 & 15
    if operation == 6:
        return _alu(_R[rn] | _R[rm], _R[rd], feature="dsp")  # PKHBT, PKHTB
    if operation in (5, 7, 9, 12, 15):
        return _undefined()
    return _data_processing(operation, rn, rd, bool(hw1 & 0x10), _R[rm])


def _data_processing(operation: int, rn: int, rd: int, flags: bool, operand: int) -> _Fields:
    """TST, TEQ, CMN and CMP have no destination, MOV and MVN no first operand."""
    reads = operand
    if not (rn == PC and operation in (2, 3)):
        reads |= _R[rn]
    writes = 0 if rd == PC and flags and operation in (0, 4, 8, 13) else _R[rd]
    return _alu(reads, writes)


def _immediate(hw1: int, hw2: int) -> _Fields:
    """A5.3.1 modified immediate, A5.3.3 plain immediate."""
    operation, rn, rd = hw1 >> 5 & 15, hw1 & 15, hw2 >> 8 & 15
    if not hw1 & 0x200:
        if operation in (5, 6, 7, 9, 12, 15):
            return _undefined()
        fields = _data_processing(operation, rn, rd, bool(hw1 & 0x10), 0)
        if rd == SP and rn == SP and operation in (8, 13):
            change = modified_immediate(hw1, hw2) * (1 if operation == 8 else -1)
            fields |= {"stack_change": change, "stack_lowest": min(change, 0)}
        return fields
    plain = hw1 >> 4 & 31
    if plain in (0, 10):  # ADDW, SUBW, ADR
        fields = _alu(0 if rn == PC else _R[rn], _R[rd])
        if rd == SP and rn == SP:
            value = (hw1 & 0x400) << 1 | (hw2 & 0x7000) >> 4 | hw2 & 0xFF
            change = value if plain == 0 else -value
            fields |= {"stack_change": change, "stack_lowest": min(change, 0)}
        return fields
    if plain == 4:
        return _alu(0, _R[rd])  # MOVW
    if plain in (12, 22):  # MOVT, BFI, BFC
        return _alu(_R[rd] | (_R[rn] if plain == 22 and rn != PC else 0), _R[rd])
    if plain in (18, 26) and not hw2 & 0x70C0:
        return _alu(_R[rn], _R[rd], feature="dsp")  # SSAT16, USAT16
    if plain in (16, 18, 20, 24, 26, 28):  # SSAT, SBFX, USAT, UBFX
        return _alu(_R[rn], _R[rd])
    return _undefined()


def modified_immediate(hw1: int, hw2: int) -> int:
    """A5.3.2."""
    value = (hw1 & 0x400) << 1 | (hw2 & 0x7000) >> 4 | hw2 & 0xFF
    low = value & 0xFF
    if value >> 10 == 0:
        return (low, low * 0x00010001, low * 0x01000100, low * 0x01010101)[value >> 8 & 3]
    rotation = value >> 7
    unrotated = 0x80 | value & 0x7F
    return (unrotated >> rotation | unrotated << (32 - rotation)) & 0xFFFFFFFF


def _branches_and_control(hw1: int, hw2: int) -> _Fields:
    """A5.3.4."""
    if hw2 & 0xD000 == 0xD000:
        return {"kind": Kind.BRANCH_LINK, "writes": _R[LR], "feature": "base"}
    if hw2 & 0xD000 == 0x9000:
        return {"kind": Kind.BRANCH}
    if hw2 & 0xD000 == 0xC000:
        return _undefined()
    operation = hw1 >> 4 & 0x7F
    if operation & 0x38 != 0x38:
        return {"kind": Kind.BRANCH, "conditional_branch": True}
    if operation & 0x7E == 0x38:  # MSR
        writes_stack_pointer = hw2 & 0xFF in (8, 9)
        change = None if writes_stack_pointer else 0
        return {
            "kind": Kind.SYSTEM,
            "reads": _R[hw1 & 15],
            "feature": "base",
            "stack_change": change,
        }
    if operation & 0x7E == 0x3E:  # MRS
        return {"kind": Kind.SYSTEM, "writes": _R[hw2 >> 8 & 15], "feature": "base"}
    if operation == 0x3A:
        return {"kind": Kind.HINT}
    if operation == 0x3B:
        feature = "v7m" if hw2 >> 4 & 15 == 2 else "base"  # CLREX; the barriers
        return {"kind": Kind.BARRIER, "feature": feature}
    return _undefined()


def _single_access(hw1: int, hw2: int) -> _Fields:
    """A5.3.7 to A5.3.10: load and store a byte, halfword or word; preload hints."""
    size_code, is_load, rn, rt = hw1 >> 5 & 3, bool(hw1 & 0x10), hw1 & 15, hw2 >> 12
    size = (1, 2, 4, 0)[size_code]
    if size == 0 or (not is_load and (rn == PC or hw1 & 0x100)) or (size == 4 and hw1 & 0x100):
        return _undefined()
    if is_load and rt == PC and size < 4:
        return {"kind": Kind.HINT}  # PLD, PLI
    registers = _R[rn]
    more: _Fields = {}
    writes = 0
    if is_load and rn == PC:
        more["literal"] = True
    elif not hw1 & 0x80 and not hw2 & 0x800:
        if hw2 & 0x7C0:
            return _undefined()
        registers |= _R[hw2 & 15]
        more["register_offset"] = True
    elif not hw1 & 0x80 and hw2 & 0x100:  # writeback
        writes = _R[rn]
        if rn == SP:
            change = (hw2 & 0xFF) * (1 if hw2 & 0x200 else -1)
            more |= {"stack_change": change, "stack_lowest": min(change, 0)}
    if not is_load:
        return _store(_R[rt], registers, size, writes=writes, **more)
    if rt == PC:
        return {
            "kind": Kind.LOAD_PC,
            "reads": registers,
            "writes": writes,
            "address_registers": registers,
            "access_bytes": 4,
            **more,
        }
    return _load(_R[rt], registers, size, also_writes=writes, **more)


def _register(hw1: int, hw2: int) -> _Fields:
    """A5.3.12 to A5.3.15: shifts, extensions, parallel arithmetic, CLZ, REV."""
    rn, rd, rm = hw1 & 15, hw2 >> 8 & 15, hw2 & 15
    if hw2 & 0xF000 != 0xF000:
        return _undefined()
    if not hw1 & 0x80:
        if not hw2 & 0x80:
            return _alu(_R[rn] | _R[rm], _R[rd]) if not hw2 & 0x70 else _undefined()
        extend = hw1 >> 4 & 7
        if extend > 5:
            return _undefined()
        accumulates = rn != PC
        feature = "dsp" if accumulates or extend in (2, 3) else "v7m"
        return _alu(_R[rm] | (_R[rn] if accumulates else 0), _R[rd], feature=feature)
    if hw2 & 0x80 and hw1 & 0x40 == 0:
        operation = hw1 >> 4 & 3, hw2 >> 4 & 3
        if operation[0] == 0 or operation == (2, 0):  # QADD..., SEL
            return _alu(_R[rn] | _R[rm], _R[rd], feature="dsp")
        if operation[0] == 1 or operation == (3, 0):  # REV..., CLZ
            return _alu(_R[rm], _R[rd])
        return _undefined()
    if not hw2 & 0x80:
        return _alu(_R[rn] | _R[rm], _R[rd], feature="dsp")  # parallel add, subtract
    return _undefined()


def _multiply(hw1: int, hw2: int) -> _Fields:
    """A5.3.16."""
    operation, rn, ra, rd, rm = hw1 >> 4 & 7, hw1 & 15, hw2 >> 12, hw2 >> 8 & 15, hw2 & 15
    if hw2 >> 4 & 15 >= (2, 4, 2, 2, 2, 2, 2, 1)[operation]:
        return _undefined()
    accumulates = ra != PC
    feature = "v7m" if operation == 0 else "dsp"
    kind = Kind.MULTIPLY_ACCUMULATE if accumulates else Kind.MULTIPLY
    reads = _R[rn] | _R[rm] | (_R[ra] if accumulates else 0)
    return {"kind": kind, "reads": reads, "writes": _R[rd], "feature": feature}


# The second operation field of each long multiply: SMULL, UMULL, SMLAL (SMLALXY, SMLALD), SMLSLD,
# UMLAL (UMAAL).
_LONG_MULTIPLIES: dict[int, tuple[int, ...]] = {
    0: (0,),
    2: (0,),
    4: (0, 8, 9, 10, 11, 12, 13),
    5: (12, 13),
    6: (0, 6),
    7: (),
}


def _long_multiply(hw1: int, hw2: int) -> _Fields:
    """A5.3.17: long multiplies, divides."""
    operation, rn, low, high, rm = hw1 >> 4 & 7, hw1 & 15, hw2 >> 12, hw2 >> 8 & 15, hw2 & 15
    if operation in (1, 3):
        if hw2 >> 4 & 15 != 15:
            return _undefined()
        return {
            "kind": Kind.DIVIDE,
            "reads": _R[rn] | _R[rm],
            "writes": _R[high],
            "is_signed": operation == 1,
            "operands": (rn, rm),
        }
    accumulates = operation in (4, 5, 6)
    is_dsp = bool(hw2 & 0xF0)  # SMLALXY, SMLALD, SMLSLD, UMAAL
    kind = Kind.MULTIPLY_LONG_ACCUMULATE if accumulates else Kind.MULTIPLY_LONG
    if hw2 >> 4 & 15 not in _LONG_MULTIPLIES[operation]:
        return _undefined()
    destinations = _R[low] | _R[high]
    return {
        "kind": kind,
        "reads": _R[rn] | _R[rm] | (destinations if accumulates else 0),
        "writes": destinations,
        "is_signed": operation in (0, 4, 5),
        "operands": (rn, rm),
        "feature": "dsp" if is_dsp else "v7m",
    }


# ---- floating point (A6) -----------------------------------------------------------------------


def _coprocessor(hw1: int, hw2: int) -> _Fields:
    coprocessor = hw2 >> 8 & 15
    if coprocessor not in (10, 11):
        return _undefined() if hw1 & 0x1000 else {"kind": Kind.UNDEFINED, "feature": "coprocessor"}
    double = coprocessor == 11
    if hw1 & 0xFF00 == 0xFE00:  # VSEL, VMAXNM, VMINNM, VRINTA...: FPv5
        if hw2 & 0x10:
            return _undefined()
        reads = _fp(hw1 & 15, hw2 >> 7 & 1, double) | _fp(hw2 & 15, hw2 >> 5 & 1, double)
        return _fp_op(Kind.FP, reads, _fp(hw2 >> 12, hw1 >> 6 & 1, double), double, "fpv5")
    if hw1 & 0x1000:
        return _undefined()
    if hw1 & 0xFE00 == 0xEC00:
        return _fp_access(hw1, hw2, double)
    if hw1 & 0x100:
        return _undefined()  # Advanced SIMD, which no M core has
    if hw2 & 0x10:
        return _fp_transfer(hw1, hw2, double)
    return _fp_arithmetic(hw1, hw2, double)


def _fp(number: int, extra: int, double: bool) -> int:
    """Mask of single registers: d is (extra:number), s is (number:extra)."""
    if double:
        return 3 << 2 * (extra << 4 | number) if not extra else 0
    return 1 << (number << 1 | extra)


def _fp_op(kind: Kind, reads: int, writes: int, double: bool, feature: str = "fp") -> _Fields:
    return {
        "kind": kind,
        "fp_reads": reads,
        "fp_writes": writes,
        "is_double": double,
        "feature": "fp-double" if double else feature,
    }


def _fp_arithmetic(hw1: int, hw2: int, double: bool) -> _Fields:
    """A6.4."""
    operation = hw1 >> 4 & 11  # bits 7, 5, 4: bit 6 is D
    vd = _fp(hw2 >> 12, hw1 >> 6 & 1, double)
    vn = _fp(hw1 & 15, hw2 >> 7 & 1, double)
    vm = _fp(hw2 & 15, hw2 >> 5 & 1, double)
    if operation in (0, 1, 9, 10):  # VMLA, VMLS, VNMLA, VNMLS, VFNMA, VFNMS, VFMA, VFMS
        return _fp_op(Kind.FP_MULTIPLY_ACCUMULATE, vd | vn | vm, vd, double)
    if operation in (2, 3):
        return _fp_op(Kind.FP, vn | vm, vd, double)
    if operation == 8:
        if hw2 & 0x40:
            return _undefined()
        return _fp_op(Kind.FP_DIVIDE, vn | vm, vd, double)
    if operation != 11:
        return _undefined()
    other = hw1 & 15
    if not hw2 & 0x40:
        return _fp_op(Kind.FP_MOVE, 0, vd, double)  # VMOV (immediate)
    if other == 0 and not hw2 & 0x80:
        return _fp_op(Kind.FP_MOVE, vm, vd, double)  # VMOV (register)
    if other == 1 and hw2 & 0x80:
        return _fp_op(Kind.FP_DIVIDE, vm, vd, double)  # VSQRT
    if other in (4, 5):
        return _fp_op(Kind.FP, vd | (vm if other == 4 else 0), 0, double)  # VCMP
    if other == 7 and hw2 & 0x80:  # VCVT between single and double
        return _fp_op(Kind.FP, vm, vd, True)
    return _fp_op(Kind.FP, vm, vd, double, "fpv5" if other == 6 else "fp")


def _fp_access(hw1: int, hw2: int, double: bool) -> _Fields:
    """A6.5 loads and stores, A6.7 transfers of two core registers."""
    rn, is_load, writeback = hw1 & 15, bool(hw1 & 0x10), bool(hw1 & 0x20)
    first = hw2 >> 12 | (hw1 >> 6 & 1) << 4 if double else hw2 >> 12 << 1 | hw1 >> 6 & 1
    if hw1 & 0xFFE0 == 0xEC40:  # VMOV between two core registers and two single or one double
        pair = _R[hw2 >> 12] | _R[rn]
        vm = (
            _fp(hw2 & 15, hw2 >> 5 & 1, True)
            if double
            else 3 << ((hw2 & 15) << 1 | hw2 >> 5 & 1) & 0xFFFFFFFF
        )
        fields = _fp_op(Kind.FP_MOVE, 0 if not is_load else vm, vm if not is_load else 0, False)
        fields |= {"transfers": 2, ("writes" if is_load else "reads"): pair}
        return fields
    words = hw2 & 0xFF
    fields = {
        "feature": "fp",
        "address_registers": _R[rn],
        "reads": _R[rn],
        "access_bytes": 4,
        "must_align": True,
    }
    if hw1 & 0x120 == 0x100:  # VLDR, VSTR
        words = 2 if double else 1
        kind = Kind.FP_LOAD if is_load else Kind.FP_STORE
        fields["literal"] = rn == PC
    elif hw1 & 0x1A0 in (0x80, 0xA0, 0x120):
        kind = Kind.LOAD_MULTIPLE if is_load else Kind.STORE_MULTIPLE
        if writeback:
            fields["writes"] = _R[rn]
            if rn == SP:
                change = -4 * words if hw1 & 0x100 else 4 * words
                fields |= {"stack_change": change, "stack_lowest": min(change, 0)}
    else:
        return _undefined()
    shift = 2 * first if double else first
    mask = ((1 << words) - 1) << shift & 0xFFFFFFFF
    fields |= {"kind": kind, "transfers": words, ("fp_writes" if is_load else "fp_reads"): mask}
    return fields


def _fp_transfer(hw1: int, hw2: int, double: bool) -> _Fields:
    """A6.6: VMOV between a core and a floating-point register, VMRS, VMSR."""
    rt, to_core = hw2 >> 12, bool(hw1 & 0x10)
    vn = 0 if hw1 & 0xE0 == 0xE0 else _fp(hw1 & 15, hw2 >> 7 & 1, double)
    fields = _fp_op(Kind.FP_MOVE, vn if to_core else 0, 0 if to_core else vn, False)
    core_register = 0 if rt == PC else _R[rt]
    fields["writes" if to_core else "reads"] = core_register
    return fields


# ---- loads and stores --------------------------------------------------------------------------


def _load(target: int, registers: int, size: int, also_writes: int = 0, **more: Any) -> _Fields:
    if target & _SP_BIT:
        more["stack_change"] = None
    return {
        "kind": Kind.LOAD,
        "reads": registers,
        "writes": target | also_writes,
        "address_registers": registers,
        "access_bytes": size,
        **more,
    }


def _store(source: int, registers: int, size: int, **more: Any) -> _Fields:
    return {
        "kind": Kind.STORE,
        "reads": source | registers,
        "address_registers": registers,
        "access_bytes": size,
        **more,
    }


def _load_multiple(
    registers: int, base: int, count: int, writeback: bool, stack_change: int = 0
) -> _Fields:
    fields: _Fields = {
        "kind": Kind.POP_PC if registers & _PC_BIT else Kind.LOAD_MULTIPLE,
        "reads": base,
        "writes": registers | (base if writeback else 0),
        "address_registers": base,
        "transfers": count,
        "access_bytes": 4,
        "must_align": True,
        "stack_change": stack_change,
        "stack_lowest": min(stack_change, 0),
    }
    if registers & _SP_BIT:
        fields["stack_change"] = None
    return fields


def _store_multiple(registers: int, base: int, count: int, stack_change: int = 0) -> _Fields:
    return {
        "kind": Kind.STORE_MULTIPLE,
        "reads": registers | base,
        "writes": base,
        "address_registers": base,
        "transfers": count,
        "access_bytes": 4,
        "must_align": True,
        "stack_change": stack_change,
        "stack_lowest": min(stack_change, 0),
    }
