"""Recognizes loads whose value is only stored again: copying a byte is no use of it.

memcpy and struct assignments carry padding and unset members along. What was unknown at the source
is unknown at the destination then, and is told only where it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .thumb import BRANCHES, SP, Instruction, Kind
from .thumb_decode import decode
from .thumb_targets import Read

_LOOK_AHEAD = 32  # instructions
_LOADS = (Kind.LOAD, Kind.LOAD_MULTIPLE, Kind.POP_PC)
_STORES = (Kind.STORE, Kind.STORE_MULTIPLE)


@dataclass(frozen=True)
class Transfers:
    """The registers that one load or store moves, in the order of their addresses.

    `base` and `offset` give the first address of several; one alone needs none.
    """

    registers: tuple[int, ...]
    base: int
    offset: int

    def register_at(self, address: int, value: Callable[[int], int]) -> int | None:
        """The register that goes to or comes from `address`; `value` reads the base register."""
        if len(self.registers) == 1:
            return self.registers[0]
        index = (address - value(self.base) - self.offset & 0xFFFFFFFF) // 4
        return self.registers[index] if index < len(self.registers) else None


def transfers(instruction: Instruction, code: bytes) -> Transfers | None:
    """What `instruction` moves between core registers and memory; None where it is neither."""
    if instruction.kind not in _LOADS and instruction.kind not in _STORES:
        return None
    hw1 = int.from_bytes(code[:2], "little")
    hw2 = int.from_bytes(code[2:4], "little")
    if instruction.feature.startswith("fp"):
        return None
    if instruction.size == 2:
        if hw1 >> 12 == 0b1011:  # PUSH, POP
            extra = (15 if hw1 & 0x800 else 14,) if hw1 & 0x100 else ()
            registers = (*(n for n in range(8) if hw1 >> n & 1), *extra)
            return Transfers(registers, SP, 0 if hw1 & 0x800 else -4 * len(registers))
        if hw1 >> 12 == 0b1100:
            return Transfers(tuple(n for n in range(8) if hw1 >> n & 1), hw1 >> 8 & 7, 0)
        return Transfers((hw1 >> 8 & 7 if hw1 >> 12 in (0b0100, 0b1001) else hw1 & 7,), 0, 0)
    if hw1 & 0xFE40 == 0xE800:
        registers = tuple(n for n in range(16) if hw2 >> n & 1)
        return Transfers(registers, hw1 & 15, 0 if hw1 & 0x80 else -4 * len(registers))
    if hw1 & 0xFE40 == 0xE840:
        if not hw1 & 0x120:
            return None  # exclusive
        offset = (hw2 & 0xFF) * (4 if hw1 & 0x80 else -4) if hw1 & 0x100 else 0
        return Transfers((hw2 >> 12, hw2 >> 8 & 15), hw1 & 15, offset)
    return Transfers((hw2 >> 12,), hw1 & 15, 0)


def store_of_copy(read: Read, load: Instruction, register: int) -> int | None:
    """The address of the store that is the first and only use of what `load` put in `register`.

    Looked for up to the end of the basic block. None where the value may be used otherwise.
    """
    at, found, bit = load.end, None, 1 << register
    for _ in range(_LOOK_AHEAD):
        instruction = decode(read(at, 4), at)
        if instruction.kind in (Kind.IT, Kind.UNDEFINED):
            break
        if instruction.reads & bit:
            is_data = instruction.kind in _STORES and not instruction.address_registers & bit
            if not is_data:
                return None
            found = at if found is None else found
        if instruction.writes & bit or instruction.kind in BRANCHES:
            break
        at = instruction.end
    return found
