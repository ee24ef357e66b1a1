"""Where branches lead: targets in the encoding, and the tables of switch statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .thumb import Instruction, Kind

Read = Callable[[int, int], bytes]
_LONGEST_TABLE = 512  # entries

# libgcc's helpers for switch statements on Armv6-M: `bl HELPER` is followed by the table, of
# entries of so many bytes, signed or not (libgcc, config/arm/bpabi-v6m.S and lib1funcs.S).
SWITCH_HELPERS = {
    "__gnu_thumb1_case_sqi": (1, True),
    "__gnu_thumb1_case_uqi": (1, False),
    "__gnu_thumb1_case_shi": (2, True),
    "__gnu_thumb1_case_uhi": (2, False),
    "__gnu_thumb1_case_si": (4, True),
}


def branch_target(instruction: Instruction, code: bytes) -> int | None:
    """The address that a branch with an offset leads to, from its bytes; None for any other.

    Encodings: ARMv7-M ARM A7.7.12 (B), A7.7.18 (BL), A7.7.21 (CBZ, CBNZ).
    """
    if instruction.kind not in (Kind.BRANCH, Kind.BRANCH_LINK):
        return None
    pc = instruction.address + 4
    first = int.from_bytes(code[:2], "little")
    if instruction.size == 2:
        if first >> 12 == 0b1011:  # CBZ, CBNZ
            offset = (first >> 9 & 1) << 6 | (first >> 3 & 31) << 1
        elif first >> 12 == 0b1101:
            offset = _signed(first & 0xFF, 8) << 1
        else:
            offset = _signed(first & 0x7FF, 11) << 1
        return pc + offset & 0xFFFFFFFF
    second = int.from_bytes(code[2:4], "little")
    sign, j1, j2 = first >> 10 & 1, second >> 13 & 1, second >> 11 & 1
    if second & 0xD000 == 0x8000:  # conditional
        high = sign << 19 | j2 << 18 | j1 << 17 | (first & 0x3F) << 11
        return pc + (_signed(high | second & 0x7FF, 20) << 1) & 0xFFFFFFFF
    i1, i2 = 1 - (j1 ^ sign), 1 - (j2 ^ sign)
    high = sign << 23 | i1 << 22 | i2 << 21 | (first & 0x3FF) << 11
    return pc + (_signed(high | second & 0x7FF, 24) << 1) & 0xFFFFFFFF


def table_targets(instruction: Instruction, code: bytes, read: Read) -> set[int]:
    """Where a TBB or TBH with its table directly behind it leads; empty for a table elsewhere."""
    first = int.from_bytes(code[:2], "little")
    if instruction.kind is not Kind.TABLE_BRANCH or first & 15 != 15:
        return set()
    size_bytes = 2 if code[2] & 0x10 else 1
    return set(_targets(read, instruction.end, size_bytes, False, instruction.end, 2))


def switch_targets(helper: str, behind: int, read: Read) -> set[int]:
    """Where the call of a switch `helper` leads whose return address is `behind`."""
    size_bytes, is_signed = SWITCH_HELPERS[helper]
    table = behind + 2 & ~3 if size_bytes == 4 else behind
    scale = 1 if size_bytes == 4 else 2
    return set(_targets(read, table, size_bytes, is_signed, table, scale))


def word_targets(table: int, first: int, end: int, read: Read) -> set[int]:
    """Where a table of words leads: up to the first that is no address in [first, end)."""
    targets = set()
    for at in range(table, table + 4 * _LONGEST_TABLE, 4):
        target = int.from_bytes(read(at, 4), "little") & ~1
        if not first <= target < end:
            break
        targets.add(target)
    return targets


def _targets(
    read: Read, table: int, size_bytes: int, is_signed: bool, base: int, scale: int
) -> Iterator[int]:
    """A table ends where the nearest code that it leads to begins."""
    end = table + _LONGEST_TABLE * size_bytes
    at = table
    while at + size_bytes <= end:
        entry = int.from_bytes(read(at, size_bytes), "little", signed=is_signed)
        target = base + entry * scale
        if target > at:
            end = min(end, target)
        yield target
        at += size_bytes


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value
