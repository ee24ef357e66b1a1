"""The few parameters of a board that are fitted, and the board file they are written to."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ebnn.sim import board as boards
from ebnn.sim.board import ZERO_WAIT_STATES, Board, load_board
from ebnn.sim.errors import UserError
from ebnn.sim.flash_timing import FlashTiming

NAMES = ("wait_states", "prefetch", "cache", "store_penalty_cycles")
NEEDS_WAIT_STATES = ("prefetch", "cache")
"""Without wait states these change nothing."""


@dataclass(frozen=True, order=True)
class Parameters:
    """What is fitted. `cache`: whether the caches that the board describes are on."""

    wait_states: int
    prefetch: bool
    cache: bool
    store_penalty_cycles: int

    def __str__(self) -> str:
        switches = [f"{n} {'on' if getattr(self, n) else 'off'}" for n in NEEDS_WAIT_STATES]
        shown = ", ".join(switches) if self.wait_states else "no wait states"
        return f"wait_states {self.wait_states}, {shown}, store penalty {self.store_penalty_cycles}"


@dataclass(frozen=True)
class FittedBoard:
    """A board whose parameters can be set. `cached` is its flash with the caches on, None where it
    describes none; `path` and `profile` are where its description lies."""

    board: Board
    path: Path
    profile: str | None
    cached: FlashTiming | None
    has_prefetch: bool

    @property
    def parameters(self) -> Parameters:
        """As the board is described."""
        timing = self.board.flash_timing
        return Parameters(
            timing.wait_states,
            timing.prefetch,
            _has_cache(timing),
            self.board.store_penalty_cycles,
        )

    @property
    def fittable(self) -> tuple[str, ...]:
        """What there is to fit: a prefetch or a cache only where the board describes one."""
        absent = {"prefetch": not self.has_prefetch, "cache": self.cached is None}
        return tuple(name for name in NAMES if not absent.get(name))

    def with_parameters(self, wanted: Parameters) -> Board:
        """The board with these parameters instead of its own."""
        timing = self.board.flash_timing
        if wanted.cache and not _has_cache(timing) and self.cached is not None:
            timing = self.cached
        elif not wanted.cache:
            data_lines = min(timing.data_cache_lines, 1)  # 0: data goes through the other
            timing = replace(
                timing,
                instruction_cache_lines=1,
                instruction_cache_ways=1,
                data_cache_lines=data_lines,
                data_cache_ways=data_lines,
            )
        timing = replace(timing, wait_states=wanted.wait_states, prefetch=wanted.prefetch)
        return replace(
            self.board,
            flash_timing=timing,
            store_penalty_cycles=wanted.store_penalty_cycles,
        )


def _has_cache(timing: FlashTiming) -> bool:
    return timing.instruction_cache_lines > 1 or timing.data_cache_lines > 1


def fitted_board(name: str, clock_hz: int, new_profile: str | None) -> FittedBoard:
    """The board `name` (or its TOML file, with `@PROFILE`), at `clock_hz`.

    Raises:
        UserError: no such board, or its clock is another and no `new_profile` is to be written.
    """
    base_name, _, profile = name.partition("@")
    board, base = load_board(name), load_board(base_name)
    if board.clock_hz != clock_hz and new_profile is None:
        raise UserError(
            f"{name} runs at {board.clock_hz} Hz, the records are at {clock_hz} Hz: give --board "
            "NAME@PROFILE of that clock, or --profile NEW for a profile of it"
        )
    if new_profile is None and profile == ZERO_WAIT_STATES:
        raise UserError(f"{name}: every board has that profile as it is: give --profile NEW")
    if new_profile == ZERO_WAIT_STATES or (new_profile is not None and not new_profile.strip()):
        raise UserError(f"--profile {new_profile!r}: choose another name")
    path = Path(base_name)
    if not base_name.endswith(".toml"):
        path = Path(boards.__file__).parent / "boards" / f"{base_name}.toml"
    known = [board, base, *(load_board(f"{base_name}@{one}") for one in base.profiles)]
    cached = next((b.flash_timing for b in known if _has_cache(b.flash_timing)), None)
    return FittedBoard(
        board=replace(board, clock_hz=clock_hz),
        path=path,
        profile=new_profile or profile or None,
        cached=cached,
        has_prefetch=any(one.flash_timing.prefetch for one in known),
    )


def profile_text(fitted: FittedBoard, wanted: Parameters, why: Sequence[str]) -> str:
    """The board's TOML with the parameters `wanted`, comments kept; `why` becomes a comment.

    Raises:
        UserError: the file cannot be read, or has a form in which they cannot be written.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    board = fitted.with_parameters(wanted)
    base = load_board(fitted.path)
    try:
        document = tomlkit.parse(fitted.path.read_text(encoding="utf-8"))
        if fitted.profile is None:
            table, before = _table(document, "flash_timing"), base.flash_timing
        else:
            profiles = _table(document, "profile", is_super=True)
            table, before = _table(profiles, fitted.profile), base.flash_timing
            if fitted.profile in base.profiles:
                before = load_board(f"{fitted.path}@{fitted.profile}").flash_timing
            elif board.clock_hz != base.clock_hz:
                table["clock_hz"] = board.clock_hz
        for key, value in asdict(board.flash_timing).items():
            if value != getattr(before, key) or (key == "wait_states" and fitted.profile is None):
                table[key] = value
        if board.store_penalty_cycles != base.store_penalty_cycles:
            document["store_penalty_cycles"] = board.store_penalty_cycles
        for line in why:
            table.add(tomlkit.comment(line))
        text = tomlkit.dumps(document)
    except (TOMLKitError, OSError, UnicodeDecodeError, TypeError, AttributeError) as error:
        raise UserError(f"{fitted.path}: cannot write the parameters into it ({error})") from error
    _check(text, fitted, board)
    return text


def _table(parent: Any, key: str, is_super: bool = False) -> Any:
    import tomlkit

    if key not in parent:
        parent[key] = tomlkit.table(is_super)
    return parent[key]


def _check(text: str, fitted: FittedBoard, wanted: Board) -> None:
    """Read `text` back: it must say what was meant."""
    with tempfile.TemporaryDirectory(prefix="ebnn-board-") as folder:
        path = Path(folder) / "board.toml"
        path.write_text(text, encoding="utf-8")
        profile = f"@{fitted.profile}" if fitted.profile else ""
        found = load_board(f"{path}{profile}")
    for key in ("flash_timing", "store_penalty_cycles", "clock_hz", "core", "memories"):
        if getattr(found, key) != getattr(wanted, key):
            raise UserError(
                f"{fitted.path}: {key} cannot be written there: it would be "
                f"{getattr(found, key)}, not {getattr(wanted, key)}"
            )
