"""The source lines that a run spent most of its cycles on; needs no disassembler."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .call_tree import FunctionTable
from .source_lines import SourceLine, source_lines
from .spent import spent

if TYPE_CHECKING:
    from .counting import Counting
    from .elf import Elf


@dataclass(frozen=True)
class HotLine:
    """A line of source, the function that its code lies in, and what it took."""

    source: SourceLine
    function: str
    cycles: int


def hot_lines(elf: Elf, counting: Counting) -> list[HotLine]:
    """Every line that took cycles, the most first; code without a line is left out."""
    cycles: Counter[int] = Counter()
    for piece in spent(counting, lambda _block: False):
        cycles[piece.address] += piece.cycles
    table = FunctionTable(elf)
    lines = source_lines(elf, sorted(cycles))
    found: Counter[tuple[SourceLine, str]] = Counter()
    for address, line in lines.items():
        found[line, table.name(table.number_at(address), address)] += cycles[address]
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [HotLine(line, name, taken) for (line, name), taken in ordered if taken]
