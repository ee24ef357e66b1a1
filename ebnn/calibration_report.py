"""A calibration for people: the table, the progress, the comment in the board's file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ebnn.calibration import Calibration, Errors
from ebnn.calibration_runs import same_as
from ebnn.sim.core import MODEL_VERSION
from ebnn.sim.errors import printable

_PIPED_COLUMNS = 200


@contextmanager
def counting() -> Iterator[Callable[[], None]]:
    """What to call for each combination that was simulated; shown on stderr on a terminal."""
    console, done = Console(stderr=True), 0
    with console.status("simulating") as status:

        def count() -> None:
            nonlocal done
            done += 1
            status.update(f"simulated {done} combinations of parameters")

        yield count


def print_calibration(found: Calibration) -> None:
    """Each figure before and after, the parameters, the errors."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPED_COLUMNS)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("record", "region"):
        table.add_column(title, overflow="fold")
    for title in ("board", "before", "error", "after", "error"):
        table.add_column(title, justify="right", no_wrap=True)
    rows = zip(found.figures, found.cycles_before, found.cycles_after, strict=True)
    for figure, before, after in rows:
        measured = figure.measured_cycles
        cells = [found.records[figure.record], figure.region, f"{measured:,.10g}"]
        for cycles in (before, after):
            cells += [f"{cycles:,.10g}", f"{100 * (cycles / measured - 1):+.2f} %"]
        table.add_row(*[_text(cell) for cell in cells])
    console.print(table)
    for line in _lines(found):
        console.print(_text(line), highlight=False, soft_wrap=True)


def _lines(found: Calibration) -> list[str]:
    lines = [
        f"simulated on {found.board} by cycle model version {MODEL_VERSION}; against these boards:",
        f"before: {found.before}: {_shown(found.errors_before)}",
        f"after:  {found.after}: {_shown(found.errors_after)}",
    ]
    for one in found.left_out:
        other = (
            ""
            if same_as(one.chosen) == same_as(found.after)
            else f", fitted to the others: {one.chosen}"
        )
        lines.append(f"left out {one.record}: {_shown(Errors.of(one.errors))}{other}")
    lines.append(f"left out, all: {_shown(found.errors_left_out)}")
    if found.unsettled:
        lines.append(f"{', '.join(found.unsettled)}: no effect without wait states, left as it was")
    return lines


def reason(found: Calibration) -> str:
    """Where the figures come from, for the board's file."""
    names = ", ".join(one for one in found.fitted if one not in found.unsettled)
    return (
        f"{names} fitted to {len(found.figures)} regions of {len(found.records)} records; mean "
        f"error {found.errors_after.mean_percent:.2f} %, of a record left out "
        f"{found.errors_left_out.mean_percent:.2f} %"
    )


def _shown(errors: Errors) -> str:
    return f"mean error {errors.mean_percent:.2f} %, worst {errors.worst_percent:.2f} %"


def _text(text: str) -> str:
    """Text out of a record, on a terminal: neither markup nor control codes."""
    return escape(printable(text))
