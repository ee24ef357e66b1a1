"""Cycles that others measured on real boards, beside this simulator's: the model's stated error.

The figures are in `published/CORE.toml`; the programs themselves are other people's and are not
here. `docs/fidelity.md` tells how they were run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .core import ModelError

_FOLDER = Path(__file__).parent / "published"


@dataclass(frozen=True)
class Measurement:
    """One published figure. `published_cycles` is the mean of `runs` equal parts of a run.

    `wait_states` above 0 were simulated on the board `simulated_board` of the package.
    `group` is `assembly`; `compiled`, the very binary that ran on the board; `stated`, a count that
    the author of a routine wrote beside it; `flash data` or `wait states`, see
    docs/fidelity.md.
    """

    board: str
    group: str
    program: str
    source: str
    runs: int
    published_cycles: float
    simulated_cycles: int
    harness_cycles: int
    wait_states: int = 0
    simulated_board: str = ""

    @property
    def error_percent(self) -> float:
        """How much the simulator counts above (+) or below (-) the board."""
        simulated = (self.simulated_cycles + self.harness_cycles) / self.runs
        return 100 * (simulated / self.published_cycles - 1)


@dataclass(frozen=True)
class PublishedBoard:
    """The measurements of one core, and the board parameter they were simulated with."""

    core: str
    title: str
    load_after_store_cycles: int
    measurements: tuple[Measurement, ...]

    @property
    def error(self) -> ModelError:
        """Of what was measured on boards, without data read from flash."""
        return self.error_of("assembly", "compiled")

    def error_at(self, wait_states: int, board: str) -> ModelError | None:
        """Of what was measured at these wait states and simulated on this board."""
        found = [
            one
            for one in self.measurements
            if (one.wait_states, one.simulated_board) == (wait_states, board)
        ]
        return _error(found) if wait_states and found else None

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that have measurements, in order."""
        return tuple(dict.fromkeys(one.group for one in self.measurements))

    def error_of(self, *groups: str) -> ModelError:
        """Mean and worst error of the measurements of these groups."""
        return _error([one for one in self.measurements if one.group in groups])


def _error(measurements: Sequence[Measurement]) -> ModelError:
    errors = [abs(one.error_percent) for one in measurements]
    return ModelError(sum(errors) / len(errors), max(errors), len(errors))


@cache
def published_boards() -> dict[str, PublishedBoard]:
    """By the name of the core; cores without a published measurement are absent."""
    boards = {}
    for path in sorted(_FOLDER.glob("*.toml")):
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
        measurements = tuple(Measurement(**entry) for entry in facts.pop("measurement"))
        boards[facts["core"]] = PublishedBoard(measurements=measurements, **facts)
    return boards


def stated_errors() -> dict[str, ModelError]:
    """What records state, by the core and, at wait states, the board."""
    found = {}
    for core, board in published_boards().items():
        found[f"{core}, 0 wait states"] = board.error
        for one in board.measurements:
            error = board.error_at(one.wait_states, one.simulated_board)
            if error is not None:
                waits = f"{one.wait_states} wait state{'' if one.wait_states == 1 else 's'}"
                found[f"{core}, {waits} on {one.simulated_board}"] = error
    return found


def model_error(
    core_name: str, store_penalty_cycles: int, wait_states: int = 0, board_name: str = ""
) -> ModelError | None:
    """Error of a core's cycle rules, at wait states on one board of the package; None where this
    combination of core and board was not validated.

    The M4F is the M4 with an FPU: its integer rules are the M4's.
    """
    board = published_boards().get("cortex-m4" if core_name == "cortex-m4f" else core_name)
    if board is None or board.load_after_store_cycles != store_penalty_cycles:
        return None
    if wait_states:
        return board.error_at(wait_states, board_name)
    return board.error
