"""What a linked image tells of itself: its compiler, the flags it was given, what takes memory."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from ebnn.sim.board import Board
from ebnn.sim.elf import Elf, Symbol
from ebnn.sim.errors import printable

UNKNOWN_TOOLCHAIN = "unknown compiler"
_GNU = re.compile(
    r"GNU (?P<language>(?!AS)\S+) (?P<version>\d[\d.]*(?: \d{8})?)(?: \([^)]*\))?(?P<rest>.*)"
)
_CLANG = re.compile(r"clang version (?P<version>[\d.]+)")
_COMMENT = re.compile(r"GCC: \([^)]*\) (?P<version>\d[\d.]*(?: \d{8})?)")
_LONGEST_TEXT = 4096


def toolchain(elf: Elf) -> str:
    """The compilers of an image, as in `GCC 12.2.1 20221205`: by what they left in it.

    From the debug information's producers (DWARF 5, 3.1.1), else from `.comment`, which GCC fills
    and some linker scripts discard.
    """
    found = set()
    for text in _texts(elf, ".debug_str", ".debug_line_str", ".comment"):
        for name, pattern in (("GCC", _GNU), ("clang", _CLANG), ("GCC", _COMMENT)):
            match = pattern.match(text)
            if match:
                found.add(f"{name} {match['version']}")
    return " + ".join(sorted(found)) or UNKNOWN_TOOLCHAIN


def compile_flags(elf: Elf) -> list[str]:
    """Each distinct set of flags that GCC compiled a file with, as its producers say; sorted."""
    found = set()
    for text in _texts(elf, ".debug_str", ".debug_line_str"):
        match = _GNU.match(text)
        if match:
            found.add(f"{match['language']}{match['rest']}")
    return sorted(found)


def _texts(elf: Elf, *sections: str) -> list[str]:
    pieces = [piece for name in sections for piece in elf.section_bytes(name).split(b"\0")]
    starts = (b"GNU ", b"clang version ", b"GCC: ")
    return [
        printable(piece[:_LONGEST_TEXT].decode("utf-8", "replace"))
        for piece in pieces
        if piece.startswith(starts)
    ]


def memory_symbols(elf: Elf, board: Board) -> dict[str, dict[str, Any]]:
    """What takes flash and RAM, by name: `kind` (`code`, `constant`, `data`, `zeroed`), `bytes`,
    and of constants and data, a `digest` of what they hold.

    Of several symbols of one address the first by name stands for all; those of one name are summed
    up.
    """
    sections = {section.index: section for section in elf.sections}
    found: dict[str, dict[str, Any]] = {}
    taken: set[tuple[int, int]] = set()
    symbols = {(s.address, s.name): s for s in (*elf.symbols.values(), *elf.functions)}
    for _, symbol in sorted(symbols.items()):
        section = sections.get(symbol.section)
        place = (symbol.address, symbol.size_bytes)
        if section is None or not symbol.size_bytes or place in taken:
            continue
        taken.add(place)
        fact: dict[str, Any] = {"kind": "code", "bytes": symbol.size_bytes}
        if not symbol.is_function:
            in_ram = board.ram.address <= symbol.address < board.ram.end
            fact["kind"] = ("data" if section.has_bytes else "zeroed") if in_ram else "constant"
            if section.has_bytes:
                fact["digest"] = digest_of(elf, symbol)
        name = printable(symbol.name)
        if name in found:
            fact["bytes"] += found[name]["bytes"]
        found[name] = fact
    return dict(sorted(found.items()))


def digest_of(elf: Elf, symbol: Symbol) -> str:
    """Of the bytes that a symbol has in the image; empty where it has none."""
    for segment in elf.segments:
        offset = symbol.address - segment.address
        if 0 <= offset < len(segment.data):
            data = segment.data[offset : offset + symbol.size_bytes]
            return hashlib.sha256(data).hexdigest()[:8]
    return ""
