"""The few parameters of a board that are fitted, and the board file they are written to."""

from __future__ import annotations

import tempfile
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
_SIGNATURE = "ebnn calibrate: "


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


def profile_text(fitted: FittedBoard, wanted: Parameters, why: str) -> str:
    """The board's TOML with the parameters `wanted`, comments kept; `why` becomes a comment.

    Other profiles keep their flash timing; the store penalty is of the whole board.

    Raises:
        UserError: the file cannot be read, or has a form in which they cannot be written.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    board = fitted.with_parameters(wanted)
    base = load_board(fitted.path)
    try:
        document: Any = tomlkit.parse(fitted.path.read_text(encoding="utf-8"))
        if fitted.profile is None:
            table = _table(document, "flash_timing")
            changed = _changed(base.flash_timing, board.flash_timing)
            if "wait_states" not in table:
                changed["wait_states"] = wanted.wait_states
            _keep_profiles(document, fitted.path, base, changed)
        else:
            table = _table(_table(document, "profile"), fitted.profile)
            before = base.flash_timing
            if fitted.profile in base.profiles:
                before = load_board(f"{fitted.path}@{fitted.profile}").flash_timing
            elif board.clock_hz != base.clock_hz:
                table["clock_hz"] = board.clock_hz
            changed = _changed(before, board.flash_timing)
        for key, value in changed.items():
            _set(table, key, value)
        if board.store_penalty_cycles != base.store_penalty_cycles:
            _set(document, "store_penalty_cycles", board.store_penalty_cycles)
        _explain(table, why)
        text = tomlkit.dumps(document)
    except (TOMLKitError, OSError, UnicodeDecodeError, TypeError, AttributeError) as error:
        raise UserError(f"{fitted.path}: cannot write the parameters into it ({error})") from error
    _check(text, fitted, board, base)
    return text


def _table(parent: Any, key: str) -> Any:
    """The table `key`, made where it is missing."""
    import tomlkit
    from tomlkit.items import Table

    if key not in parent:
        parent[key] = tomlkit.table(is_super_table=key == "profile")
    if not isinstance(parent[key], Table):
        raise UserError(f"{key}: write it as a table of its own, [{key}], so that it can be fitted")
    return parent[key]


def _changed(before: FlashTiming, after: FlashTiming) -> dict[str, Any]:
    old = asdict(before)
    return {key: value for key, value in asdict(after).items() if value != old[key]}


def _keep_profiles(document: Any, path: Path, base: Board, changed: dict[str, Any]) -> None:
    """Write out what other profiles took over from what is about to change."""
    for name in base.profiles:
        timing = load_board(f"{path}@{name}").flash_timing
        for key in changed if timing.wait_states else ():
            if key not in document["profile"][name]:
                document["profile"][name][key] = getattr(timing, key)


def _set(table: Any, key: str, value: object) -> None:
    """A changed value keeps its comment, which spoke of the old one."""
    import tomlkit

    item = tomlkit.item(value)
    old = table.item(key) if key in table else None
    if old is not None and old.trivia.comment:
        item.comment(f"fitted; it was {old.as_string()}: {old.trivia.comment.lstrip('# ')}")
    table[key] = item


def _explain(table: Any, why: str) -> None:
    """`why` as the last comment of the table, in place of an earlier fit's."""
    import tomlkit
    from tomlkit.items import Comment, Whitespace

    body = table.value.body
    comment = tomlkit.comment(f"{_SIGNATURE}{why}")
    for index, (_, item) in enumerate(body):
        if isinstance(item, Comment) and item.as_string().startswith(f"# {_SIGNATURE}"):
            body[index] = (None, comment)
            return
    at = len(body)  # before the empty lines that part it from the next table
    while at and isinstance(body[at - 1][1], Whitespace):
        at -= 1
    body.insert(at, (None, comment))


def _check(text: str, fitted: FittedBoard, wanted: Board, base: Board) -> None:
    """Read `text` back: it must say what was meant, and nothing else of other profiles."""
    with tempfile.TemporaryDirectory(prefix="ebnn-board-") as folder:
        path = Path(folder) / "board.toml"
        path.write_text(text, encoding="utf-8")
        names = [None, *base.profiles, fitted.profile]
        found = {name: load_board(f"{path}@{name}" if name else path) for name in names}
    for name, board in found.items():
        meant = wanted
        if name != fitted.profile:
            was = load_board(f"{fitted.path}@{name}" if name else fitted.path)
            meant = replace(was, store_penalty_cycles=wanted.store_penalty_cycles)
        keys = ["clock_hz", "store_penalty_cycles", "memories"]
        if board.flash_timing.wait_states or meant.flash_timing.wait_states:
            keys.append("flash_timing")
        for key in keys:
            if getattr(board, key) != getattr(meant, key):
                raise UserError(
                    f"{fitted.path}: {key} cannot be written there: it would be "
                    f"{getattr(board, key)}, not {getattr(meant, key)}"
                )
