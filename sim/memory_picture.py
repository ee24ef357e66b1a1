"""What lies where in each memory after a run: sections, heap, stack and what is free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .board import Memory
from .elf import Elf, Symbol
from .memory_use import static_sections

if TYPE_CHECKING:
    from .machine import Machine

PartKind = Literal["section", "padding", "heap", "free", "stack"]
_LARGEST_SYMBOLS = 8
_LARGEST_PADDING = 64  # bytes: what alignment leaves between static data is no room to use


@dataclass(frozen=True)
class Part:
    """A stretch of memory that serves one purpose."""

    name: str
    kind: PartKind
    address: int
    size_bytes: int

    @property
    def end(self) -> int:
        return self.address + self.size_bytes


@dataclass(frozen=True)
class Picture:
    """One memory: its parts, without gaps from start to end, and its largest symbols."""

    name: str
    kind: str
    address: int
    size_bytes: int
    parts: tuple[Part, ...]
    symbols: tuple[Symbol, ...]


def memory_pictures(machine: Machine) -> list[Picture]:
    """The first flash, the first RAM up to its limit, and any other memory that holds a section."""
    elf, board = machine.elf, machine.board
    found = []
    for memory in board.memories:
        if memory is board.ram:
            end = memory.address + machine.ram_bytes
            parts = [
                Part(one.name, "section", one.address, one.size_bytes)
                for one in static_sections(elf, board)
            ]
            use = machine.ram_use()
            static_end = max((part.end for part in parts), default=memory.address) + 7 & ~7
            if use.heap:
                parts.append(Part("heap", "heap", static_end, use.heap))
            if use.stack:
                parts.append(Part("stack", "stack", machine.stack_top - use.stack, use.stack))
        else:
            end = memory.end
            parts = _stored_sections(elf, memory)
            if not parts and memory is not board.flash:
                continue
        found.append(
            Picture(
                memory.name,
                memory.kind,
                memory.address,
                end - memory.address,
                tuple(_without_gaps(parts, memory.address, end)),
                tuple(_largest_symbols(elf, memory)),
            )
        )
    return found


def _stored_sections(elf: Elf, memory: Memory) -> list[Part]:
    """What a memory holds before the run: sections, and the initial values of those in RAM."""
    parts = [
        Part(one.name, "section", one.address, one.size_bytes)
        for one in elf.sections
        if memory.address <= one.address < memory.end and (one.has_bytes or memory.kind == "ram")
    ]
    for segment in elf.segments:
        if segment.load_address != segment.address and segment.data:
            name = "initial values"
            parts.append(Part(name, "section", segment.load_address, len(segment.data)))
    return [part for part in parts if memory.address <= part.address < memory.end]


def _without_gaps(parts: list[Part], start: int, end: int) -> list[Part]:
    """The parts in order, cut where they overlap or pass the end, with what is between them."""
    filled: list[Part] = []
    at = start
    ordered = sorted(parts, key=lambda part: (part.address, part.end))
    for index, part in enumerate(ordered):
        first, last = max(part.address, at), min(part.end, end)
        if last <= first:
            continue
        if first > at:
            before = filled[-1].kind if filled else part.kind
            is_static = before == "section" and part.kind in ("section", "heap") and index > 0
            kind: PartKind = "padding" if is_static and first - at < _LARGEST_PADDING else "free"
            filled.append(Part(kind, kind, at, first - at))
        filled.append(Part(part.name, part.kind, first, last - first))
        at = last
    if at < end:
        filled.append(Part("free", "free", at, end - at))
    return filled


def _largest_symbols(elf: Elf, memory: Memory) -> list[Symbol]:
    inside = {
        (symbol.address, symbol.size_bytes): symbol
        for symbol in (*elf.symbols.values(), *elf.namesakes)
        if symbol.size_bytes and memory.address <= symbol.address < memory.end
    }
    largest = sorted(inside.values(), key=lambda one: (-one.size_bytes, one.name, one.address))
    return largest[:_LARGEST_SYMBOLS]
