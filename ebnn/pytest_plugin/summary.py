"""The section at the end of pytest's report: every budget, and how much room is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_MOST_ROWS = 40


def summary_lines(reports: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """A table of the budgets of tests (node id and what its report carries), least room first."""
    rows: list[tuple[float, Sequence[str]]] = []
    runs = unbudgeted = 0
    for test, facts in reports:
        runs += facts["runs"]
        if not facts["budgets"]:
            unbudgeted += facts["runs"]
        for one in facts["budgets"]:
            rows.append(_row(test, one))
    if not runs:
        return []
    lines = []
    if rows:
        rows.sort(key=lambda row: (row[0], row[1]))
        lines = _table([row for _, row in rows[:_MOST_ROWS]])
        if len(rows) > _MOST_ROWS:
            lines.append(f"... and {len(rows) - _MOST_ROWS} budgets with more room")
    counted = f"{runs} run{'' if runs == 1 else 's'} of firmware"
    lines.append(counted + (f", {unbudgeted} without a budget" if unbudgeted else ""))
    return lines


def _row(test: str, one: Mapping[str, Any]) -> tuple[float, Sequence[str]]:
    used, limit = one["used"], one["limit"]
    if used is None:
        return -float("inf"), (test, one["board"], one["title"], "did not run", f"{limit:,}", "")
    room = 100 * (limit - used) / limit if limit else (0.0 if used == 0 else -float("inf"))
    left = f"{room:.1f} % left" if room >= 0 else "OVER" if not limit else f"{-room:.1f} % OVER"
    return room, (test, one["board"], one["title"], f"{used:,}", f"{limit:,}", left)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    head = ("test", "board", "budget", "used", "of", "")
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if at in (3, 4, 5) else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
