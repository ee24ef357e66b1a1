"""The section at the end of pytest's report: every budget, and how much room is left."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ebnn.sim.errors import UserError
from ebnn.sim.files import write_result

_MOST_ROWS = 40
_HEAD = ("test", "board", "budget", "used", "of", "")


Reports = Sequence[tuple[str, Mapping[str, Any]]]
"""Tests, by node id, and what their reports carry."""


def summary_lines(reports: Reports) -> list[str]:
    """A table of the budgets, least room first, and how many runs there were."""
    counted = _counted(reports)
    if not counted:
        return []
    rows = _rows(reports)
    lines = _table(rows[:_MOST_ROWS]) if rows else []
    if len(rows) > _MOST_ROWS:
        lines.append(f"... and {len(rows) - _MOST_ROWS} budgets with more room")
    return [*lines, *_models(reports), counted]


def markdown_problem(path: str, reports: Reports) -> str | None:
    """Write the table to `path` as Markdown; what was wrong where that fails.

    GitHub's summary of a step is added to: other lines of the step may be in it.
    """
    rows = _rows(reports)
    lines = ["### Firmware tests", ""]
    if rows:
        lines += [_markdown_row(_HEAD), "|---|---|---|---:|---:|---:|", *map(_markdown_row, rows)]
    lines += ["", *[f"{line}  " for line in _models(reports)], _counted(reports)]
    text = "\n".join(lines) + "\n"
    try:
        if path == os.environ.get("GITHUB_STEP_SUMMARY"):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(text)
        else:
            write_result(path, text, "the Markdown report")
    except OSError as error:
        return f"{path}: cannot write the Markdown report ({error.strerror})"
    except UserError as error:
        return str(error)
    return None


def _counted(reports: Reports) -> str:
    runs = sum(facts["runs"] for _, facts in reports)
    unbudgeted = sum(facts["runs"] for _, facts in reports if not facts["budgets"])
    if not runs:
        return ""
    counted = f"{runs} run{'' if runs == 1 else 's'} of firmware"
    return counted + (f", {unbudgeted} without a budget" if unbudgeted else "")


def _models(reports: Reports) -> list[str]:
    """Where cycles were held to a budget: what counted them on each board."""
    boards = {
        one["board"]: one["model"]
        for _, facts in reports
        for one in facts["budgets"]
        if one["kind"] == "cycles"
    }
    return [f"{board}: {model}" for board, model in sorted(boards.items())]


def _rows(reports: Reports) -> list[Sequence[str]]:
    rows = [_row(test, one) for test, facts in reports for one in facts["budgets"]]
    return [row for _, row in sorted(rows)]


def _row(test: str, one: Mapping[str, Any]) -> tuple[float, Sequence[str]]:
    """How much room is left, in percent, and the cells."""
    used, limit = one["used"], one["limit"]
    if used is None:
        return -math.inf, (test, one["board"], one["title"], "did not run", f"{limit:,}", "")
    room = 100 * (limit - used) / limit if limit else (0.0 if used == 0 else -math.inf)
    left = f"{room:.1f} % left" if room >= 0 else "OVER" if not limit else f"{-room:.1f} % OVER"
    return room, (test, one["board"], one["title"], f"{used:,}", f"{limit:,}", left)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[at]) for row in (_HEAD, *rows)) for at in range(len(_HEAD))]
    lines = []
    for row in (_HEAD, *rows):
        cells = [
            cell.rjust(width) if at in (3, 4, 5) else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
