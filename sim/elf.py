"""Reads an ELF image for Cortex-M: segments, sections, symbols and build attributes.

ELFs are untrusted. Every offset is checked against the file before it is used, nothing is
allocated from a size that the file merely claims, and every refusal is one `UserError`.
Read with `struct` rather than a library: a run must start within 0.15 s, and a library that
builds an object for each symbol takes longer than that alone.
"""

from __future__ import annotations

import bisect
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import UserError, printable

_LARGEST_FILE_BYTES = 512 << 20
_MOST_SEGMENTS = 1024  # linkers make a handful
_LONGEST_NAME_BYTES = 4096  # of a symbol: C++ ones are long
_LONGEST_SECTION_NAME = 256
_LARGEST_INFLATED_BYTES = 16 << 20
_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_PROGRAM = struct.Struct("<8I")
_SECTION = struct.Struct("<10I")
_SYMBOL = struct.Struct("<IIIBBH")
_EM_ARM = 40
_PT_LOAD = 1
_SHT_SYMTAB = 2
_SHT_NOBITS = 8
_SHT_ARM_ATTRIBUTES = 0x70000003
_SHF_WRITE, _SHF_ALLOC, _SHF_EXECINSTR, _SHF_COMPRESSED = 1, 2, 4, 0x800
_STT_OBJECT, _STT_FUNC, _STT_SECTION, _STT_FILE = 1, 2, 3, 4
_MACHINES = {3: "x86", 62: "x86-64", 183: "AArch64", 243: "RISC-V", 8: "MIPS", 20: "PowerPC"}


@dataclass(frozen=True)
class Symbol:
    """A named address; functions have their Thumb bit cleared."""

    name: str
    address: int
    size_bytes: int
    is_function: bool = False
    section: int = 0


@dataclass(frozen=True)
class Segment:
    """A loadable piece: `data`, at `file_offset` in the file, goes to `load_address`; it runs at
    `address`, `size_bytes` long."""

    address: int
    load_address: int
    data: bytes
    size_bytes: int
    file_offset: int


@dataclass(frozen=True)
class Section:
    """A section that occupies memory when the firmware runs."""

    index: int
    name: str
    address: int
    size_bytes: int
    has_bytes: bool
    writable: bool
    executable: bool

    @property
    def end(self) -> int:
        return self.address + self.size_bytes


class Elf:
    """An ELF image for a Cortex-M core, checked.

    Raises:
        UserError: not a little-endian 32-bit Arm executable, or cut short, or inconsistent.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.data = _read(self.path)
        header = self._identify()
        kind, machine, self.entry = header[1], header[2], header[4]
        self._phoff, self._shoff = header[5], header[6]
        self._phentsize, self._phnum = header[9], header[10]
        self._shentsize, self._shnum, self._shstrndx = header[11], header[12], header[13]
        if machine != _EM_ARM:
            name = _MACHINES.get(machine, f"machine {machine}")
            raise self._wrong(f"it is built for {name}, not for Arm: build with arm-none-eabi-gcc")
        if kind != 2:
            raise self._wrong("it is not a linked executable: link it (an object file was given?)")
        self._found_bytes: dict[str, bytes] = {}
        self.segments = self._read_segments()

    @cached_property
    def sha256(self) -> str:
        import hashlib  # OpenSSL: a thirtieth of the time to the first instruction

        return hashlib.sha256(self.data).hexdigest()

    def _wrong(self, reason: str) -> UserError:
        return UserError(f"{self.path}: {reason}")

    def _identify(self) -> tuple[Any, ...]:
        data = self.data
        if not data:
            raise self._wrong("the file is empty: give a linked ELF image")
        if data[:4] != b"\x7fELF":
            raise self._wrong("not an ELF file: give a linked ELF image, not a .bin or .hex")
        if len(data) < 16:
            raise self._wrong("the ELF header is cut short: copy the file again")
        if data[4] == 2:
            raise self._wrong(
                "a 64-bit ELF: Cortex-M images are 32-bit; build with arm-none-eabi-gcc"
            )
        if data[4] != 1:
            raise self._wrong("the ELF class is neither 32 nor 64 bits: the file is damaged")
        if data[5] != 1:
            raise self._wrong("a big-endian ELF: only little-endian Cortex-M images are supported")
        if len(data) < _HEADER.size:
            raise self._wrong("the ELF header is cut short: copy the file again")
        return _HEADER.unpack_from(data)

    def _table(self, what: str, offset: int, entry: struct.Struct, size: int, count: int) -> list:  # type: ignore[type-arg]
        if count == 0 or offset == 0:
            return []
        if size < entry.size or offset + size * count > len(self.data):
            raise self._wrong(f"the {what} table reaches past the end of the file: it is cut short")
        return [entry.unpack_from(self.data, offset + index * size) for index in range(count)]

    def _read_segments(self) -> tuple[Segment, ...]:
        table = self._table("segment", self._phoff, _PROGRAM, self._phentsize, self._phnum)
        if any(row[0] == _PT_LOAD and row[1] + row[4] > len(self.data) for row in table):
            raise self._wrong("a segment reaches past the end of the file: it is cut short")
        if len(table) > _MOST_SEGMENTS:
            raise self._wrong(f"{len(table)} segments: the file is damaged")
        if sum(row[4] for row in table if row[0] == _PT_LOAD) > len(self.data):
            # Else a small file could claim the same bytes over and over, and each is a copy.
            raise self._wrong("the segments need more bytes than the file has: it is damaged")
        segments = []
        for kind, offset, address, load_address, file_bytes, size_bytes, _flags, _align in table:
            if kind != _PT_LOAD or size_bytes == 0:
                continue
            if file_bytes > size_bytes:
                raise self._wrong("a segment has more bytes in the file than in memory")
            skipped = 0
            if offset == 0 and self.sections:
                # Linkers may put the ELF headers in front of the first section: not firmware.
                inside = [
                    s.address for s in self.sections if address <= s.address < address + size_bytes
                ]
                skipped = min(inside, default=address) - address
                if skipped > file_bytes:
                    skipped = 0
            if max(address, load_address) + size_bytes > 1 << 32:
                raise self._wrong("a segment reaches past the end of the 32-bit address space")
            segments.append(
                Segment(
                    address=address + skipped,
                    load_address=load_address + skipped,
                    data=self.data[offset + skipped : offset + file_bytes],
                    size_bytes=size_bytes - skipped,
                    file_offset=offset + skipped,
                )
            )
        if not segments:
            raise self._wrong("no loadable segment: link the firmware with a linker script")
        return tuple(segments)

    @cached_property
    def _section_table(self) -> list[tuple[int, ...]]:
        return self._table("section", self._shoff, _SECTION, self._shentsize, self._shnum)

    def _text(self, table: bytes, offset: int) -> str:
        last = offset + _LONGEST_NAME_BYTES
        end = table.find(b"\0", offset, last)
        return printable(table[offset : end if end >= 0 else last].decode("utf-8", "replace"))

    def _section_bytes(self, header: tuple[int, ...]) -> bytes:
        return b"" if header[1] == _SHT_NOBITS else self.data[header[4] : header[4] + header[5]]

    def section_bytes(self, name: str) -> bytes:
        """The bytes of the first section of that name, allocated or not; none when absent."""
        if name not in self._found_bytes:
            table, names = self._section_table, b""
            if self._shstrndx < len(table):
                names = self._section_bytes(table[self._shstrndx])
            wanted = name.encode() + b"\0"
            row = next((row for row in table if names.startswith(wanted, row[0])), None)
            data = b"" if row is None else self._section_bytes(row)
            if row is not None and row[2] & _SHF_COMPRESSED:
                data = _inflated(data)
            self._found_bytes[name] = data
        return self._found_bytes[name]

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """The allocated, non-empty sections in file order; empty when the ELF has none."""
        table = self._section_table
        names = b""
        if self._shstrndx < len(table):
            names = self._section_bytes(table[self._shstrndx])
        found = []
        for index, header in enumerate(table):
            name, kind, flags, address, _offset, size_bytes = header[:6]
            if flags & _SHF_ALLOC and size_bytes and address + size_bytes <= 1 << 32:
                found.append(
                    Section(
                        index=index,
                        name=self._text(names, name)[:_LONGEST_SECTION_NAME],
                        address=address,
                        size_bytes=size_bytes,
                        has_bytes=kind != _SHT_NOBITS,
                        writable=bool(flags & _SHF_WRITE),
                        executable=bool(flags & _SHF_EXECINSTR),
                    )
                )
        return tuple(found)

    @property
    def symbols(self) -> dict[str, Symbol]:
        """Every named address. Of equal names a global one wins over a local one."""
        return self._symbols[0]

    @property
    def namesakes(self) -> list[Symbol]:
        """Functions that are not in `symbols`, because another symbol has their name."""
        return self._symbols[1]

    @cached_property
    def _symbols(self) -> tuple[dict[str, Symbol], list[Symbol]]:
        """By name; and those that share another's: static functions, and the mapping symbols."""
        table = self._section_table
        found: dict[str, Symbol] = {}
        others: list[Symbol] = []
        # The ELF specification allows one symbol table; more could share their bytes.
        header = next((row for row in table if row[1] == _SHT_SYMTAB), None)
        if header is None or header[6] >= len(table):
            return found, others
        names = self._section_bytes(table[header[6]])
        raw = self._section_bytes(header)
        raw = raw[: len(raw) - len(raw) % _SYMBOL.size]
        left = len(self.data) + (1 << 20)  # characters: names may share their ends, a few do
        for name, value, size_bytes, info, _other, section in _SYMBOL.iter_unpack(raw):
            kind = info & 15
            if section == 0 or kind in (_STT_SECTION, _STT_FILE):
                continue
            text = self._text(names, name)
            if not text:
                continue
            left -= len(text)
            if left < 0:
                raise self._wrong("the symbols' names overlap too much: the file is damaged")
            is_function = kind == _STT_FUNC
            symbol = Symbol(
                text, value & ~1 if is_function else value, size_bytes, is_function, section
            )
            other = found.get(text)
            if other is not None and info >> 4 == 0:  # local
                symbol, other = other, symbol
            found[text] = symbol
            if other is not None and (other.is_function or text[0] == "$"):
                others.append(other)
        return found, others

    @cached_property
    def _functions(self) -> tuple[list[int], list[Symbol]]:
        code = {section.index for section in self.sections if section.executable}
        named, others = self._symbols
        symbols = [*named.values(), *(other for other in others if other.is_function)]
        known = {symbol.address for symbol in symbols if symbol.is_function}
        functions = [
            symbol
            for symbol in symbols
            if symbol.is_function
            # Assembly often leaves the type out; $t, $d and $a are mapping symbols.
            or (
                symbol.section in code
                and not symbol.name.startswith("$")
                and symbol.address & ~1 not in known
            )
        ]
        functions.sort(key=lambda symbol: (symbol.address, -symbol.size_bytes, symbol.name))
        kept, end = [], 0
        for symbol in functions:
            if symbol.is_function:
                end = max(end, symbol.address + symbol.size_bytes)
            elif symbol.address < end:
                continue  # a label inside a function
            kept.append(symbol)
        return [symbol.address for symbol in kept], kept

    @cached_property
    def mapping_symbols(self) -> list[tuple[int, bool]]:
        """Where code (True) or data within it (False) begins, by address (ELF for Arm, 5.5.5)."""
        named, others = self._symbols
        return sorted(
            (symbol.address & ~1, symbol.name[1] == "t")
            for symbol in [*named.values(), *others]
            if symbol.name[:2] in ("$t", "$d") and symbol.name[2:3] in ("", ".")
        )

    @property
    def functions(self) -> list[Symbol]:
        """Functions by address."""
        return self._functions[1]

    def function_at(self, address: int) -> Symbol | None:
        """The function whose code holds `address`, or the nearest before it without a size."""
        starts, functions = self._functions
        index = bisect.bisect_right(starts, address) - 1
        if index < 0:
            return None
        first = bisect.bisect_left(starts, starts[index])
        function = functions[first]
        if function.size_bytes and address >= function.address + function.size_bytes:
            return None
        return function

    def function_after(self, address: int) -> Symbol | None:
        """The first function that begins behind `address`."""
        starts, functions = self._functions
        index = bisect.bisect_right(starts, address)
        return functions[index] if index < len(functions) else None

    def symbol(self, name: str) -> Symbol:
        """The symbol `name`; `UserError` with near names when absent."""
        found = self.symbols.get(name)
        if found is None:
            import difflib

            near = difflib.get_close_matches(name, self.symbols, 3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise self._wrong(f"no symbol {name!r}{hint}")
        return found

    @cached_property
    def attributes(self) -> dict[int, int | str]:
        """Tag -> value of the Arm build attributes of the file (Arm ABI addenda, chapter 3)."""
        for header in self._section_table:
            if header[1] == _SHT_ARM_ATTRIBUTES:
                return _parse_attributes(self._section_bytes(header))
        return {}

    def core(self) -> str | None:
        """The core the build attributes ask for, or None when they do not tell.

        Attributes name an architecture, not a part: of the cores that share one, the smaller
        is taken (Armv6-M: M0; Armv7E-M with an FPv5 unit: M7).
        """
        architecture = self.attributes.get(6)
        fpu = self.attributes.get(10, 0)
        if architecture in (11, 12):
            return "cortex-m0"
        if architecture == 10 and self.attributes.get(7) in (ord("M"), None):
            return "cortex-m3"
        if architecture == 13:
            if fpu in (7, 8):
                return "cortex-m7"
            return "cortex-m4f" if fpu else "cortex-m4"
        if architecture == 17:
            return "cortex-m33"
        return None


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise UserError(f"{path}: a folder, not an ELF file: give the path of the image in it")
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: not a regular file: give a linked ELF image")
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot read it ({error.strerror}): check the path") from error
    except ValueError as error:
        raise UserError(f"{str(path)!r}: not a path ({error})") from error
    if len(data) > _LARGEST_FILE_BYTES:
        raise UserError(
            f"{path}: larger than {_LARGEST_FILE_BYTES >> 20} MiB: not a Cortex-M image"
        )
    return data


def _inflated(data: bytes) -> bytes:
    """What a compressed section holds (12 bytes of header, then zlib): as much as is sensible."""
    import zlib

    try:
        return zlib.decompressobj().decompress(data[12:], _LARGEST_INFLATED_BYTES)
    except zlib.error:
        return b""


def _parse_attributes(data: bytes) -> dict[int, int | str]:
    """Tags of the `aeabi` file subsection; what cannot be read is left out, never an error."""
    found: dict[int, int | str] = {}
    try:
        if data[:1] != b"A":
            return found
        length = int.from_bytes(data[1:5], "little")
        end = min(len(data), 1 + length)
        position = data.index(b"\0", 5) + 1
        if data[5 : position - 1] != b"aeabi" or data[position] != 1:
            return found
        end = min(end, position + int.from_bytes(data[position + 1 : position + 5], "little"))
        position += 5
        while position < end:
            tag, position = _uleb(data, position)
            # Arm ABI: 4, 5, 67 are strings, 32 both, then even tags numbers and odd ones strings.
            if tag in (4, 5, 67) or (tag > 32 and tag % 2):
                stop = data.index(b"\0", position)
                found[tag] = data[position:stop].decode("ascii", "replace")
                position = stop + 1
            else:
                found[tag], position = _uleb(data, position)
                if tag == 32:
                    position = data.index(b"\0", position) + 1
    except (ValueError, IndexError):
        pass
    return found


def _uleb(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if not byte & 0x80:
            return value, position
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
