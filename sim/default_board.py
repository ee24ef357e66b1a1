"""The board of an image that comes without one: a generic one, its memories where it is linked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .board import MEMORY_END, Board, Memory, generic_board
from .elf import Elf

_ALIGNMENT_BYTES = 1 << 16


def default_board(elf: Elf, core: str) -> Board:
    """The generic board of `core`, with flash and RAM moved to where `elf` has its code and data.

    Chips differ in where flash begins (0 on nRF and SAM, 0x08000000 on STM32); an image that is
    linked for a generic board gets it unchanged.
    """
    board = generic_board(core)
    stored = [segment.load_address for segment in elf.segments if segment.data]
    flash = _moved(board.flash, [at for at in stored if not _holds(board.ram, at)])
    used = [segment.address for segment in elf.segments if segment.size_bytes]
    ram = _moved(board.ram, [at for at in used if not _holds(flash, at)])
    if flash.address < ram.end and ram.address < flash.end:
        return board  # no such chip: what lies outside is named by the placement check
    moved = {board.flash: flash, board.ram: ram}
    return replace(board, memories=tuple(moved.get(one, one) for one in board.memories))


def _holds(memory: Memory, address: int) -> bool:
    return memory.address <= address < memory.end


def _moved(memory: Memory, addresses: Iterable[int]) -> Memory:
    lowest = min(addresses, default=memory.address)
    if _holds(memory, lowest):
        return memory
    start = lowest - lowest % _ALIGNMENT_BYTES
    if start + memory.size_bytes > MEMORY_END:
        return memory  # no memory can be there: the placement check names it
    return replace(memory, address=start)
