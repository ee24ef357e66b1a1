"""The images behind boards' records, run in the simulator with candidate parameters."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ebnn.board_parameters import NAMES, FittedBoard, Parameters
from ebnn.record_file import Record
from ebnn.sim.board import Board
from ebnn.sim.elf import Elf
from ebnn.sim.errors import UserError
from ebnn.sim.faults import BudgetExceeded
from ebnn.sim.machine import Machine

MAX_CYCLES = 20_000_000
"""Budget of a run beyond four times what the board's regions took: firmware may go on for ever."""


@dataclass(frozen=True)
class Figure:
    """A region that a board measured; `record` is the index of its record."""

    record: int
    region: str
    measured_cycles: float


def find_elf(record: Record, given: Sequence[Path]) -> Path:
    """The image that the record was made of: among `given`, or where the record says it lies.

    Raises:
        UserError: it is not there, or was built anew since.
    """
    if record.elf_path is None:
        raise UserError(f"{record.path}: names no ELF: published figures cannot be run again")
    beside = Path(record.path).parent / record.elf_path
    there = [*given, Path(record.elf_path), beside, beside.with_name(Path(record.elf_path).name)]
    others = []
    for path in there:
        if path in given or path.is_file():
            if Elf(path).sha256 == record.elf_sha256:
                return path
            others.append(str(path))
    wanted = f"sha256 {str(record.elf_sha256)[:12]}"
    if others:
        named = ", ".join(dict.fromkeys(others))
        raise UserError(f"{record.path}: its ELF has {wanted}, which {named} has not: give --elf")
    raise UserError(f"{record.path}: no ELF at {record.elf_path} ({wanted}): give it with --elf")


class Runs:
    """Cycles of every figure by parameters; what was simulated once is kept."""

    def __init__(
        self,
        board: FittedBoard,
        records: Sequence[Record],
        elfs: Sequence[Path],
        max_cycles: int = MAX_CYCLES,
        on_run: Callable[[], None] = lambda: None,
    ) -> None:
        self._board = board
        self._records = records
        self._elfs = elfs
        self._max_cycles = max_cycles
        self._on_run = on_run
        self._cycles: dict[Parameters, tuple[float, ...]] = {}
        self.figures = self._figures()

    @property
    def parameters(self) -> tuple[Parameters, ...]:
        """Those that were simulated, sorted."""
        return tuple(sorted(self._cycles))

    def cycles(self, parameters: Parameters) -> tuple[float, ...]:
        """Simulated cycles, one for each of `figures`. Raises what the simulator raises."""
        key = same_as(parameters)
        if key not in self._cycles:
            board = self._board.with_parameters(key)
            found = [self._regions(index, board) for index in range(len(self._records))]
            self._cycles[key] = tuple(found[one.record][one.region] for one in self.figures)
            self._on_run()
        return self._cycles[key]

    def _figures(self) -> tuple[Figure, ...]:
        return tuple(
            Figure(index, name, region.cycles)
            for index, record in enumerate(self._records)
            for name, region in record.regions.items()
        )

    def _regions(self, index: int, board: Board) -> dict[str, float]:
        record, elf = self._records[index], self._elfs[index]
        taken = sum(int(one.cycles * one.count) for one in record.regions.values())
        budget = 4 * taken + self._max_cycles
        machine = Machine(
            elf,
            board=board,
            regions=tuple(record.regions),
            max_cycles=budget,
            output=io.StringIO(),
            errors=io.StringIO(),
        )
        try:
            for name in record.regions:
                machine.require_region(name)
            # Firmware that waits for a listener does not end: what has run by then counts.
            with contextlib.suppress(BudgetExceeded):
                machine.run()
            found = machine.regions()
        finally:
            machine.close()
        for name in record.regions:
            if name not in found:
                raise UserError(
                    f"{elf}: {name}, which {record.path} measured, did not run within {budget:,} "
                    "cycles in the simulator: --max-cycles"
                )
        return {name: float(found[name]["cycles"]["median"]) for name in record.regions}


def same_as(parameters: Parameters) -> Parameters:
    """One form for parameters that mean the same: without wait states nothing needs hiding."""
    if parameters.wait_states:
        return parameters
    return replace(parameters, prefetch=False, cache=False)


def one_board(records: Sequence[Record], name: str | None) -> tuple[str, int]:
    """The name and the clock in Hz of the one board that all records are of; `name` overrules.

    Raises:
        UserError: they are of different boards or clocks, or not of a board.
    """
    first = records[0]
    for record in records:
        if record.kind != "board":
            raise UserError(f"{record.path}: kind is {record.kind!r}: a board's record is needed")
        if record.fault:
            raise UserError(f"{record.path}: its run ended in a fault: {record.fault}")
        if not record.regions:
            raise UserError(f"{record.path}: has no regions: nothing was measured")
        for key in ("core", "board", "clock_hz"):
            if getattr(record, key) != getattr(first, key):
                raise UserError(
                    f"{first.path} and {record.path}: different {key}: {getattr(first, key)} and "
                    f"{getattr(record, key)}"
                )
    if first.clock_hz is None:
        raise UserError(f"{first.path}: clock_hz is missing")
    return name or first.board, first.clock_hz


def names_to_fit(board: FittedBoard, text: str | None) -> tuple[str, ...]:
    """The parameters in `text` (`wait_states,prefetch`), by default all that the board has.

    Raises:
        UserError: one that does not exist, or a cache that the board does not describe.
    """
    if text is None:
        return board.fittable
    wanted = [name.strip() for name in text.split(",")]
    for name in wanted:
        if name not in NAMES:
            raise UserError(f"--fit {name!r}: choose from {', '.join(NAMES)}")
        if name == "cache" and board.cached is None:
            raise UserError(f"--fit cache: {board.board.name} describes no cache")
    return tuple(name for name in NAMES if name in wanted)
