"""Mutants of an ELF image for the fuzzing campaign, each from a random source of its own."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from . import random_code
from .elf import Elf

_EXTREMES = (0, 1, 4, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFF000, 0x20000000,
             0x08000000, 0xE0000000, 0x9FFFFC00)  # fmt: skip
_PROGRAM_BYTES, _SECTION_BYTES = 32, 40
_PROGRAM_SIZES, _SECTION_SIZE = (16, 20), 20  # offsets of p_filesz, p_memsz and of sh_size


@dataclass(frozen=True)
class Seed:
    """An image, and where in the file is what: spans of (offset, size)."""

    path: Path
    data: bytes
    core: str
    programs: tuple[int, int]
    sections: tuple[int, int]
    names: tuple[tuple[int, int], ...]  # symbol and string tables
    attributes: tuple[tuple[int, int], ...]
    debug: tuple[tuple[int, int], ...]
    code: tuple[tuple[int, int], ...]  # offset and address of the places where code is put
    functions: tuple[str, ...]


def read_seed(path: Path) -> Seed:
    """The seed image at `path`; `UserError` unless it is a good one."""
    elf = Elf(path)
    data = elf.data
    programs_at, sections_at = struct.unpack_from("<2I", data, 28)
    sections = []
    for number in range(int.from_bytes(data[48:50], "little") if sections_at else 0):
        sections.append(struct.unpack_from("<10I", data, sections_at + _SECTION_BYTES * number))

    def of_kinds(*kinds: int) -> tuple[tuple[int, int], ...]:
        return tuple((row[4], row[5]) for row in sections if row[1] in kinds and row[5])

    debug_names = (".debug_line", ".debug_line_str", ".debug_info")
    debug = [(data.find(found), len(found)) for n in debug_names if (found := elf.section_bytes(n))]
    return Seed(
        path=path,
        data=data,
        core=elf.core() or "cortex-m4f",
        programs=(programs_at, _PROGRAM_BYTES * int.from_bytes(data[44:46], "little")),
        sections=(sections_at, _SECTION_BYTES * len(sections)),
        names=of_kinds(2, 3),
        attributes=of_kinds(0x70000003),
        debug=tuple(debug),
        code=_code_places(elf),
        functions=tuple(symbol.name for symbol in elf.functions),
    )


def _code_places(elf: Elf) -> tuple[tuple[int, int], ...]:
    """The entry point, twice, since it is always run, and some functions."""
    addresses = [elf.entry & ~1] * 2 + [symbol.address for symbol in elf.functions[:20]]
    places = []
    for address in addresses:
        for segment in elf.segments:
            offset = address - segment.address
            if 0 <= offset < len(segment.data):
                places.append((elf.data.find(segment.data) + offset, address))
    return tuple(places)


def mutant(seed: Seed, random: Random) -> bytes:
    """One mutant: what is changed, and how, is drawn from `random`."""
    data = bytearray(seed.data)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        random.choice(_MUTATORS)(data, seed, random)
    return bytes(data)


def _put_word(data: bytearray, at: int, random: Random) -> None:
    old = int.from_bytes(data[at : at + 4], "little")
    near = (old + random.randrange(-64, 64)) & 0xFFFFFFFF
    value = random.choice(
        (*_EXTREMES, near, near, random.getrandbits(32), 1 << random.randrange(32))
    )
    if at + 4 <= len(data):
        data[at : at + 4] = value.to_bytes(4, "little")


def _words_in(data: bytearray, span: tuple[int, int], random: Random) -> None:
    for _ in range(random.randrange(1, 4)):
        _put_word(data, span[0] + random.randrange(max(1, span[1] // 4)) * 4, random)


def _bytes_in(data: bytearray, spans: tuple[tuple[int, int], ...], random: Random) -> None:
    if not spans:
        return
    offset, size = random.choice(spans)
    for _ in range(random.randrange(1, 24)):
        at = offset + random.randrange(size)
        if at < len(data):
            data[at] = random.choice((0, 0xFF, 0x80, 0x0A, random.getrandbits(8)))


def _header(data: bytearray, _seed: Seed, random: Random) -> None:
    _words_in(data, (16, 36), random)


def _programs(data: bytearray, seed: Seed, random: Random) -> None:
    _words_in(data, seed.programs, random)


def _sections(data: bytearray, seed: Seed, random: Random) -> None:
    if seed.sections[1]:
        _words_in(data, seed.sections, random)


def _sizes(data: bytearray, seed: Seed, random: Random) -> None:
    """Huge .bss, .data and tables."""
    for start, entry in ((seed.programs, _PROGRAM_BYTES), (seed.sections, _SECTION_BYTES)):
        if start[1]:
            fields = _PROGRAM_SIZES if entry == _PROGRAM_BYTES else (_SECTION_SIZE,)
            at = start[0] + entry * random.randrange(start[1] // entry) + random.choice(fields)
            value = random.choice((0xDFFFFFFF, 0xFFFFFFFF, 1 << random.randrange(12, 32)))
            data[at : at + 4] = value.to_bytes(4, "little")


def _names(data: bytearray, seed: Seed, random: Random) -> None:
    _bytes_in(data, seed.names, random)


def _attributes(data: bytearray, seed: Seed, random: Random) -> None:
    _bytes_in(data, seed.attributes, random)


def _debug(data: bytearray, seed: Seed, random: Random) -> None:
    _bytes_in(data, seed.debug, random)
    _put_code(data, seed, random, b"\x00\xde")  # so that a line is asked for


def _cut(data: bytearray, _seed: Seed, random: Random) -> None:
    del data[random.randrange(len(data) + 1) :]


def _append(data: bytearray, _seed: Seed, random: Random) -> None:
    data += random.randbytes(random.randrange(1, 4096))


def _flip(data: bytearray, _seed: Seed, random: Random) -> None:
    for _ in range(random.randrange(1, 64)):
        if data:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _put_code(data: bytearray, seed: Seed, random: Random, code: bytes) -> None:
    offset, _address = random.choice(seed.code)
    _replace(data, offset, code)


def _replace(data: bytearray, offset: int, code: bytes) -> None:
    """Only what is there is replaced: cuts are another mutator's."""
    code = code[: max(0, len(data) - offset)]
    data[offset : offset + len(code)] = code


def _noise(data: bytearray, seed: Seed, random: Random) -> None:
    _put_code(data, seed, random, random_code.noise(random))


def _instructions(data: bytearray, seed: Seed, random: Random) -> None:
    _put_code(data, seed, random, random_code.instructions(random))


def _semihosting(data: bytearray, seed: Seed, random: Random) -> None:
    offset, address = random.choice(seed.code[:2])
    skip = address % 4
    code = random_code.semihosting(random, address + skip)
    _replace(data, offset, b"\x00\xbf"[:skip] + code)


_Mutator = Callable[[bytearray, Seed, Random], None]
_MUTATORS: tuple[_Mutator, ...] = (
    *(_header, _programs, _sections, _sizes, _names, _attributes, _debug, _cut, _append, _flip),
    *(_noise, _noise, _semihosting, *(_instructions,) * 6),
)
