"""Source lines of many addresses at once, and the text of those lines."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from .elf import Elf
from .errors import printable
from .lines import Damaged, LineProgram, line_programs

_LARGEST_SOURCE_BYTES = 8 << 20
_LONGEST_LINE = 400
# What an image calls its source is not to be trusted with any other file of this machine.
_SOURCE_SUFFIXES = (
    ".c", ".h", ".s", ".asm", ".inc", ".inl", ".def", ".rs", ".zig",
    ".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx",
)  # fmt: skip


@dataclass(frozen=True, order=True)
class SourceLine:
    """A line of a file, named as the image's debug information names it."""

    path: str
    number: int

    @property
    def place(self) -> str:
        return f"{PurePosixPath(self.path).name}:{self.number}"


def source_lines(elf: Elf, addresses: Sequence[int]) -> dict[int, SourceLine]:
    """The source line of each of the ascending `addresses` that has one."""
    found: dict[int, SourceLine] = {}
    try:
        for program in line_programs(elf):
            _add_lines(program, addresses, found)
    except Damaged:
        pass
    return found


def _add_lines(
    program: LineProgram, addresses: Sequence[int], found: dict[int, SourceLine]
) -> None:
    program.read_header()
    paths = program.paths()
    before = None
    start: int | None = None
    for row, ends in program.rows():
        if start is None:
            start = row.address
        # Address 0: a function that the linker threw away. Line 0: code that no line stands for.
        if start and before is not None and before.address < row.address and before.line > 0:
            first = bisect.bisect_left(addresses, before.address)
            for index in range(first, bisect.bisect_left(addresses, row.address)):
                path = paths.get(before.file)
                if path:
                    found.setdefault(addresses[index], SourceLine(printable(path), before.line))
        before = None if ends else row
        start = None if ends else start


class SourceTexts:
    """The text of source lines, where their files are found: as named, beside the image, or in
    one of `folders`."""

    def __init__(self, elf: Elf, folders: Sequence[Path]) -> None:
        self._folders = (Path(), elf.path.parent, *folders)
        self._file = cache(self._read)

    def text(self, line: SourceLine) -> str | None:
        """The line, or None where its file is not found."""
        texts = self._file(line.path)
        if texts is None or not 0 < line.number <= len(texts):
            return None
        return printable(texts[line.number - 1].expandtabs(4).rstrip()[:_LONGEST_LINE])

    def _read(self, name: str) -> list[str] | None:
        path = PurePosixPath(name)
        if path.suffix.lower() not in _SOURCE_SUFFIXES:
            return None
        wanted = [folder / path for folder in self._folders]
        wanted += [folder / path.name for folder in self._folders]
        for candidate in wanted:
            try:
                if candidate.is_file() and candidate.stat().st_size <= _LARGEST_SOURCE_BYTES:
                    return candidate.read_text(encoding="utf-8", errors="replace").splitlines()
            except (OSError, ValueError):
                continue
        return None
