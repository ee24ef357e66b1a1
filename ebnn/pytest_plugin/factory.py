"""The object that the fixture `cortex_m` gives: makes runs, and keeps what a test made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ebnn.pytest_plugin.budgets import Budget
from ebnn.pytest_plugin.notes import add_output
from ebnn.pytest_plugin.run import FirmwareFailed, Run, Setup, regions_of
from ebnn.sim.board import Board, load_board
from ebnn.sim.core import core_named
from ebnn.sim.errors import UserError
from ebnn.sim.faults import BudgetExceeded, Fault
from ebnn.sim.sizes import parse_count, parse_size

_DEFAULT_REGIONS = ("ebnn_infer",)
_MOST_CYCLES = "1G"
"""Firmware that never ends fails instead of holding up a test for good."""
_MOST_ALIVE = 8  # machines of one test that can still be looked into


@dataclass(frozen=True)
class Defaults:
    """What a test that does not say otherwise runs: from the command line and the configuration."""

    elf: str | None
    board: str | None
    folders: tuple[Path, ...]  # that relative paths are looked for in

    def path(self, name: str | Path) -> Path:
        candidates = [folder / name for folder in self.folders]
        for candidate in candidates:
            if candidate.exists():
                return candidate
        looked = " or ".join(dict.fromkeys(str(one.parent) for one in candidates))
        raise UserError(f"{name}: there is no such file, seen from {looked}: build it first?")


class CortexM:
    """Runs firmware on emulated boards; every run is held against the test's budgets at its end."""

    Fault = Fault
    BudgetExceeded = BudgetExceeded

    def __init__(self, defaults: Defaults, budgets: Sequence[Budget]) -> None:
        self.budgets = tuple(budgets)
        self.runs: list[Run] = []
        self.could_not_start = False
        self._defaults = defaults

    def __call__(
        self,
        elf: str | Path | None = None,
        board: str | Path | Board | None = None,
        ram: str | int | None = None,
        *,
        core: str | None = None,
        call: str | Sequence[str | int] | None = None,
        until: str | None = None,
        stop_after: str | int | None = None,
        regions: Sequence[str] = (),
        max_cycles: str | int = _MOST_CYCLES,
        timeout: float | None = None,
        faults: str = "stop",
        uninitialized: str | None = None,
        check: bool = True,
    ) -> Run:
        """Run an image from reset to its exit, and return what it came to.

        Args:
            elf: its path; by default `--ebnn-elf`, or `ebnn_elf` of the configuration.
            board: a board's name or TOML file; by default the fixture `ebnn_board`.
            ram: only so much RAM exists: "15k" or bytes. The first access past it ends the run.
            core: run as this core instead of the board's.
            call: boot to main, then call this function alone: "dot", or ("dot", 3, 4).
            until: run up to this function's first instruction instead of to the exit.
            stop_after: end the run after so many cycles, "5M": for firmware that never exits.
            regions: functions, START..END or marks to measure, beside those of the budgets.
            max_cycles: fail after so many cycles.
            timeout: fail after so many seconds of this machine's time.
            faults: "stop" fails where the firmware faults, "deliver" hands it to its handler.
            uninitialized: "error" fails at the first read of RAM that was never written.
            check: False returns whatever happened: `fault` and `exit_status` are yours to look at.

        Raises:
            Fault, BudgetExceeded, FirmwareFailed (its exit status is not 0); with `check`.
        """
        if sum(one is not None for one in (call, until, stop_after)) > 1:
            raise UserError("cortex_m: give one of call, until and stop_after")
        limit = max_cycles if stop_after is None else stop_after
        run = self._start(
            elf, board, ram, core, regions, call, limit, timeout, faults, uninitialized
        )
        try:
            if call is not None:
                name, *arguments = [call] if isinstance(call, str) else call
                self._boot(run, "main")
                run.call(name, *map(int, arguments))
            elif until is not None:
                run.run_until(until)
            else:
                if stop_after is not None:
                    run.stop_after_max_cycles()
                run.run()
        except (Fault, BudgetExceeded):
            if check:
                raise
        if check and run.exit_status:
            failed = FirmwareFailed(f"{run.setup.elf} exited with status {run.exit_status}")
            add_output(failed, run.output + run.errors)
            raise failed
        return run

    def boot(
        self,
        elf: str | Path | None = None,
        board: str | Path | Board | None = None,
        ram: str | int | None = None,
        *,
        until: str = "main",
        core: str | None = None,
        regions: Sequence[str] = (),
        max_cycles: str | int = _MOST_CYCLES,
        timeout: float | None = None,
        faults: str = "stop",
        uninitialized: str | None = None,
    ) -> Run:
        """Run an image up to `until`, where it has that function, to go on from there: `call`,
        `write`, `read`, `run_until`, `run`. `max_cycles` and `timeout` are for each of them."""
        run = self._start(
            elf, board, ram, core, regions, None, max_cycles, timeout, faults, uninitialized
        )
        self._boot(run, until)
        return run

    def _boot(self, run: Run, until: str) -> None:
        if until != "main" or run.has("main"):
            run.run_until(until)

    def _start(
        self,
        elf: str | Path | None,
        board: str | Path | Board | None,
        ram: str | int | None,
        core: str | None,
        regions: Sequence[str],
        call: str | Sequence[str | int] | None,
        max_cycles: str | int,
        timeout: float | None,
        faults: str,
        uninitialized: str | None,
    ) -> Run:
        if isinstance(regions, str):
            regions = (regions,)
        path = elf if elf is not None else self._defaults.elf
        if path is None:
            raise UserError("cortex_m: which image? Give its path, or --ebnn-elf, or ebnn_elf")
        called = () if call is None else (call if isinstance(call, str) else str(call[0]),)
        budgeted = [budget.region for budget in self.budgets if budget.region is not None]
        setup = Setup(
            elf=self._defaults.path(path),
            board=self._board(board if board is not None else self._defaults.board),
            core=None if core is None else core_named(core).name,
            ram_bytes=None if ram is None else _bytes(ram),
            regions=regions_of(regions, budgeted, called, _DEFAULT_REGIONS),
            required_regions=tuple(regions),
            max_cycles=_count(max_cycles),
            timeout_seconds=timeout,
            faults=faults,
            uninitialized=uninitialized,
        )
        while len(alive := [run for run in self.runs if run.is_alive]) >= _MOST_ALIVE:
            alive[0].close()
        self.could_not_start = True
        run = Run(setup)
        self.could_not_start = False
        self.runs.append(run)
        return run

    def _board(self, board: str | Path | Board | None) -> Board | None:
        if board is None or isinstance(board, Board):
            return board
        name, at, profile = str(board).partition("@")
        if name.endswith(".toml"):
            return load_board(f"{self._defaults.path(name)}{at}{profile}")
        return load_board(str(board))

    def close(self) -> None:
        for run in self.runs:
            run.close()


def _bytes(ram: str | int) -> int:
    return parse_size(str(ram), "ram")


def _count(cycles: str | int) -> int:
    return parse_count(str(cycles), "cycles")
