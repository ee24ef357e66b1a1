"""Annotated code as a person reads it: of each function the source lines, then the code."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from .annotate import AnnotatedFunction, Annotation, Cost
from .render_profile import print_table, wide_console

_GAP = 2
_LEAST_TEXT, _LEAST_SOURCE = 20, 14


def render_annotation(annotation: Annotation) -> None:
    """Print `annotation` on standard output; what is too wide for it is cut off."""
    console = wide_console()
    for index, function in enumerate(annotation.functions):
        if index:
            console.print()
        console.print(Text(_title(function, annotation.cycles), style="bold"), soft_wrap=True)
        if function.lines:
            print_table(console, _lines(function, console.width))
            console.print()
        print_table(console, _instructions(function, console.width))
    shown = sum(function.cycles for function in annotation.functions)
    rest = annotation.cycles - shown
    if rest:
        console.print()
        console.print(f"other functions: {rest:,} cycles, {_percent(rest, annotation.cycles)} %")


def _title(function: AnnotatedFunction, cycles: int) -> str:
    title = f"{function.name}: {function.cycles:,} cycles, {_percent(function.cycles, cycles)} %"
    if function.profile is not None:
        calls = function.profile.calls
        title += f", {calls:,} {'call' if calls == 1 else 'calls'}"
    return title


def _lines(function: AnnotatedFunction, width: int) -> Table:
    rows = []
    file = ""
    for line in function.lines:
        if line.source.path != file:
            file = line.source.path
            rows.append(_Row("", "", "", f"{file}:", "", ran=False))
        text = f"{line.source.number:>5}  {line.text or ''}".rstrip()
        rows.append(_row(line.cost, function.cycles, text))
    return _table(_Row("count", "cycles", "%", "source", "stalls"), rows, width)


def _instructions(function: AnnotatedFunction, width: int) -> Table:
    texts = {line.source: line.text for line in function.lines}
    rows = []
    before = None
    for one in function.instructions:
        source = ""
        if one.source is not None and one.source != before:
            source = f"{one.source.place}  {(texts[one.source] or '').strip()}".rstrip()
        before = one.source
        rows.append(_row(one.cost, function.cycles, f"{one.address:08x}  {one.text}", source))
    headers = _Row("count", "cycles", "%", "instruction", "stalls", "source")
    return _table(headers, rows, width)


@dataclass(frozen=True)
class _Row:
    count: str
    cycles: str
    percent: str
    text: str
    stalls: str
    source: str = ""
    ran: bool = True

    def cells(self, has_source: bool) -> list[str]:
        cells = [self.count, self.cycles, self.percent, self.text, self.stalls]
        return [*cells, self.source] if has_source else cells


def _row(cost: Cost, cycles: int, text: str, source: str = "") -> _Row:
    if not (cost.count or cost.cycles):
        return _Row("", "", "", text, "", source, ran=False)
    stalls = sorted(cost.stalls.items(), key=lambda item: (-abs(item[1]), item[0]))
    return _Row(
        f"{cost.count:,}",
        f"{cost.cycles:,}",
        _percent(cost.cycles, cycles),
        text,
        ", ".join(f"{cause} {count:,}" for cause, count in stalls),
        source,
    )


def _table(headers: _Row, rows: list[_Row], width: int) -> Table:
    """Numbers are shown whole; of what `width` then leaves the stalls get at most a third, and
    the instruction, before the source beside it, what it needs."""
    has_source = bool(headers.source)
    titles = headers.cells(has_source)
    cells = [row.cells(has_source) for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    left = max(width - sum(widths[:3]) - _GAP * (len(titles) - 1), 3 * _LEAST_TEXT)
    widths[4] = min(widths[4], left // 3)
    widths[3] = min(widths[3], left - widths[4] - (_LEAST_SOURCE if has_source else 0))
    if has_source:
        widths[5] = min(widths[5], left - widths[4] - widths[3])
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, _GAP, 0, 0))
    for column, title in enumerate(titles):
        table.add_column(
            title,
            justify="right" if column < 3 else "left",
            width=widths[column],
            no_wrap=True,
            overflow="ellipsis",
        )
    for row, texts in zip(rows, cells, strict=True):
        table.add_row(*map(Text, texts), style=None if row.ran else "dim")
    return table


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / (whole or 1):.1f}"
