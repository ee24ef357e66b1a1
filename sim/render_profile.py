"""A profile as a person reads it."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from .profile import Profile

_MOST_ROWS = 30
_PIPED_COLUMNS = 160  # nobody's window limits a file


def wide_console() -> Console:
    """Standard output; lines for a file are longer than rich's 80 columns."""
    width = None if sys.stdout.isatty() else _PIPED_COLUMNS
    return Console(highlight=False, width=width)


def print_table(console: Console, table: Table) -> None:
    """Print `table`; for a file without the blanks that rich ends lines with."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        sys.stdout.write(line.rstrip() + "\n")


def render_profile(profile: Profile) -> None:
    """Print the functions that took the most cycles themselves, as a table."""
    total = profile.cycles or 1
    shown, rest = profile.functions[:_MOST_ROWS], profile.functions[_MOST_ROWS:]
    rows = [("function", "calls", "self cycles", "%", "inclusive", "%", "instructions", "stalls")]
    for one in shown:
        stalls = sorted(one.stalls.items(), key=lambda item: (-abs(item[1]), item[0]))
        rows.append(
            (
                one.name,
                f"{one.calls:,}",
                f"{one.self_cycles:,}",
                f"{100 * one.self_cycles / total:.1f}",
                f"{one.inclusive_cycles:,}",
                f"{100 * one.inclusive_cycles / total:.1f}",
                f"{one.instructions:,}",
                ", ".join(f"{cause} {cycles:,}" for cause, cycles in stalls),
            )
        )
    if rest:
        cycles = sum(one.self_cycles for one in rest)
        share = f"{100 * cycles / total:.1f}"
        rows.append((f"{len(rest)} more", "", f"{cycles:,}", share, "", "", "", ""))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, *cells in zip(*rows, strict=True):
        text = title in ("function", "stalls")
        # Figures are shown whole: what room is left goes to the stalls.
        widest = 1 if title == "stalls" else min(40, max(map(len, (title, *cells))))
        table.add_column(
            title,
            justify="left" if text else "right",
            overflow="ellipsis",
            no_wrap=True,
            min_width=widest,
            max_width=40 if title == "function" else None,
        )
    for row in rows[1:]:
        table.add_row(*row)
    console = wide_console()
    console.print()
    print_table(console, table)
