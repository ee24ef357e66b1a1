"""A firmware image on a board, as a test sees it: run, called, looked at, and repeated."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ebnn.pytest_plugin.notes import add_notes
from ebnn.sim.board import Board
from ebnn.sim.elf import Elf
from ebnn.sim.errors import UserError
from ebnn.sim.faults import BudgetExceeded, Fault
from ebnn.sim.machine import Machine
from ebnn.sim.record import RegionRun

T = TypeVar("T")


class FirmwareFailed(AssertionError):
    """The firmware ran to its end and says itself that it failed: a status other than 0."""


@dataclass(frozen=True)
class Setup:
    """All that makes a machine, so that a run can be repeated."""

    elf: Path
    board: Board | None
    core: str | None
    ram_bytes: int | None
    regions: tuple[str, ...]
    required_regions: tuple[str, ...]
    max_cycles: int | None
    timeout_seconds: float | None
    faults: str
    uninitialized: str | None

    def machine(self, output: io.StringIO, errors: io.StringIO, profile: bool = False) -> Machine:
        machine = Machine(
            self.elf,
            board=self.board,
            core=self.core,
            ram_bytes=self.ram_bytes,
            regions=self.regions,
            max_cycles=self.max_cycles,
            timeout_seconds=self.timeout_seconds,
            output=output,
            errors=errors,
            profile=profile,
            faults=self.faults,
            uninitialized=self.uninitialized,
        )
        for name in self.required_regions:
            machine.require_region(name)
        return machine


class Run:
    """What `cortex_m(...)` and `cortex_m.boot(...)` return.

    Attributes:
        exit_status: what the firmware exited with; None where it did not.
        result: r0 of the last function called.
        fault: the `Fault` or `BudgetExceeded` that ended the run, else None.
        record: the run record, as `python -m ebnn.sim run --json` writes it; `run["cycles"]` too.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.exit_status: int | None = None
        self.result: int | None = None
        self.fault: UserError | None = None
        self._output, self._errors = io.StringIO(), io.StringIO()
        self._actions: list[Callable[[Machine], Any]] = []
        self._machine: Machine | None = setup.machine(self._output, self._errors)
        self._stops_at_max_cycles = False
        self._record: dict[str, Any] | None = None

    def __repr__(self) -> str:
        machine = self._machine
        if machine is None:
            record = self.record
            cycles, board = record["cycles"], record["board"]
        else:
            cycles, board = machine.cycles, machine.board.name
        return f"<{self.setup.elf.name} on {board}, {cycles:,} cycles>"

    # --- running it -----------------------------------------------------------------------

    def run(self) -> int | None:
        """Run to the firmware's exit; its status. None where `stop_after` ended the run."""
        try:
            self.exit_status = self._do(lambda machine: machine.run())
        except BudgetExceeded as error:
            if not self._stops_at_max_cycles or error.budget != "max-cycles":
                raise
            self.fault, self._record = None, None
        return self.exit_status

    def stop_after_max_cycles(self) -> None:
        """Reaching `max_cycles` ends the run, and is no failure."""
        self._stops_at_max_cycles = True

    def run_until(self, function: str) -> None:
        """Run up to the first instruction of `function`."""
        self._do(lambda machine: machine.run_until(function))

    def call(self, function: str | int, *arguments: int, signed: bool = False) -> int:
        """Call a function with up to four integers, or addresses; what it returned in r0.

        `signed` takes r0 as an `int32_t`, else it is a `uint32_t`.
        """
        words = [argument & 0xFFFFFFFF for argument in arguments]
        result = self._do(lambda machine: machine.call(function, *words))
        self.result = result - (1 << 32) if signed and result >> 31 else result
        return self.result

    def write(self, place: str | int, data: bytes) -> None:
        """Write memory from outside, at a symbol or an address; nothing is counted."""
        self._fits(place, len(data))
        self._do(lambda machine: machine.write(self.address(place), bytes(data)))

    def write_int(self, place: str | int, value: int, size_bytes: int = 4) -> None:
        """Write an integer of that many bytes, little-endian."""
        mask = (1 << 8 * size_bytes) - 1
        self.write(place, (value & mask).to_bytes(size_bytes, "little"))

    def _do(self, action: Callable[[Machine], T]) -> T:
        machine = self._alive()
        if self.fault is not None:
            raise UserError(f"{self.setup.elf}: the run has ended: {self.fault}")
        self._actions.append(action)
        self._record = None
        try:
            return action(machine)
        except (Fault, BudgetExceeded) as error:
            self.fault = error
            is_end = self._stops_at_max_cycles and isinstance(error, BudgetExceeded)
            if not is_end or getattr(error, "budget", "") != "max-cycles":
                add_notes(error, machine, self.output + self.errors)
            raise

    def repeat(self, profile: bool) -> Machine | None:
        """A machine that did all of it again; None where it did not come out the same."""
        machine = self.setup.machine(io.StringIO(), io.StringIO(), profile)
        for action in self._actions:
            try:
                action(machine)
            except UserError:
                break
        return machine if machine.cycles == self.record["cycles"] else None

    # --- looking at it --------------------------------------------------------------------

    @property
    def elf(self) -> Elf:
        return self._machine.elf if self._machine else Elf(self.setup.elf)

    @property
    def is_alive(self) -> bool:
        """Whether it can go on, and its memory be read."""
        return self._machine is not None

    def has(self, symbol: str) -> bool:
        return symbol in self.elf.symbols

    def address(self, place: str | int) -> int:
        """Of a symbol; an address is left as it is."""
        return self.elf.symbol(place).address if isinstance(place, str) else place

    def read(self, place: str | int, size_bytes: int | None = None) -> bytes:
        """Memory at a symbol, as much as it has, or at an address."""
        machine = self._alive()
        if size_bytes is None:
            size_bytes = self.elf.symbol(place).size_bytes if isinstance(place, str) else 0
            if not size_bytes:
                raise UserError(f"read({place!r}): its size is not known: say how many bytes")
        self._fits(place, size_bytes)
        return machine.read(self.address(place), size_bytes)

    def read_int(
        self, place: str | int, size_bytes: int | None = None, signed: bool = False
    ) -> int:
        """The integer at a symbol, of its size, or at an address, of 4 bytes; little-endian."""
        if size_bytes is None and not isinstance(place, str):
            size_bytes = 4
        return int.from_bytes(self.read(place, size_bytes), "little", signed=signed)

    def _fits(self, place: str | int, size_bytes: int) -> None:
        if isinstance(place, str):
            has = self.elf.symbol(place).size_bytes
            if has and size_bytes > has:
                raise UserError(f"{place} has {has:,} bytes, not {size_bytes:,}")

    @property
    def output(self) -> str:
        """What the firmware has written to its standard output, or console, so far."""
        return self._output.getvalue()

    @property
    def errors(self) -> str:
        """Likewise, to its standard error."""
        return self._errors.getvalue()

    @property
    def cycles(self) -> int:
        return self._machine.cycles if self._machine else int(self.record["cycles"])

    @property
    def instructions(self) -> int:
        return self._machine.instructions if self._machine else int(self.record["instructions"])

    @property
    def ram_bytes(self) -> int:
        """Static, peak heap and peak stack so far."""
        return self._machine.ram_use().total if self._machine else int(self.record["memory"]["ram"])

    @property
    def stack_bytes(self) -> int:
        """The stack's peak so far."""
        use = self._machine.ram_use().stack if self._machine else self.record["memory"]["stack"]
        return int(use)

    @property
    def flash_bytes(self) -> int:
        return int(self.record["memory"]["flash"])

    @property
    def regions(self) -> dict[str, dict[str, Any]]:
        """The record's: count, and cycles and instructions as min, median, max and total."""
        regions: dict[str, dict[str, Any]] = self.record["regions"]
        return regions

    def region(self, name: str) -> RegionRun:
        """Cycles and instructions of the last activation of a region."""
        return self._alive().region(name)

    @property
    def record(self) -> dict[str, Any]:
        if self._record is None:
            machine = self._alive()
            data = machine.record().to_dict()
            if self.fault is None:
                data["exit"] = 0
            data["firmware_exit"], data["result"] = self.exit_status, self.result
            self._record = data
        return self._record

    def __getitem__(self, key: str) -> Any:
        return self.record[key]

    # --- the end --------------------------------------------------------------------------

    def _alive(self) -> Machine:
        if self._machine is None:
            raise UserError(
                f"{self.setup.elf}: its memory was given back: of the runs of a test only the last "
                "few can still be looked into or go on"
            )
        return self._machine

    def close(self) -> None:
        """Keep the record and give the emulator's memory back."""
        if self._machine is not None:
            self._record = self.record
            self._machine.close()
            self._machine = None


def regions_of(*lists: Sequence[str]) -> tuple[str, ...]:
    """Without repetitions, in order."""
    return tuple(dict.fromkeys(name for names in lists for name in names))
