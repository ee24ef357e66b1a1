"""Boards: the core, clock and memories a firmware image meets, read from TOML.

Every figure in `boards/*.toml` names its source in the file's `source` key.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from .errors import UserError

_FOLDER = Path(__file__).parent / "boards"
# Armv7-M ARM B3.1: from 0xA0000000 on are devices and the system. The KiB below is kept free: a
# call from outside returns there.
MEMORY_END = 0x9FFFFC00


@dataclass(frozen=True)
class Memory:
    """One contiguous memory as the core sees it."""

    name: str
    kind: Literal["flash", "ram"]
    address: int
    size_bytes: int
    wait_states: int = 0

    @property
    def end(self) -> int:
        """The first address past the memory."""
        return self.address + self.size_bytes


@dataclass(frozen=True)
class Board:
    """What is soldered down: the core, its clock, and its memories."""

    name: str
    title: str
    core: str
    clock_hz: int
    memories: tuple[Memory, ...]
    source: str
    store_penalty_cycles: int = 0  # a load directly behind a store waits so long for the bus

    @property
    def flash(self) -> Memory:
        """The first flash: where the vector table lies at reset."""
        return next(memory for memory in self.memories if memory.kind == "flash")

    @property
    def ram(self) -> Memory:
        """The first RAM: the one a RAM limit applies to."""
        return next(memory for memory in self.memories if memory.kind == "ram")


def board_names() -> list[str]:
    """The boards that come with the package, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_board(name_or_path: str | Path) -> Board:
    """The board of that name, or described by that TOML file.

    Raises:
        UserError: no such board, or a description with a missing or impossible value.
    """
    text = str(name_or_path)
    path = _FOLDER / f"{text}.toml"
    if text.endswith(".toml"):
        path = Path(name_or_path)
    elif text not in board_names():
        raise UserError(
            f"no board is called {text!r}: choose one of {', '.join(board_names())}, "
            "or give the path of a TOML file"
        )
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot read the board ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a TOML board description ({error})") from error
    return _board(path, facts)


def generic_board(core: str) -> Board:
    """The generic board of `core` (`cortex-m4f`): zero wait states, round sizes."""
    return load_board("generic-" + core.removeprefix("cortex-"))


def _board(path: Path, facts: dict[str, Any]) -> Board:
    memories = []
    for entry in _value(path, facts, "memory", list):
        if not isinstance(entry, dict):
            raise UserError(f"{path}: write each memory as a [[memory]] table")
        kind = _value(path, entry, "kind", str)
        if kind not in ("flash", "ram"):
            raise UserError(f"{path}: a memory's kind is 'flash' or 'ram', not {kind!r}")
        memory = Memory(
            name=_value(path, entry, "name", str),
            kind="flash" if kind == "flash" else "ram",
            address=_value(path, entry, "address", int),
            size_bytes=_value(path, entry, "size_bytes", int),
            wait_states=entry.get("wait_states", 0),
        )
        if memory.size_bytes <= 0 or memory.address < 0 or memory.end > MEMORY_END:
            raise UserError(
                f"{path}: memory {memory.name!r} does not lie between 0 and {MEMORY_END:#x}, "
                "where the architecture has memory"
            )
        if memory.address % 1024 or memory.size_bytes % 1024:
            raise UserError(f"{path}: memory {memory.name!r} must start and end on 1 KiB steps")
        memories.append(memory)
    ordered = sorted(memories, key=lambda memory: memory.address)
    for lower, upper in pairwise(ordered):
        if lower.end > upper.address:
            raise UserError(f"{path}: memories {lower.name!r} and {upper.name!r} overlap")
    if {memory.kind for memory in memories} != {"flash", "ram"}:
        raise UserError(f"{path}: a board needs at least one flash and one ram memory")
    clock_hz = _value(path, facts, "clock_hz", int)
    if clock_hz <= 0:
        raise UserError(f"{path}: clock_hz must be positive")
    return Board(
        name=path.stem,
        title=_value(path, facts, "title", str),
        core=_value(path, facts, "core", str),
        clock_hz=clock_hz,
        memories=tuple(memories),
        source=_value(path, facts, "source", str),
        store_penalty_cycles=(
            _value(path, facts, "store_penalty_cycles", int)
            if "store_penalty_cycles" in facts
            else 0
        ),
    )


def _value(path: Path, facts: dict[str, Any], key: str, kind: type) -> Any:
    value = facts.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"{path}: needs {key!r} ({kind.__name__})")
    return value
