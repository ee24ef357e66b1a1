"""What compiled an image, and with which flags: GCC and Clang leave it in the debug information."""

from __future__ import annotations

import re

from .elf import Elf
from .errors import printable

# DWARF 5, 3.1.1: DW_AT_producer. GCC writes its flags there too (-grecord-gcc-switches, default).
_GNU = re.compile(r"GNU \S+ \d[\d.]*(?: \d{8})?(?: \([^)]*\))? (?P<flags>-.*)")
_LONGEST_TEXT = 4096


def compile_flags(elf: Elf) -> list[str]:
    """Each distinct set of flags that GCC compiled a file with, sorted; empty without `-g`."""
    found = set()
    for section in (".debug_str", ".debug_line_str"):
        for piece in elf.section_bytes(section).split(b"\0"):
            if piece.startswith(b"GNU "):
                text = printable(piece[:_LONGEST_TEXT].decode("utf-8", "replace"))
                match = _GNU.match(text)
                if match:
                    found.add(match["flags"])
    return sorted(found)
