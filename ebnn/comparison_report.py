"""Comparisons for people: a table for the terminal, Markdown for a page."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ebnn.comparison import Comparison, RegionComparison
from ebnn.sim.errors import printable
from ebnn.sim.published import stated_errors
from ebnn.sim.render import model_text

_SHOWN_DIFFERENCES = 10
_PIPED_COLUMNS = 200
_VERDICTS = {True: "ok", False: "OUTSIDE", None: ""}


def print_comparisons(found: Sequence[Comparison]) -> None:
    """A table for each board, with what else was compared and the verdict below."""
    console = _console()
    for one in found:
        console.print(_text(one.title), style="bold", soft_wrap=True, highlight=False)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in _columns(one):
            if title in _TEXT_COLUMNS:
                table.add_column(title, overflow="fold")
            else:
                table.add_column(title, justify="right", no_wrap=True)
        for region in one.regions:
            table.add_row(*[_text(cell) for cell in _cells(one, region)])
        if one.regions:
            console.print(table)
        for line in _lines(one):
            console.print(_text(line), highlight=False, soft_wrap=True)
        console.print()


def _console() -> Console:
    console = Console()
    # Piped output has no width of its own.
    return console if console.is_terminal else Console(width=_PIPED_COLUMNS)


def print_stated_errors() -> None:
    """The errors that records state: of all that was measured on boards of a core."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in _STATED:
        table.add_column(title, justify="left" if title == _STATED[0] else "right", no_wrap=True)
    for row in _stated_rows():
        table.add_row(*row)
    _console().print(table)


_STATED = ("what records state", "figures", "mean error", "worst")


def _stated_rows() -> list[list[str]]:
    return [
        [
            where,
            str(error.measurements),
            f"{error.mean_percent:.3g} %",
            f"{error.worst_percent:.3g} %",
        ]
        for where, error in stated_errors().items()
    ]


def to_markdown(found: Sequence[Comparison], states_errors: bool = False) -> str:
    """The same as a Markdown page, with the errors that records state if wanted."""
    parts = ["# The simulator against boards"]
    for one in found:
        columns = _columns(one)
        rule = ["---" if title in _TEXT_COLUMNS else "---:" for title in columns]
        rows = [_row(columns), _row(rule), *[_row(_cells(one, region)) for region in one.regions]]
        parts += [f"## {_plain(one.title)}", *(["\n".join(rows)] if one.regions else [])]
        parts.append("\n".join(f"- {_plain(line)}" for line in _lines(one)))
    if states_errors:
        rows = [_row(_STATED), _row(["---", "---:", "---:", "---:"]), *map(_row, _stated_rows())]
        parts += ["## In all", "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


_TEXT_COLUMNS = ("region", "source", "")


def _columns(one: Comparison) -> list[str]:
    source = ["source"] if one.measured.is_published else []
    return ["region", "count", "board", "simulator", "error", "", *source]


def _cells(one: Comparison, region: RegionComparison) -> list[str]:
    return [
        region.name,
        f"{region.count:,}",
        _cycles(region.measured_cycles),
        _cycles(region.simulated_cycles),
        f"{region.error_percent:+.2f} %",
        _VERDICTS[region.within],
        *([region.source or ""] if one.measured.is_published else []),
    ]


def _cycles(cycles: float) -> str:
    return f"{cycles:,.0f}" if cycles == int(cycles) else f"{cycles:,.1f}"


def _lines(one: Comparison) -> list[str]:
    lines = []
    if one.regions:
        figures = "1 figure" if len(one.regions) == 1 else f"{len(one.regions)} figures"
        errors = f"mean error {one.mean_percent:.2f} %, worst {one.worst_percent:.2f} %"
        lines.append(f"{figures}: {errors}")
    if one.predictions is not None:
        same = one.predictions - len(one.differences)
        lines.append(f"predictions: {same:,} of {one.predictions:,} the same")
        for difference in one.differences[:_SHOWN_DIFFERENCES]:
            lines.append(
                f"sample {difference.sample}: board {difference.measured}, "
                f"simulator {difference.simulated}"
            )
        if len(one.differences) > _SHOWN_DIFFERENCES:
            lines.append(f"and {len(one.differences) - _SHOWN_DIFFERENCES:,} more")
    if one.by_reference is not None:
        same, total = one.by_reference
        lines.append(f"predictions: {same:,} of {total:,} as the numpy reference's")
    stacks = one.measured.stack_bytes, one.simulated.stack_bytes
    if None not in stacks:
        lines.append(f"stack, bytes: board {stacks[0]:,}, simulator {stacks[1]:,}")
    model = one.simulated.data.get("model", {})
    if one.regions and not one.measured.is_published and {"version", "error"} <= model.keys():
        lines.append(f"cycle model {model_text(model)}")
    lines += one.notes
    if one.regions and one.tolerance_percent is not None:
        word = "within" if all(region.within for region in one.regions) else "OUTSIDE"
        lines.append(f"cycles {word} {one.tolerance_percent:g} %")
    return lines


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(text: str) -> str:
    """Text of a record in Markdown: nothing in it is markup."""
    text = printable(" ".join(text.split()))
    for mark in "\\|`*_<[":
        text = text.replace(mark, "\\" + mark)
    return text


def _text(text: str) -> str:
    """Text out of a record, on a terminal: neither markup nor control codes."""
    return escape(printable(text))
