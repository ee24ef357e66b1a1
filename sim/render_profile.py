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
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("function", overflow="ellipsis", no_wrap=True, max_width=40)
    for title in ("calls", "self cycles", "%", "inclusive", "%", "instructions"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("stalls", overflow="ellipsis", no_wrap=True)
    total = profile.cycles or 1
    shown, rest = profile.functions[:_MOST_ROWS], profile.functions[_MOST_ROWS:]
    for one in shown:
        stalls = sorted(one.stalls.items(), key=lambda item: (-abs(item[1]), item[0]))
        table.add_row(
            one.name,
            f"{one.calls:,}",
            f"{one.self_cycles:,}",
            f"{100 * one.self_cycles / total:.1f}",
            f"{one.inclusive_cycles:,}",
            f"{100 * one.inclusive_cycles / total:.1f}",
            f"{one.instructions:,}",
            ", ".join(f"{cause} {cycles:,}" for cause, cycles in stalls),
        )
    if rest:
        cycles = sum(one.self_cycles for one in rest)
        table.add_row(
            f"{len(rest)} more", "", f"{cycles:,}", f"{100 * cycles / total:.1f}", "", "", "", ""
        )
    console = wide_console()
    console.print()
    print_table(console, table)
