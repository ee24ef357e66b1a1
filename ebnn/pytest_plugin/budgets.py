"""Budgets of a test: from its `budget` markers and from `[tool.ebnn.budgets]` of pyproject.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebnn.sim.errors import UserError
from ebnn.sim.sizes import format_bytes, format_limit, parse_count, parse_size

MEMORY_KINDS = ("ram", "static", "heap", "stack", "flash")
_KEYS = ("cycles", *MEMORY_KINDS, "region")
DEFAULT = "default"
"""The table whose budgets hold for every run of every test, unless a marker says otherwise."""


@dataclass(frozen=True)
class Budget:
    """The most that a run may take: bytes of memory of a kind, or cycles.

    `region` is what the cycles are of, None for the whole run; `source` says who set it.
    """

    kind: str
    limit: int
    region: str | None
    source: str

    @property
    def title(self) -> str:
        """`cycles of ebnn_infer`, `RAM`, `stack`."""
        if self.kind == "cycles":
            return f"cycles of {self.region}" if self.region else "cycles"
        return "RAM" if self.kind == "ram" else self.kind

    @property
    def limit_text(self) -> str:
        """As its user wrote it, or nearly: `200,000` cycles, `12k` or `12,345` bytes."""
        whole = self.kind != "cycles" and self.limit % 1024 == 0
        return format_limit(self.limit) if whole else format_bytes(self.limit)

    def used(self, record: Mapping[str, Any]) -> int | None:
        """What a run took of it, a region at its slowest; None where the region did not run."""
        if self.kind != "cycles":
            return int(record["memory"][self.kind])
        if self.region is None:
            return int(record["cycles"])
        region = record["regions"].get(self.region)
        return None if region is None else int(region["cycles"]["max"])


def budgets_of(markers: Iterable[Any], root: Path) -> list[Budget]:
    """The budgets of a test with these `budget` markers, the closest first.

    Of several for one thing the closest marker's holds; what is None has none. `root` is the folder
    of pyproject.toml. `UserError` for what is not a budget.
    """
    tables = _tables(root)
    found: dict[tuple[str, str | None], Budget | None] = {}
    for marker in markers:
        for table, source in _marker_tables(marker, tables):
            for key, budget in _parsed(table, source):
                found.setdefault(key, budget)
    if DEFAULT in tables:
        for key, budget in _parsed(*_named(DEFAULT, tables)):
            found.setdefault(key, budget)
    return [budget for budget in found.values() if budget is not None]


def _marker_tables(
    marker: Any, tables: Mapping[str, Any]
) -> Iterable[tuple[Mapping[str, Any], str]]:
    if not marker.args:
        yield marker.kwargs, "the budget marker"
    for name in marker.args:
        table, source = _named(name, tables)
        yield {**table, **marker.kwargs}, source


def _named(name: object, tables: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    table = tables.get(name) if isinstance(name, str) else None
    if not isinstance(table, dict):
        known = ", ".join(map(repr, tables)) or "none"
        raise UserError(
            f"budget {name!r}: pyproject.toml has no table [tool.ebnn.budgets.{name}] (it has "
            f"{known}); budgets of the test's own have names: budget(cycles=200_000, ram='12k')"
        )
    return table, f"[tool.ebnn.budgets.{name}]"


def _parsed(
    table: Mapping[str, Any], source: str
) -> Iterable[tuple[tuple[str, str | None], Budget | None]]:
    region = table.get("region")
    if region is not None and (not isinstance(region, str) or "cycles" not in table):
        raise UserError(f"{source}: region = {region!r}: a function's name, with its cycles")
    for key, value in table.items():
        if key not in _KEYS:
            raise UserError(f"{source}: no budget {key!r}: use {', '.join(_KEYS)}")
        if key == "region":
            continue
        of = region if key == "cycles" else None
        limit = None if value is None else _limit(key, value, source)
        yield (key, of), None if limit is None else Budget(key, limit, of, source)


def _limit(key: str, value: object, source: str) -> int:
    what = f"{source}: {key}"
    if isinstance(value, str):
        return parse_count(value, what) if key == "cycles" else parse_size(value, what)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        example = '200_000 or "200k"' if key == "cycles" else '12288 or "12k"'
        raise UserError(f"{what} = {value!r} is not a budget: write {example}")
    return value


def _tables(root: Path) -> Mapping[str, Any]:
    """`[tool.ebnn.budgets]`, or nothing where there is no such file or table."""
    path = root / "pyproject.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return {}
    try:
        found = tomllib.loads(text).get("tool", {}).get("ebnn", {}).get("budgets", {})
    except (tomllib.TOMLDecodeError, AttributeError) as error:
        raise UserError(f"{path}: cannot read [tool.ebnn.budgets] ({error})") from None
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise UserError(f"{path}: write budgets as tables: [tool.ebnn.budgets.{DEFAULT}]")
    return found
