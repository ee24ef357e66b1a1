"""ELF images written byte by byte: what no linker would make, for the loader to refuse."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

FLASH, RAM = 0x08000000, 0x20000000
PROGBITS, SYMTAB, STRTAB, NOBITS = 1, 2, 3, 8
ALLOC, EXECUTABLE = 2, 4
_HEADER, _PROGRAM, _SECTION = "<16sHHIIIIIHHHHHH", "<8I", "<10I"


@dataclass(frozen=True)
class RawSegment:
    """`file_bytes` and `size_bytes` say what the header claims; by default the truth."""

    address: int
    data: bytes = b""
    size_bytes: int | None = None
    file_bytes: int | None = None
    offset: int | None = None


@dataclass(frozen=True)
class RawSection:
    name: str
    kind: int = PROGBITS
    data: bytes = b""
    flags: int = 0
    address: int = 0
    link: int = 0
    size_bytes: int | None = None
    share: int | None = None  # number of the section whose bytes these are too


def firmware(*code: int) -> bytes:
    """A vector table and these halfwords behind it, for the start of flash."""
    return struct.pack(f"<2I{len(code)}H", RAM + 0x4000, FLASH + 9, *code)


def symbol(name: int, value: int, size: int, info: int = 0x12, section: int = 1) -> bytes:
    return struct.pack("<IIIBBH", name, value, size, info, 0, section)


def raw_elf(
    segments: Sequence[RawSegment], sections: Sequence[RawSection] = (), entry: int = FLASH + 9
) -> bytes:
    """An ELF file; with `sections`, the first is the null one and the last the names'."""
    names = b"\0"
    body = bytearray(0x34 + 32 * len(segments))
    programs = []
    for segment in segments:
        offset = len(body) if segment.offset is None else segment.offset
        file_bytes = len(segment.data) if segment.file_bytes is None else segment.file_bytes
        size_bytes = file_bytes if segment.size_bytes is None else segment.size_bytes
        at = segment.address
        programs.append(struct.pack(_PROGRAM, 1, offset, at, at, file_bytes, size_bytes, 7, 4))
        body += segment.data
    headers = [bytes(40)]
    places: list[tuple[int, int]] = [(0, 0)]
    for section in [*sections, RawSection(".shstrtab", STRTAB)] if sections else []:
        name = len(names)
        names += section.name.encode() + b"\0"
        place = (len(body), len(section.data))
        if section.share is not None:
            place = places[section.share]
        elif section.name == ".shstrtab":
            place = (len(body), len(names))
            body += names
        else:
            body += section.data
        places.append(place)
        size = place[1] if section.size_bytes is None else section.size_bytes
        headers.append(
            struct.pack(_SECTION, name, section.kind, section.flags, section.address, place[0],
                        size, section.link, 0, 1, 16)
        )  # fmt: skip
    count = len(headers) if sections else 0
    body[:0x34] = struct.pack(
        _HEADER, b"\x7fELF\1\1\1".ljust(16, b"\0"), 2, 40, 1, entry, 0x34,
        len(body) if sections else 0, 0x05000000, 0x34, 32, len(programs), 40, count,
        max(0, count - 1),
    )  # fmt: skip
    body[0x34 : 0x34 + 32 * len(programs)] = b"".join(programs)
    return bytes(body) + (b"".join(headers) if sections else b"")
