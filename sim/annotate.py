"""Annotated code: count, cycles and stalls of each instruction and each source line."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .call_tree import FunctionTable
from .counting import Counting
from .disassembly import Disassembler
from .elf import Elf
from .errors import UserError
from .profile import FunctionProfile, Profile
from .source_lines import SourceLine, SourceTexts, source_lines
from .spent import spent

_LARGEST_FUNCTION_BYTES = 1 << 20


@dataclass(frozen=True)
class Cost:
    """`count` is how often it was reached: of a line, its instruction that was reached most.
    One that an IT block skips is reached, and counts its cycle."""

    count: int
    cycles: int
    stalls: dict[str, int]


@dataclass(frozen=True)
class AnnotatedInstruction:
    address: int
    text: str
    cost: Cost
    source: SourceLine | None


@dataclass(frozen=True)
class AnnotatedLine:
    """A source line within one function; `text` is None where its file was not found."""

    source: SourceLine
    text: str | None
    cost: Cost


@dataclass(frozen=True)
class AnnotatedFunction:
    """Instructions by address, those that did not run too; lines by file and number."""

    name: str
    profile: FunctionProfile | None
    cycles: int
    instructions: tuple[AnnotatedInstruction, ...]
    lines: tuple[AnnotatedLine, ...]


@dataclass(frozen=True)
class Annotation:
    """`functions` by their cycles, the most first; `cycles` are the whole run's."""

    cycles: int
    functions: tuple[AnnotatedFunction, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "cycles": self.cycles,
            "functions": [
                {
                    "name": one.name,
                    "calls": one.profile.calls if one.profile else 0,
                    "self_cycles": one.cycles,
                    "inclusive_cycles": one.profile.inclusive_cycles if one.profile else 0,
                    "instructions": [
                        {
                            "address": row.address,
                            "text": row.text,
                            "file": row.source.path if row.source else None,
                            "line": row.source.number if row.source else None,
                            **asdict(row.cost),
                        }
                        for row in one.instructions
                    ],
                    "lines": [
                        {
                            "file": row.source.path,
                            "line": row.source.number,
                            "text": row.text,
                            **asdict(row.cost),
                        }
                        for row in one.lines
                    ],
                }
                for one in self.functions
            ],
        }


@dataclass(frozen=True)
class _Extent:
    """Where a function's code lies; without a symbol, only what ran of it is known."""

    name: str
    start: int
    end: int
    has_symbol: bool
    profile: FunctionProfile | None


def annotate(
    elf: Elf,
    counting: Counting,
    profile: Profile,
    read: Callable[[int, int], bytes],
    functions: Sequence[str] | None = None,
    source_folders: Sequence[Path] = (),
) -> Annotation:
    """The code of `functions`, by default of all that ran, with what `counting` counted of it.

    `read` reads memory and raises `UserError` where there is none.

    Raises:
        UserError: capstone is missing, or the image has no function of that name.
    """
    table = FunctionTable(elf)
    disassembler = Disassembler(counting.core.name, lambda address: _label(table, address))
    costs = _costs(counting)
    ran = sorted(costs)
    extents = _extents(elf, table, profile, functions)
    wanted: dict[str, list[tuple[int, str]]] = {}
    for extent in extents:
        wanted[extent.name] = list(_instructions(elf, read, extent, ran, disassembler))
    addresses = sorted({address for rows in wanted.values() for address, _ in rows})
    sources = source_lines(elf, addresses)
    texts = SourceTexts(elf, source_folders)
    nothing = Cost(0, 0, {})
    found = []
    for extent in extents:
        rows = tuple(
            AnnotatedInstruction(address, text, costs.get(address, nothing), sources.get(address))
            for address, text in wanted[extent.name]
        )
        cycles = sum(row.cost.cycles for row in rows)
        found.append(
            AnnotatedFunction(extent.name, extent.profile, cycles, rows, _lines(rows, texts))
        )
    return Annotation(counting.cycles, tuple(found))


def check_functions(elf: Elf, names: Sequence[str]) -> None:
    """`UserError` for a name that `annotate` will not know either, before the run."""
    table = FunctionTable(elf)
    for name in names:
        # Code without a symbol is named after the address that it is called at.
        if not name.startswith("0x") and not _matching(table.names, name):
            raise _unknown(elf, name)


def _matching(known: Iterable[str], name: str) -> list[str]:
    """Functions called `name`: more than one where static ones share it."""
    return [one for one in known if one == name or one.startswith(f"{name}@0x")]


def _unknown(elf: Elf, name: str) -> UserError:
    try:
        elf.symbol(name)
    except UserError as error:  # it says which names come near
        return error
    return UserError(f"{elf.path}: {name!r} is not a function")


def hottest(profile: Profile, share: float, most: int) -> list[str]:
    """The fewest functions, at most so many, that took `share` of the cycles themselves."""
    names: list[str] = []
    cycles = 0
    for one in profile.functions:
        if len(names) == most or cycles >= share * profile.cycles:
            break
        names.append(one.name)
        cycles += one.self_cycles
    return names


def _costs(counting: Counting) -> dict[int, Cost]:
    counts: Counter[int] = Counter()
    stalls: dict[int, Counter[str]] = {}
    for piece in spent(counting, lambda block: False):
        counts[piece.address] += piece.instructions
        stalls.setdefault(piece.address, Counter()).update(piece.stalls)
    return {
        address: Cost(
            counts[address],
            counts[address] + sum(found.values()),
            {cause: cycles for cause, cycles in sorted(found.items()) if cycles},
        )
        for address, found in stalls.items()
    }


def _extents(
    elf: Elf, table: FunctionTable, profile: Profile, names: Sequence[str] | None
) -> list[_Extent]:
    by_name = {one.name: one for one in profile.functions}
    ranges = dict(zip(table.names[1:], table.ranges, strict=True))
    starts = sorted([*(s for s, _ in table.ranges), *(one.address for one in profile.functions)])
    known = dict.fromkeys([*by_name, *ranges])
    if names is None:
        wanted = list(by_name)
    else:
        wanted = []
        for name in names:
            matching = _matching(known, name)
            if not matching:
                raise _unknown(elf, name)
            wanted += matching
    extents = []
    for name in dict.fromkeys(wanted):
        one = by_name.get(name)
        if name in ranges:
            start, end = ranges[name]
            extents.append(_Extent(name, start, end, True, one))
        else:
            assert one is not None
            following = bisect.bisect_right(starts, one.address)
            end = starts[following] if following < len(starts) else 1 << 32
            extents.append(_Extent(name, one.address, end, False, one))
    extents.sort(key=lambda one: (-(one.profile.self_cycles if one.profile else 0), one.start))
    return extents


def _instructions(
    elf: Elf,
    read: Callable[[int, int], bytes],
    extent: _Extent,
    ran: list[int],
    disassembler: Disassembler,
) -> Iterator[tuple[int, str]]:
    """Address and text of each instruction: from those that ran on, as far as code goes."""
    anchors = ran[bisect.bisect_left(ran, extent.start) : bisect.bisect_left(ran, extent.end)]
    if not extent.has_symbol:
        for address in anchors:
            yield address, disassembler.text(_code(read, address, address + 4), address)[1]
        return
    end = min(extent.end, extent.start + _LARGEST_FUNCTION_BYTES)
    code = _code(read, extent.start, end)
    mapping = elf.mapping_symbols
    position, anchor = extent.start, 0
    while position + 2 <= extent.start + len(code):
        while anchor < len(anchors) and anchors[anchor] < position:
            anchor += 1
        following = anchors[anchor] if anchor < len(anchors) else end
        if following > position and not _is_code(mapping, position):
            index = bisect.bisect_right(mapping, (position, True))
            position = min(following, mapping[index][0] if index < len(mapping) else end)
            continue
        size, text = disassembler.text(code[position - extent.start :][:4], position)
        yield position, text
        position = min(position + size, following if following > position else position + size)


def _is_code(mapping: list[tuple[int, bool]], address: int) -> bool:
    index = bisect.bisect_right(mapping, (address, True))
    return index == 0 or mapping[index - 1][1]


def _code(read: Callable[[int, int], bytes], start: int, end: int) -> bytes:
    """Memory from `start` on, up to `end` or where memory ends."""
    for stop in (end, start + 2):
        try:
            return read(start, stop - start)
        except UserError:
            continue
    return b""


def _label(table: FunctionTable, address: int) -> str | None:
    number = table.number_at(address)
    if not number:
        return None
    offset = address - table.ranges[number - 1][0]
    return table.names[number] + (f"+{offset:#x}" if offset else "")


def _lines(rows: Sequence[AnnotatedInstruction], texts: SourceTexts) -> tuple[AnnotatedLine, ...]:
    found: dict[SourceLine, list[Cost]] = {}
    for row in rows:
        if row.source is not None:
            found.setdefault(row.source, []).append(row.cost)
    return tuple(
        AnnotatedLine(source, texts.text(source), total(found[source])) for source in sorted(found)
    )


def total(costs: Sequence[Cost]) -> Cost:
    """What several instructions cost together."""
    stalls: Counter[str] = Counter()
    for cost in costs:
        stalls.update(cost.stalls)
    return Cost(
        max((cost.count for cost in costs), default=0),
        sum(cost.cycles for cost in costs),
        {cause: cycles for cause, cycles in sorted(stalls.items()) if cycles},
    )
