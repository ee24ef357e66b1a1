"""Run records read back from files, checked: `sim/record.schema.json` says what each key is.

Only the keys that a comparison needs are looked at, so that jsonschema is not needed to run one.
A board's record may lack what a board cannot tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from ebnn.sim.core import CORES
from ebnn.sim.errors import UserError
from ebnn.sim.record import SCHEMA

LARGEST_RECORD_BYTES = 64 << 20
_SHA256 = re.compile("[0-9a-f]{64}")

T = TypeVar("T")


@dataclass(frozen=True)
class Region:
    """Activations of a region. `cycles` is what one takes: the median, for published figures their
    mean."""

    count: int
    cycles: float


@dataclass(frozen=True)
class AtClock:
    """`ebnn verify` counts at 0 wait states, and a few samples with those of the clock."""

    board: str
    clock_hz: int
    samples: int
    cycles: float


@dataclass(frozen=True)
class Record:
    """One run record. `None` where the record does not say; `inputs_sha256` is of the samples."""

    path: str
    kind: Literal["sim", "board"]
    core: str
    board: str
    regions: Mapping[str, Region]
    elf_path: str | None = None
    elf_sha256: str | None = None
    clock_hz: int | None = None
    wait_states: int | None = None
    predictions: tuple[int, ...] | None = None
    agreement: tuple[int, int] | None = None  # predictions as the numpy reference's, all
    stack_bytes: int | None = None
    inputs_sha256: str | None = None
    fault: str | None = None
    at_clock: AtClock | None = None
    is_published: bool = False
    group: str | None = None  # of published figures: `Measurement.group`
    data: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)


def read_records(path: Path) -> list[Record]:
    """The records in `path`: one, or a list of them as `ebnn verify --json` writes it.

    Raises:
        UserError: names the file, and the key that is missing or wrong.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_RECORD_BYTES + 1)
        if len(content) > LARGEST_RECORD_BYTES:
            raise UserError(f"{path}: larger than {LARGEST_RECORD_BYTES >> 20} MiB: no run record")
        data = json.loads(content)
    except OSError as error:
        raise UserError(f"{path}: cannot read the record ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from error
    if not isinstance(data, list):
        return [record_of(data, str(path))]
    if not data:
        raise UserError(f"{path}: an empty list: no run record in it")
    return [record_of(entry, f"{path}[{index}]") for index, entry in enumerate(data)]


def record_of(data: object, path: str) -> Record:
    """`data` as a record; errors call it `path`. Raises `UserError`."""
    top = _Keys(path, "", data)
    if top.get("schema", str) != SCHEMA:
        raise UserError(f"{path}: schema is {data['schema']!r}, not {SCHEMA!r}")  # type: ignore[index]
    kind = top.get("kind", str)
    if kind not in ("sim", "board"):
        raise UserError(f"{path}: kind is {kind!r}, not 'sim' or 'board'")
    core = top.get("core", str)
    if core not in CORES:
        raise UserError(f"{path}: core is {core!r}, not one of {', '.join(CORES)}")
    is_published = bool(top.find("published", bool))
    elf = None if is_published else top.table("elf")
    sha256 = elf.get("sha256", str) if elf else None
    memory, inputs = top.find_table("memory"), top.find_table("inputs")
    model, fault = top.find_table("model"), top.find_table("fault")
    regions = top.table("regions")
    inputs_sha256 = inputs.get("sha256", str) if inputs else None
    for key, value in (("elf.sha256", sha256), ("inputs.sha256", inputs_sha256)):
        if value is not None and not _SHA256.fullmatch(value):
            raise UserError(f"{path}: {key} is {value!r}, not 64 digits of 0-9a-f")
    return Record(
        path=path,
        kind="sim" if kind == "sim" else "board",
        core=core,
        board=top.get("board", str),
        regions={name: _region(regions.table(name)) for name in regions.data},
        elf_path=elf.get("path", str) if elf else None,
        elf_sha256=sha256,
        clock_hz=top.find("clock_hz", int) if is_published else top.get("clock_hz", int),
        wait_states=model.find("wait_states", int) if model else None,
        predictions=top.integers("predictions"),
        agreement=_agreement(top.find_table("accuracy")),
        stack_bytes=memory.find("stack", int) if memory else None,
        inputs_sha256=inputs_sha256,
        fault=fault.get("message", str) if fault else None,
        at_clock=_at_clock(top.find_table("at_clock")),
        is_published=is_published,
        group=top.find("group", str),
        data=top.data,
    )


def _region(keys: _Keys) -> Region:
    count, cycles = keys.get("count", int), keys.table("cycles")
    if count < 1:
        raise UserError(
            f"{keys.path}: {keys.prefix}count is {count}: a region has run at least once"
        )
    mean = cycles.data.get("mean")
    if "median" not in cycles.data and isinstance(mean, int | float) and 0 < mean < 1e18:
        return Region(count, float(mean))
    median = cycles.get("median", int)
    if median < 1:
        raise UserError(f"{keys.path}: {cycles.prefix}median is {median}: a run takes some cycles")
    return Region(count, median)


def _agreement(keys: _Keys | None) -> tuple[int, int] | None:
    if keys is None or keys.find("agreement", int) is None:
        return None
    return keys.get("agreement", int), keys.get("total", int)


def _at_clock(keys: _Keys | None) -> AtClock | None:
    if keys is None:
        return None
    return AtClock(
        keys.get("board", str),
        keys.get("clock_hz", int),
        keys.get("samples", int),
        keys.table("cycles").get("median", int),
    )


class _Keys:
    """A table of the record whose values are asked for by type; refusals name the whole key."""

    def __init__(self, path: str, prefix: str, data: object) -> None:
        self.path, self.prefix = path, prefix
        if not isinstance(data, dict):
            where = prefix.rstrip(".")
            raise UserError(f"{path}: {where or 'a run record'} must be an object with keys")
        self.data: dict[str, Any] = data

    def get(self, key: str, kind: type[T]) -> T:
        if self.data.get(key) is None:
            raise UserError(f"{self.path}: {self.prefix}{key} is missing")
        value = self.find(key, kind)
        assert value is not None
        return value

    def find(self, key: str, kind: type[T]) -> T | None:
        value = self.data.get(key)
        if value is None:
            return None
        is_number = type(value) is int and 0 <= value < 1 << 63
        if not isinstance(value, kind) or (kind is int and not is_number):
            raise UserError(f"{self.path}: {self.prefix}{key} is {value!r:.60}, not {_KINDS[kind]}")
        return value

    def table(self, key: str) -> _Keys:
        return _Keys(self.path, f"{self.prefix}{key}.", self.get(key, dict))

    def find_table(self, key: str) -> _Keys | None:
        return None if self.data.get(key) is None else self.table(key)

    def integers(self, key: str) -> tuple[int, ...] | None:
        values = self.find(key, list)
        if values is None:
            return None
        for index, value in enumerate(values):
            if type(value) is not int:
                raise UserError(f"{self.path}: {key}[{index}] is {value!r:.60}, not an integer")
        return tuple(values)


_KINDS: dict[type, str] = {
    int: "an integer from 0 to 2**63 - 1",
    str: "a text",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}
