"""Carries out an unaligned load or store that the emulated core trapped.

Armv7-M allows LDR, LDRH, LDRSH, STR and STRH at any address (ARM A3.2.1) and splits them into
aligned accesses, each with a cost of its own. Everything else faults.
"""

from __future__ import annotations

from dataclasses import dataclass

from .unicorn_library import CORE_REGISTERS, Cpu

UNALIGNED = "unaligned access"  # the cause of stalls


@dataclass(frozen=True)
class Access:
    """One load or store, decoded: registers by number, the written-back base or None."""

    is_load: bool
    size_bytes: int
    is_signed: bool
    register: int
    address: int
    writeback: tuple[int, int] | None
    instruction_bytes: int


def decode_access(cpu: Cpu, pc: int) -> Access | None:
    """The access at `pc`, where the architecture allows it unaligned; None where it faults."""
    return _decode(cpu, pc)


def carry_out(cpu: Cpu, access: Access) -> int:
    """Do the access, but leave PC to the caller; how many accesses it takes beyond one."""
    size, address = access.size_bytes, access.address
    if access.is_load:
        value = int.from_bytes(cpu.read(address, size), "little")
        if access.is_signed and value >> (8 * size - 1):
            value |= 0xFFFFFFFF << 8 * size
        cpu.set_register(CORE_REGISTERS[access.register], value)
    else:
        value = cpu.register(CORE_REGISTERS[access.register])
        cpu.write(address, (value & ((1 << 8 * size) - 1)).to_bytes(size, "little"))
    if access.writeback is not None:
        register, base = access.writeback
        cpu.set_register(CORE_REGISTERS[register], base)
    cpu.advance_it()
    return 2 if size == 4 and address & 1 else 1


def _decode(cpu: Cpu, pc: int) -> Access | None:
    first = int.from_bytes(cpu.read(pc, 2), "little")

    def value(register: int) -> int:
        return cpu.register(CORE_REGISTERS[register])

    if first >> 12 == 5:  # register offset: STR STRH STRB LDRSB LDR LDRH LDRB LDRSH
        operation = first >> 9 & 7
        size = {0: 4, 1: 2, 4: 4, 5: 2, 7: 2}.get(operation)
        if size is None:
            return None
        address = value(first >> 3 & 7) + value(first >> 6 & 7) & 0xFFFFFFFF
        return Access(operation >= 3, size, operation == 7, first & 7, address, None, 2)
    if first >> 12 in (6, 8):  # STR, LDR or STRH, LDRH with an immediate offset
        size = 4 if first >> 12 == 6 else 2
        address = value(first >> 3 & 7) + (first >> 6 & 31) * size & 0xFFFFFFFF
        return Access(bool(first >> 11 & 1), size, False, first & 7, address, None, 2)
    if first >> 9 != 0x7C:
        return None
    second = int.from_bytes(cpu.read(pc + 2, 2), "little")
    size = {1: 2, 2: 4}.get(first >> 5 & 3)
    if size is None:
        return None
    is_load, is_signed = bool(first >> 4 & 1), bool(first >> 8 & 1)
    base, register = first & 15, second >> 12
    if register == 15:
        return None  # LDR PC must be aligned
    writeback = None
    if base == 15:  # literal: offset up or down from the aligned PC
        offset = second & 0xFFF
        address = (pc + 4 & ~3) + (offset if first >> 7 & 1 else -offset)
    elif first >> 7 & 1:
        address = value(base) + (second & 0xFFF)
    elif second >> 11 & 1:
        offset = second & 0xFF if second >> 9 & 1 else -(second & 0xFF)
        after = value(base) + offset & 0xFFFFFFFF
        address = after if second >> 10 & 1 else value(base)
        if second >> 8 & 1:
            writeback = (base, after)
    elif second >> 6 & 0x3F == 0:
        address = value(base) + (value(second & 15) << (second >> 4 & 3))
    else:
        return None
    return Access(is_load, size, is_signed, register, address & 0xFFFFFFFF, writeback, 4)
