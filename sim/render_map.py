"""The memory map and the touched bytes as pictures and tables in the terminal."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .memory_picture import Part, Picture
from .sizes import format_bytes, format_limit

_CELLS = 64
_MOST_ROWS = 24
# Letters tell the parts apart where colours do not reach.
_SECTION_LETTERS = "abcdefgijklmnopqrtuvwxyz"  # h is the heap, s the stack
_LETTERS = {"heap": "h", "stack": "s", "free": ".", "padding": "-"}
_STYLES = {"heap": "black on yellow", "stack": "white on red", "free": "dim", "padding": "dim"}
_SECTION_STYLES = ("white on blue", "black on cyan", "black on green", "white on magenta")


def render_map(pictures: list[Picture]) -> None:
    """Print a bar to scale, the parts and the largest symbols of each memory."""
    console = _console()
    for picture in pictures:
        letters, styles = _looks(picture)
        used = sum(part.size_bytes for part in picture.parts if part.kind != "free")
        title = (
            f"{picture.name}: {format_bytes(used)} of {format_bytes(picture.size_bytes)} bytes "
            f"({format_limit(picture.size_bytes)}), one cell is "
            f"{picture.size_bytes / _CELLS:,.0f} bytes"
        )
        console.print()
        console.print(Text(title, style="bold"))
        bar = Text("[")
        for part, cells in zip(picture.parts, cells_of(picture), strict=True):
            bar.append(letters[part] * cells, style=styles[part])
        console.print(bar.append("]"))
        table = Table(box=None, show_header=False, pad_edge=False)
        for justify in ("left", "left", "right", "left"):
            table.add_column(justify=justify)
        for part in picture.parts:
            table.add_row(
                Text(letters[part], style=styles[part]),
                part.name,
                format_bytes(part.size_bytes),
                f"{part.address:#010x} to {part.end - 1:#010x}",
            )
        console.print(table)
        if picture.symbols:
            largest = ", ".join(f"{s.name} {format_bytes(s.size_bytes)}" for s in picture.symbols)
            console.print(f"largest: {largest}")


def cells_of(picture: Picture) -> list[int]:
    """Cells of the bar for each part: to scale, at least one each, `_CELLS` in all if they fit."""
    exact = [part.size_bytes * _CELLS / picture.size_bytes for part in picture.parts]
    cells = [max(1, round(share)) for share in exact]
    while sum(cells) != _CELLS:
        surplus = sum(cells) > _CELLS
        candidates = [at for at, count in enumerate(cells) if count > 1 or not surplus]
        if not candidates:
            break
        sign = 1 if surplus else -1
        worst = max(candidates, key=lambda at: sign * (cells[at] - exact[at]))
        cells[worst] -= sign
    return cells


def _looks(picture: Picture) -> tuple[dict[Part, str], dict[Part, str]]:
    letters, styles = {}, {}
    sections = 0
    for part in picture.parts:
        if part.kind == "section":
            letters[part] = _SECTION_LETTERS[sections % len(_SECTION_LETTERS)]
            styles[part] = _SECTION_STYLES[sections % len(_SECTION_STYLES)]
            sections += 1
        else:
            letters[part], styles[part] = _LETTERS[part.kind], _STYLES[part.kind]
    return letters, styles


def render_touched(found: dict[str, Any]) -> None:
    """Print the record's `memory.touched`: each memory and section, and the largest symbols."""
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column("touched bytes")
    for name in ("of", "read", "written", "executed", "untouched"):
        table.add_column(name, justify="right")

    def add(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            counts = [row[key] for key in ("size_bytes", "read", "written", "executed")]
            counts.append(row["size_bytes"] - row["touched"])
            table.add_row(row["name"], *(format_bytes(count) for count in counts))

    add(found["memories"])
    table.add_section()
    add(found["sections"])
    table.add_section()
    symbols = sorted(found["symbols"], key=lambda row: (-row["size_bytes"], row["name"]))
    add(symbols[:_MOST_ROWS])
    console = _console()
    console.print()
    console.print(table)
    if len(symbols) > _MOST_ROWS:
        console.print(f"and {len(symbols) - _MOST_ROWS} smaller symbols: see --json")


def _console() -> Console:
    # Piped output has no width of its own: lines are as long as they need to be.
    width = None if sys.stdout.isatty() else 400
    # Names come from the image: they are not markup.
    return Console(highlight=False, markup=False, emoji=False, width=width)
