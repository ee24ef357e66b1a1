"""Source lines from DWARF, for messages and listings: reads `.debug_line`, versions 2 to 5.

Not with a library: files are untrusted, and the libraries' parsers loop as often, and inflate
compressed sections as far, as a file claims. Here every step consumes bytes of the file, nothing
is kept but the row before, and what does not make sense ends the search without a line.
Follows chapter 6.2 of the DWARF 5 standard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from .elf import Elf
from .errors import printable

_MOST_BYTES = 4 << 20  # of the table are searched: seconds; firmware has far less
_MOST_FILES = 1 << 14
_MOST_PATH_BYTES = 4 << 20  # of one unit
_LNCT_PATH, _LNCT_DIRECTORY_INDEX = 1, 2
_FORM_UDATA = 0x0F
_FORM_STRING, _FORM_LINE_STRP, _FORM_STRP = 0x08, 0x1F, 0x0E
# Bytes of the other forms that file tables are made of; None: a ULEB128.
_FORM_BYTES = {0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x0F: None, 0x1E: 16}
_EXTENDED, _COPY, _ADVANCE_PC, _ADVANCE_LINE, _SET_FILE = 0, 1, 2, 3, 4
_CONST_ADD_PC, _FIXED_ADVANCE_PC = 8, 9
_END_SEQUENCE, _SET_ADDRESS = 1, 2
_MASK = 0xFFFFFFFF


class Damaged(Exception):
    """The table contradicts itself or the file: no line is known."""


def source_line(elf: Elf, address: int) -> tuple[str, int] | None:
    """File name and line of the instruction at `address`, or None without debug information."""
    try:
        for program in line_programs(elf):
            found = program.find(address)
            if found is not None:
                return found
    except Damaged:
        pass
    return None


def line_programs(elf: Elf) -> Iterator[LineProgram]:
    """The program of each compilation unit, up to where the table makes no sense."""
    table = elf.section_bytes(".debug_line")[:_MOST_BYTES]
    position = 0
    while position + 4 <= len(table):
        length = int.from_bytes(table[position : position + 4], "little")
        end = position + 4 + length
        if length >= 0xFFFFFFF0 or end > len(table):  # 64-bit DWARF: not for 32-bit cores
            return
        yield LineProgram(elf, table, position + 4, end)
        position = end


@dataclass(slots=True)
class Row:
    address: int = 0
    file: int = 1
    line: int = 1


@dataclass
class LineProgram:
    """One line number program: `data[position:end]`, behind its length."""

    elf: Elf
    data: bytes
    position: int
    end: int
    version: int = 0
    header_end: int = 0
    instruction_bytes: int = 1
    line_base: int = 0
    line_range: int = 1
    opcode_base: int = 1
    argument_counts: bytes = b""
    row: Row = field(default_factory=Row)

    def find(self, address: int) -> tuple[str, int] | None:
        self.read_header()
        tables = self.position
        self.position = self.header_end
        before: Row | None = None
        start: int | None = None  # of the sequence: 0 where the linker threw the function away
        for row, ends in self.rows():
            if start is None:
                start = row.address
            if start and before is not None and before.address <= address < row.address:
                self.position = tables
                name = printable(self._file_name(before.file).decode("utf-8", "replace"))
                return PurePosixPath(name).name[:120], before.line
            before = None if ends else row
            start = None if ends else start
        return None

    def read_header(self) -> None:
        self.version = self._fixed(2)
        if not 2 <= self.version <= 5:
            raise Damaged
        if self.version >= 5:
            self._fixed(2)  # size of addresses and of segment selectors
        header_bytes = self._fixed(4)
        self.header_end = self.position + header_bytes
        if self.header_end > self.end:
            raise Damaged
        self.instruction_bytes = self._fixed(1)
        self._fixed(2 if self.version >= 4 else 1)  # operations of a VLIW, and default_is_stmt
        base = self._fixed(1)
        self.line_base = base - 256 if base > 127 else base
        self.line_range = self._fixed(1)
        self.opcode_base = self._fixed(1)
        if self.line_range == 0 or self.opcode_base == 0:
            raise Damaged
        self.argument_counts = self._bytes(self.opcode_base - 1)

    def rows(self) -> Iterator[tuple[Row, bool]]:
        """The rows of the matrix, each with whether it ends its sequence."""
        row = Row()
        while self.position < self.end:
            opcode = self._fixed(1)
            if opcode >= self.opcode_base:
                advance = opcode - self.opcode_base
                self._advance(row, advance // self.line_range)
                row.line += self.line_base + advance % self.line_range
                yield Row(row.address, row.file, row.line), False
            elif opcode == _EXTENDED:
                size = self._uleb()
                stop = self.position + size
                if size == 0 or stop > self.end:
                    raise Damaged
                kind = self._fixed(1)
                if kind == _SET_ADDRESS:
                    row.address = self._fixed(min(size - 1, 8)) & _MASK
                elif kind == _END_SEQUENCE:
                    yield Row(row.address, row.file, row.line), True
                    row = Row()
                self.position = stop
            elif opcode == _COPY:
                yield Row(row.address, row.file, row.line), False
            elif opcode == _ADVANCE_PC:
                self._advance(row, self._uleb())
            elif opcode == _ADVANCE_LINE:
                row.line += self._sleb()
            elif opcode == _SET_FILE:
                row.file = self._uleb()
            elif opcode == _CONST_ADD_PC:
                self._advance(row, (255 - self.opcode_base) // self.line_range)
            elif opcode == _FIXED_ADVANCE_PC:
                row.address = row.address + self._fixed(2) & _MASK
            else:
                for _ in range(self.argument_counts[opcode - 1]):
                    self._uleb()

    def _advance(self, row: Row, operations: int) -> None:
        row.address = row.address + operations * self.instruction_bytes & _MASK

    # --- the file table -------------------------------------------------------------------

    def _file_name(self, wanted: int) -> bytes:
        if self.version >= 5:
            self._entries(None)  # the directories
            return self._entries(wanted)
        while self._string():
            pass
        number = 1
        while name := self._string():
            if number == wanted:
                return name
            for _ in range(3):  # its directory, time and size
                self._uleb()
            number += 1
        raise Damaged

    def paths(self) -> dict[int, str]:
        """The path of each file by its number, as the compiler was told it or found it.

        Between `read_header` and `rows`. `Damaged` also where they are larger than makes sense.
        """
        if self.version >= 5:
            directories = [name for name, _ in self._listed()]
            first, files = 0, self._listed()
        else:
            directories, first, files = [b"", *iter(self._string, b"")], 1, []
            while name := self._string():
                files.append((name, self._uleb()))
                self._uleb()
                self._uleb()
        self.position = self.header_end
        found: dict[int, str] = {}
        left = _MOST_PATH_BYTES
        for number, (name, index) in enumerate(files, first):
            folder = directories[index] if index < len(directories) else b""
            if index and self.version >= 5 and directories:
                folder = _joined(directories[0], folder)
            path = _joined(folder, name)
            left -= len(path)
            if left < 0:
                raise Damaged
            found[number] = path.decode("utf-8", "replace")
        return found

    def _listed(self) -> list[tuple[bytes, int]]:
        """A version 5 table: of each entry the path and the number of its directory."""
        forms = [(self._uleb(), self._uleb()) for _ in range(self._fixed(1))]
        count = self._uleb()
        if count > _MOST_FILES or (not forms and count):
            raise Damaged
        entries = []
        for _ in range(count):
            path, folder = b"", 0
            for content, form in forms:
                at = self.position
                value = self._form(form)
                if content == _LNCT_PATH:
                    path = value
                elif content == _LNCT_DIRECTORY_INDEX:
                    folder = self._number(form, value, at)
            entries.append((path, folder))
        return entries

    def _number(self, form: int, value: bytes, position: int) -> int:
        if form != _FORM_UDATA:
            return int.from_bytes(value[:8], "little")
        after, self.position = self.position, position
        number = self._uleb()
        self.position = after
        return number

    def _entries(self, wanted: int | None) -> bytes:
        """Step over a version 5 table; the path of entry `wanted`."""
        forms = [(self._uleb(), self._uleb()) for _ in range(self._fixed(1))]
        count = self._uleb()
        if not forms and count:
            raise Damaged  # entries of no bytes, as many as it likes
        for number in range(count):
            for content, form in forms:
                value = self._form(form)
                if number == wanted and content == _LNCT_PATH:
                    return value
        if wanted is not None:
            raise Damaged
        return b""

    def _form(self, form: int) -> bytes:
        if form == _FORM_STRING:
            return self._string()
        if form in (_FORM_LINE_STRP, _FORM_STRP):
            name = ".debug_line_str" if form == _FORM_LINE_STRP else ".debug_str"
            return _text(self.elf.section_bytes(name), self._fixed(4))
        if form == 0x09:  # a block
            return self._bytes(self._uleb())
        if form not in _FORM_BYTES:
            raise Damaged
        size = _FORM_BYTES[form]
        if size is None:
            self._uleb()
            return b""
        return self._bytes(size)

    # --- bytes ----------------------------------------------------------------------------

    def _bytes(self, size: int) -> bytes:
        if self.position + size > self.end:
            raise Damaged
        self.position += size
        return self.data[self.position - size : self.position]

    def _fixed(self, size: int) -> int:
        return int.from_bytes(self._bytes(size), "little")

    def _string(self) -> bytes:
        text = _text(self.data, self.position)
        self._bytes(len(text) + 1)
        return text

    def _uleb(self) -> int:
        value = shift = 0
        while True:
            byte = self._fixed(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise Damaged

    def _sleb(self) -> int:
        start = self.position
        value = self._uleb()
        bits = 7 * (self.position - start)
        return value - (1 << bits) if value >> (bits - 1) else value


def _joined(folder: bytes, name: bytes) -> bytes:
    return name if not folder or name.startswith(b"/") else folder + b"/" + name


def _text(table: bytes, offset: int) -> bytes:
    """The string at `offset`, of at most 4096 bytes."""
    end = table.find(b"\0", offset, offset + 4096)
    if end < 0:
        raise Damaged
    return table[offset:end]
