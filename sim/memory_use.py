"""What the linked image alone needs: flash, static RAM, and which symbols are the largest."""

from __future__ import annotations

from .board import Board
from .elf import Elf, Section
from .errors import UserError
from .faults import RamExceeded, RamUse
from .sizes import format_bytes

_RESERVATIONS = ("stack", "heap")  # sections that only keep room free: ._user_heap_stack, .stack


def static_sections(elf: Elf, board: Board) -> list[Section]:
    """The allocated sections in the board's first RAM, without mere reservations."""
    ram = board.ram
    return [
        section
        for section in elf.sections
        if ram.address <= section.address < ram.end
        and not any(word in section.name for word in _RESERVATIONS)
    ]


def static_end(elf: Elf, board: Board) -> int:
    """First address behind static data in the first RAM: what the stack must stay above."""
    return max((s.end for s in static_sections(elf, board)), default=board.ram.address)


def static_bytes(elf: Elf, board: Board) -> int:
    """From the start of RAM to the end of static data: padding between sections counts."""
    sections = static_sections(elf, board)
    if not sections:
        return 0
    return max(s.end for s in sections) - min(s.address for s in sections)


def flash_bytes(elf: Elf, board: Board) -> int:
    """Bytes that are programmed into flash: code, constants, and initial values."""
    flashes = [memory for memory in board.memories if memory.kind == "flash"]
    return sum(
        len(segment.data)
        for segment in elf.segments
        if any(memory.address <= segment.load_address < memory.end for memory in flashes)
    )


def check_placement(elf: Elf, board: Board) -> None:
    """`UserError` where the image lies outside the board's memories."""
    for segment in elf.segments:
        for address, size_bytes in (
            (segment.load_address, len(segment.data)),
            (segment.address, segment.size_bytes),
        ):
            if size_bytes and not any(
                memory.address <= address and address + size_bytes <= memory.end
                for memory in board.memories
            ):
                places = ", ".join(
                    f"{m.name} {m.address:#010x} to {m.end - 1:#010x}" for m in board.memories
                )
                raise UserError(
                    f"{elf.path}: {format_bytes(size_bytes)} bytes at {address:#010x} lie outside "
                    f"the memories of {board.name} ({places}): link for this board, or choose "
                    "another with --board"
                )


def check_static(elf: Elf, board: Board, ram_bytes: int) -> None:
    """`RamExceeded` before the run where static data alone do not fit."""
    over_by = static_end(elf, board) - (board.ram.address + ram_bytes)
    if over_by <= 0:
        return
    static = static_bytes(elf, board)
    inside = [
        symbol
        for symbol in elf.symbols.values()
        if board.ram.address <= symbol.address < board.ram.end and symbol.size_bytes
    ]
    inside.sort(key=lambda symbol: (-symbol.size_bytes, symbol.name))
    largest = ", ".join(f"{s.name[:120]} {format_bytes(s.size_bytes)}" for s in inside[:3])
    hint = f"; the largest: {largest}" if largest else ""
    raise RamExceeded(
        "static",
        f"static data need {format_bytes(static)} bytes{hint}",
        None,
        over_by,
        ram_bytes,
        RamUse(static, 0, 0),
    ) from None
