"""Writes measured figures into a baseline's text, keeping all that the user wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.items import InlineTable, Item

from ebnn.sim.errors import UserError


def header(entry: str, board: str, toolchain: str) -> str:
    """The line that a table of figures begins with."""
    return f"[measured.{_key(entry)}.{_key(board)}.{_key(toolchain)}]"


def entry_header(entry: str) -> str:
    return f"[entry.{_key(entry)}]"


def put(text: str, entry: str, board: str, toolchain: str, figures: Mapping[str, Any]) -> str:
    """`text` with these figures: changed in place where the table is there, else added at the end.

    Raises `UserError` where the table cannot be changed in place.
    """
    document = tomlkit.parse(text)
    table: Any = document
    for name in ("measured", entry, board, toolchain):
        table = table.get(name) if table is not None else None
    if table is None:
        lines = [header(entry, board, toolchain), *_lines(figures)]
        gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        return text + gap + "\n".join(lines) + "\n"
    _merge(table, figures)
    changed = str(tomlkit.dumps(document))
    found = tomlkit.parse(changed).unwrap()["measured"][entry][board][toolchain]
    if found != figures:
        raise UserError(f"{header(entry, board, toolchain)} cannot be changed: delete that table")
    return changed


def drop(text: str, entry: str, board: str, toolchain: str) -> str:
    """`text` without the table of those figures."""
    document = tomlkit.parse(text)
    boards: Any = document["measured"]
    del boards[entry][board][toolchain]
    if not boards[entry][board]:
        del boards[entry][board]
    if not boards[entry]:
        del boards[entry]
    return str(tomlkit.dumps(document))


def _key(name: str) -> str:
    return str(tomlkit.key(name).as_string())


def _lines(figures: Mapping[str, Any]) -> list[str]:
    """A line for each figure; of those by region or by function one for each of these."""
    lines = []
    for name, value in figures.items():
        if isinstance(value, Mapping) and any(isinstance(one, Mapping) for one in value.values()):
            lines += [f"{_key(name)}.{_key(part)} = {_text(one)}" for part, one in value.items()]
        else:
            lines.append(f"{_key(name)} = {_text(value)}")
    return lines


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = ", ".join(f"{_key(key)} = {_text(one)}" for key, one in value.items())
        return f"{{ {parts} }}" if parts else "{}"
    if isinstance(value, int):
        return f"{value:_}"
    return str(tomlkit.item(value).as_string())


def _item(value: Any) -> Item:
    parsed = tomlkit.parse(f"x = {_text(value)}")["x"]
    assert isinstance(parsed, Item)
    return parsed


def _merge(table: Any, figures: Mapping[str, Any]) -> None:
    """Make `table` hold `figures`, touching only what differs."""
    for name in [name for name in table if name not in figures]:
        del table[name]
    for name, value in figures.items():
        old = table.get(name)
        grows = isinstance(old, InlineTable) and list(old) != list(value)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not grows:
            _merge(old, value)
        elif old is None or old != value:
            table[name] = _item(value)
