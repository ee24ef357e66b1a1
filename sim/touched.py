"""Which bytes of flash and RAM a run read, wrote and executed, by memory, section and symbol."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from .board import Board
from .elf import Elf
from .memory_watch import EXECUTED, READ, WRITTEN, MemoryWatch

_SMALLER = {flag: bytes(one & flag for one in range(256)) for flag in (READ, WRITTEN, EXECUTED, 11)}


@dataclass(frozen=True)
class Touched:
    """Counts of bytes of one memory, section or symbol; `touched` ones were any of the three."""

    name: str
    address: int
    size_bytes: int
    read: int
    written: int
    executed: int
    touched: int


def touched(
    elf: Elf, board: Board, ram_end: int, watch: MemoryWatch, executed: Iterable[tuple[int, int]]
) -> dict[str, Any]:
    """The run record's `memory.touched`; `executed` are address and size of blocks that ran."""
    for address, size_bytes in executed:
        watch.mark(address, size_bytes, EXECUTED)

    def count(name: str, address: int, size_bytes: int) -> Touched:
        flags = watch.flags(address, size_bytes)
        counts = [len(flags) - flags.translate(_SMALLER[kind]).count(0) for kind in _SMALLER]
        return Touched(name, address, size_bytes, *counts)

    memories = []
    for memory in board.memories:
        end = ram_end if memory is board.ram else memory.end
        memories.append(count(memory.name, memory.address, end - memory.address))
    sections = [count(one.name, one.address, one.size_bytes) for one in elf.sections]
    symbols = {
        (symbol.address, symbol.size_bytes): symbol.name
        for symbol in sorted(elf.symbols.values(), key=lambda symbol: symbol.name, reverse=True)
        if symbol.size_bytes and watch.flags(symbol.address, 1)
    }
    counted = [count(name, *place) for place, name in sorted(symbols.items())]
    return {
        "memories": [asdict(one) for one in memories],
        "sections": [asdict(one) for one in sections],
        "symbols": [asdict(one) for one in counted],
    }
