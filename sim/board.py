"""Boards: the core, clock and memories a firmware image meets, read from TOML.

Every figure in `boards/*.toml` names its source in the file's `source` key.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from .boot_stage import CHECKSUMS, STEP_BYTES, BootStage
from .core import SMALL_MULTIPLIER_CORES
from .errors import UserError
from .flash_timing import NO_WAIT_STATES, FlashTiming
from .slow_ram import SlowRam

_FOLDER = Path(__file__).parent / "boards"
# Armv7-M ARM B3.1: from 0xA0000000 on are devices and the system. The KiB below is kept free: a
# call from outside returns there.
MEMORY_END = 0x9FFFFC00
ZERO_WAIT_STATES = "0ws"
"""The profile that every board has: its cycles are the core's own."""


@dataclass(frozen=True)
class Memory:
    """One contiguous memory as the core sees it."""

    name: str
    kind: Literal["flash", "ram"]
    address: int
    size_bytes: int

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
    clock_source: str | None = None  # what oscillator the clock comes from, where that is told
    store_penalty_cycles: int = 0  # a load directly behind a store waits so long for the bus
    small_multiplier: bool = False  # of an M0 or M0+: MULS takes 32 cycles instead of 1
    interrupt_priority_bits: int = 0  # implemented bits of a priority; 0: as usual for the core
    flash_timing: FlashTiming = NO_WAIT_STATES  # of the first flash
    slow_ram: SlowRam | None = None  # part of the first RAM
    boot_stage: BootStage | None = None  # what the first flash starts with, before the vector table
    profiles: tuple[str, ...] = ()  # what else `NAME@PROFILE` may ask for

    def without_wait_states(self) -> Board:
        """The same board and clock with flash as fast as the core: the profile `0ws`."""
        if not self.flash_timing.wait_states:
            return self
        name = f"{self.name.partition('@')[0]}@{ZERO_WAIT_STATES}"
        return replace(self, name=name, flash_timing=NO_WAIT_STATES)

    @property
    def flash(self) -> Memory:
        """The first flash, which the vector table lies in."""
        return next(memory for memory in self.memories if memory.kind == "flash")

    @property
    def vector_table(self) -> int:
        """Address of the firmware's vector table: the start of flash, or behind the boot stage."""
        return self.flash.address + (self.boot_stage.size_bytes if self.boot_stage else 0)

    @property
    def ram(self) -> Memory:
        """The first RAM: the one a RAM limit applies to."""
        return next(memory for memory in self.memories if memory.kind == "ram")


def board_names() -> list[str]:
    """The boards that come with the package, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def board_path(name_or_path: str | Path) -> Path:
    """The TOML file of `NAME` or a path, `@PROFILE` or not; `UserError` where there is none."""
    text = str(name_or_path).partition("@")[0]
    if text.endswith(".toml"):
        return Path(text)
    if text not in board_names():
        raise UserError(
            f"no board is called {text!r}: choose one of {', '.join(board_names())}, "
            "or give the path of a TOML file"
        )
    return _FOLDER / f"{text}.toml"


def load_board(name_or_path: str | Path) -> Board:
    """The board of that name, or described by that TOML file; `BOARD@PROFILE` for one of the
    profiles that the file describes, or for `0ws`: the same clock, and flash as fast as the core.

    Raises:
        UserError: no such board or profile, or a description with a missing or impossible value.
    """
    _text, at, profile = str(name_or_path).partition("@")
    path = board_path(name_or_path)
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot read the board ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a TOML board description ({error})") from error
    board = _board(path, facts, profile if at else None)
    return board.without_wait_states() if profile == ZERO_WAIT_STATES else board


def as_it_leaves_reset(name_or_path: str | Path) -> Board:
    """The board at the clock that firmware without any set-up runs at: its profile `reset` where it
    has one, unless another profile is asked for."""
    board = load_board(name_or_path)
    if "@" not in str(name_or_path) and "reset" in board.profiles:
        return load_board(f"{name_or_path}@reset")
    return board


def generic_board(core: str) -> Board:
    """The generic board of `core` (`cortex-m4f`): zero wait states, round sizes."""
    return load_board("generic-" + core.removeprefix("cortex-"))


def _board(path: Path, facts: dict[str, Any], profile: str | None) -> Board:
    profiles = facts.get("profile", {})
    if not isinstance(profiles, dict) or not all(isinstance(p, dict) for p in profiles.values()):
        raise UserError(f"{path}: write each profile as a [profile.NAME] table")
    changed: dict[str, Any] = {}
    if profile not in (None, ZERO_WAIT_STATES):
        if profile not in profiles:
            raise UserError(
                f"{path.stem} has no profile {profile!r}: choose one of "
                f"{', '.join([*profiles, ZERO_WAIT_STATES])}"
            )
        changed = dict(profiles[profile])
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
    clock_hz = _value(path, {**facts, **changed}, "clock_hz", int)
    if clock_hz <= 0:
        raise UserError(f"{path}: clock_hz must be positive")
    return Board(
        name=path.stem if profile in (None, ZERO_WAIT_STATES) else f"{path.stem}@{profile}",
        title=_value(path, facts, "title", str),
        core=_value(path, facts, "core", str),
        clock_hz=clock_hz,
        memories=tuple(memories),
        source=_value(path, facts, "source", str),
        clock_source=_clock_source(path, facts, changed),
        store_penalty_cycles=(
            _value(path, facts, "store_penalty_cycles", int)
            if "store_penalty_cycles" in facts
            else 0
        ),
        small_multiplier=_small_multiplier(path, facts),
        interrupt_priority_bits=_priority_bits(path, facts),
        flash_timing=_flash_timing(path, facts, changed),
        slow_ram=_slow_ram(path, facts, memories),
        boot_stage=_boot_stage(path, facts, memories),
        profiles=tuple(profiles),
    )


_CLOCK_KEYS = ("clock_hz", "clock_source")  # of a profile, beside those of its flash timing


def _clock_source(path: Path, facts: dict[str, Any], changed: dict[str, Any]) -> str | None:
    table = changed if "clock_hz" in changed else facts  # another clock has another source
    if "clock_source" not in table:
        return None
    source: str = _value(path, table, "clock_source", str)
    return source


def _flash_timing(path: Path, facts: dict[str, Any], changed: dict[str, Any]) -> FlashTiming:
    described = facts.get("flash_timing", {"wait_states": 0})
    if not isinstance(described, dict):
        raise UserError(f"{path}: write how the flash feeds the core as a [flash_timing] table")
    keys = {field.name: type(getattr(NO_WAIT_STATES, field.name)) for field in fields(FlashTiming)}
    for key, value in {**described, **changed}.items():
        kind = keys.get(key)
        if key in _CLOCK_KEYS and key in changed:
            continue
        if kind is None:
            raise UserError(f"{path}: {key!r} is no key of [flash_timing]: use {', '.join(keys)}")
        if type(value) is not kind or (kind is int and not 0 <= value <= 4096):
            raise UserError(f"{path}: {key} = {value!r} is not {_KINDS[kind]}")
    values = {key: v for key, v in {**described, **changed}.items() if key not in _CLOCK_KEYS}
    if "wait_states" not in values:
        raise UserError(f"{path}: [flash_timing] needs 'wait_states'")
    timing = FlashTiming(**values)
    for what in ("instruction", "data"):
        lines = getattr(timing, f"{what}_cache_lines")
        ways = values.get(f"{what}_cache_ways", lines)  # fully associative unless told
        timing = replace(timing, **{f"{what}_cache_ways": ways})
        sets = lines // ways if ways and lines % ways == 0 else 0
        if lines and (not sets or sets & (sets - 1)):
            raise UserError(
                f"{path}: {lines} lines in {ways} ways: the {what} cache needs a power of two of "
                "sets"
            )
    if not timing.instruction_cache_lines:
        raise UserError(f"{path}: instruction_cache_lines: at least 1, the buffer")
    if timing.line_bytes < 4 or timing.line_bytes & (timing.line_bytes - 1):
        raise UserError(f"{path}: line_bytes must be a power of two from 4 on")
    return timing


def _slow_ram(path: Path, facts: dict[str, Any], memories: list[Memory]) -> SlowRam | None:
    if "slow_ram" not in facts:
        return None
    described = _value(path, facts, "slow_ram", dict)
    keys = [field.name for field in fields(SlowRam)]
    if unknown := [key for key in described if key not in keys]:
        raise UserError(f"{path}: {unknown[0]!r} is no key of [slow_ram]: use {', '.join(keys)}")
    slow = SlowRam(**{key: _value(path, described, key, int) for key in keys})
    ram = next(memory for memory in memories if memory.kind == "ram")
    if not (ram.address <= slow.address < slow.last_address <= ram.end):
        raise UserError(f"{path}: [slow_ram] does not lie in the first ram memory, {ram.name!r}")
    if not (0 <= slow.first_access_cycles <= 4096 and 0 <= slow.starved_cycles <= 4096):
        raise UserError(f"{path}: the cycles of [slow_ram] must be numbers from 0 to 4096")
    return slow


def _boot_stage(path: Path, facts: dict[str, Any], memories: list[Memory]) -> BootStage | None:
    if "boot_stage" not in facts:
        return None
    described = _value(path, facts, "boot_stage", dict)
    keys = [field.name for field in fields(BootStage)]
    if unknown := [key for key in described if key not in keys]:
        raise UserError(f"{path}: {unknown[0]!r} is no key of [boot_stage]: use {', '.join(keys)}")
    size_bytes = _value(path, described, "size_bytes", int)
    flash = next(memory for memory in memories if memory.kind == "flash")
    if not 0 < size_bytes < flash.size_bytes or size_bytes % STEP_BYTES:
        raise UserError(
            f"{path}: [boot_stage] size_bytes = {size_bytes}: the vector table behind it must lie "
            f"in {flash.name!r}, on a step of {STEP_BYTES} bytes"
        )
    checksum = described.get("checksum")
    if checksum not in (None, *CHECKSUMS):
        raise UserError(
            f"{path}: [boot_stage] checksum is {', '.join(CHECKSUMS)}, not {checksum!r}; "
            "leave it out where the chip wants none"
        )
    source = _value(path, described, "source", str)
    beside = path.resolve().parent / source
    return BootStage(str(beside) if beside.is_file() else source, size_bytes, checksum)


_KINDS = {int: "a number from 0 to 4096", bool: "true or false"}


def _small_multiplier(path: Path, facts: dict[str, Any]) -> bool:
    if "multiplier" not in facts:
        return False
    if facts["multiplier"] not in ("single-cycle", "small"):
        raise UserError(
            f"{path}: multiplier is 'single-cycle' or 'small', not {facts['multiplier']!r}"
        )
    is_small: bool = facts["multiplier"] == "small"
    if is_small and facts.get("core") not in SMALL_MULTIPLIER_CORES:
        raise UserError(f"{path}: multiplier = 'small' is an option of the Cortex-M0 and M0+ alone")
    return is_small


def _priority_bits(path: Path, facts: dict[str, Any]) -> int:
    if "interrupt_priority_bits" not in facts:
        return 0
    bits: int = _value(path, facts, "interrupt_priority_bits", int)
    if not 2 <= bits <= 8:
        raise UserError(f"{path}: interrupt_priority_bits is 2 to 8, not {bits}")
    return bits


def _value(path: Path, facts: dict[str, Any], key: str, kind: type) -> Any:
    value = facts.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"{path}: needs {key!r} ({kind.__name__})")
    return value
