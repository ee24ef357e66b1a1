"""The baseline file: what to measure, how much worse it may get, and what was measured.

The user writes `[entry.NAME]` tables; `update` writes `[measured.NAME.BOARD.TOOLCHAIN]` tables and
leaves everything else, comments and order included, as it is.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ebnn.architecture import parse_input
from ebnn.regress.allowance import Allowances, parse_allowances
from ebnn.sim.errors import UserError
from ebnn.sim.sizes import parse_count, parse_size

DEFAULT_NAME = "ebnn-regress.toml"
DEFAULT_SAMPLES = 500
DEFAULT_MAX_CYCLES = 2_000_000_000
_LOWERINGS = ("fast", "reference", "unfused")
_KEYS: dict[str, type] = {
    "model": str, "elf": str, "boards": list, "dataset": str, "data_dir": str, "samples": int,
    "ram": str, "lowering": str, "optimize": str, "flags": list, "input": str, "regions": list,
    "max_cycles": str, "allow": dict, "tighten": str,
}  # fmt: skip
_OF_MODELS, _OF_ELFS = ("lowering", "optimize", "flags"), ("input", "regions", "max_cycles")


@dataclass(frozen=True)
class Entry:
    """What to measure: a network that is built for each board, or an image that was."""

    name: str
    model: Path | None
    elf: Path | None
    boards: tuple[str, ...]
    dataset: str | None
    data_dir: Path | None
    samples: int
    ram_bytes: int | None
    lowering: str
    optimize: str
    flags: tuple[str, ...]
    input_kind: str
    regions: tuple[str, ...]
    max_cycles: int
    folder: Path
    allow: Mapping[str, Any] = field(repr=False)
    tighten: str = "0"

    def board_path(self, board: str) -> str:
        """What `load_board` takes: files are named from the baseline's folder."""
        return str(self.folder / board) if board.partition("@")[0].endswith(".toml") else board

    def allowances(self, board: str) -> Allowances:
        return parse_allowances(f"entry.{self.name}", self.allow, board, self.tighten)

    def options(self) -> dict[str, str]:
        """What the figures depend on, as the user wrote it."""
        found = {"ram": "none" if self.ram_bytes is None else str(self.ram_bytes)}
        if self.model is not None:
            found |= {"lowering": self.lowering, "optimize": self.optimize}
            found["flags"] = " ".join(self.flags)
        if self.dataset is not None:
            found |= {"dataset": self.dataset, "samples": str(self.samples)}
        if self.elf is not None and self.dataset is not None:
            found["input"] = self.input_kind
        if self.elf is not None and self.dataset is None:
            found["regions"] = " ".join(self.regions)
        return found


@dataclass(frozen=True)
class Baseline:
    """A parsed baseline file."""

    path: Path
    text: str
    entries: tuple[Entry, ...]
    measured: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]] = field(repr=False)

    def of(self, entry: str, board: str) -> Mapping[str, Mapping[str, Any]]:
        """Figures by toolchain; none where it was never measured."""
        return self.measured.get(entry, {}).get(board, {})

    def line_of(self, *headers: str) -> int:
        """Number of the line of the first of these tables that the file has; else 1."""
        lines = [line.strip() for line in self.text.splitlines()]
        for header in headers:
            for number, line in enumerate(lines, 1):
                if line.startswith(header):
                    return number
        return 1


def load_baseline(path: Path) -> Baseline:
    """Read a baseline file. `UserError` where it is missing or not as it should be."""
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        raise UserError(
            f"{path}: cannot read the baseline ({error.strerror}): write it with an [entry.NAME] "
            'table that has model = "m.safetensors" (or elf), boards and dataset'
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a TOML file ({error})") from error
    unknown = data.keys() - {"entry", "measured", "tighten"}
    if unknown:
        raise UserError(f"{path}: no table or key {min(unknown)!r}: use entry, measured, tighten")
    tables = data.get("entry")
    if not isinstance(tables, dict) or not tables:
        raise UserError(f"{path}: no [entry.NAME] table: write one for each model or image")
    entries = tuple(
        _entry(path, name, table, data.get("tighten", "0")) for name, table in tables.items()
    )
    measured = data.get("measured", {})
    for depth in range(1, 5):
        if not all(isinstance(one, dict) for one in _level(measured, depth)):
            raise UserError(f"{path}: write [measured.ENTRY.BOARD.TOOLCHAIN] tables with `update`")
    return Baseline(path, text, entries, measured)


def _level(tables: Any, depth: int) -> list[Any]:
    found = [tables]
    for _ in range(depth - 1):
        found = [one for table in found for one in table.values()]
    return found


def _entry(path: Path, name: str, table: object, tighten: object) -> Entry:
    where = f"{path}: entry.{name}"
    if not isinstance(table, dict):
        raise UserError(f"{where}: write it as a table, [entry.{name}]")
    for key, value in table.items():
        kind = _KEYS.get(key)
        if kind is None:
            raise UserError(f"{where}: no key {key!r}: use {', '.join(_KEYS)}")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise UserError(f"{where}: {key} = {value!r} is not a {kind.__name__}")
        if isinstance(value, list) and not (value and all(isinstance(one, str) for one in value)):
            raise UserError(f"{where}: {key} is a list of texts")
    if ("model" in table) == ("elf" in table):
        raise UserError(f"{where}: give either model or elf")
    misplaced = [key for key in (_OF_MODELS if "elf" in table else _OF_ELFS) if key in table]
    if misplaced:
        raise UserError(
            f"{where}: {misplaced[0]} does not go with {'elf' if 'elf' in table else 'model'}"
        )
    if "boards" not in table:
        raise UserError(
            f'{where}: needs boards = ["nrf52840-dk"] (see `python -m ebnn.sim boards`)'
        )
    if "model" in table and "dataset" not in table:
        raise UserError(f"{where}: a model needs dataset: a name, an .npz or a folder")
    if table.get("lowering", "fast") not in _LOWERINGS:
        raise UserError(f"{where}: lowering is one of {', '.join(_LOWERINGS)}")
    try:
        parse_input(table.get("input", "uint8"), (1, 1, 1))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if table.get("samples", 1) < 1:
        raise UserError(f"{where}: samples: at least 1")
    folder = path.parent
    dataset = table.get("dataset")
    entry = Entry(
        name=name,
        model=folder / table["model"] if "model" in table else None,
        elf=folder / table["elf"] if "elf" in table else None,
        boards=tuple(table["boards"]),
        dataset=dataset,
        data_dir=folder / table["data_dir"] if "data_dir" in table else None,
        samples=table.get("samples", DEFAULT_SAMPLES),
        ram_bytes=parse_size(table["ram"], f"{where}: ram") if "ram" in table else None,
        lowering=table.get("lowering", "fast"),
        optimize=table.get("optimize", "-O3"),
        flags=tuple(table.get("flags", ())),
        input_kind=table.get("input", "uint8"),
        regions=tuple(table.get("regions", ("ebnn_infer",))),
        max_cycles=(
            parse_count(table["max_cycles"], f"{where}: max_cycles")
            if "max_cycles" in table
            else DEFAULT_MAX_CYCLES
        ),
        folder=folder,
        allow=table.get("allow", {}),
        tighten=table.get("tighten", tighten),
    )
    for board in entry.boards:
        try:
            entry.allowances(board)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
    return entry
