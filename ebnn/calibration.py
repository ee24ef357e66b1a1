"""Fits a board's few parameters to what boards measured, and refuses where that cannot be done.

The images are simulated with candidate values, all of them discrete: every combination of the
switches and the store penalty, and for each the wait states by halving, because cycles grow with
them. What fits best has the least mean square of the relative errors. No random numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ebnn.board_parameters import NEEDS_WAIT_STATES, FittedBoard, Parameters
from ebnn.calibration_runs import Figure, Runs, same_as
from ebnn.record_file import Record
from ebnn.sim.errors import UserError

STORE_PENALTIES = (0, 1, 2)
LEAST_LARGEST_WAIT_STATES = 16
"""Wait states are searched below this, or below four times what the board describes."""
_FLOOR = 2e-4  # of an error: a counter's own reading is not told apart below
# A candidate is worse only where the likelihood ratio says so with 95 % (chi-squared, 1 degree).
_TELLING_RATIO = 3.84


@dataclass(frozen=True)
class Errors:
    """Of figures, in percent without their signs."""

    mean_percent: float
    worst_percent: float

    @staticmethod
    def of(errors: Sequence[float]) -> Errors:
        """Of relative errors."""
        sizes = [100 * abs(error) for error in errors]
        return Errors(sum(sizes) / len(sizes), max(sizes))


@dataclass(frozen=True)
class LeftOut:
    """A record left out: what the others chose, and the error of that on its figures."""

    record: str
    chosen: Parameters
    errors: tuple[float, ...]


@dataclass(frozen=True)
class Calibration:
    """What was fitted to which records.

    `unsettled` are parameters that change nothing with the fitted ones, and stay as they were;
    `simulated` is the number of combinations that ran.
    """

    board: str
    records: tuple[str, ...]
    fitted: tuple[str, ...]
    unsettled: tuple[str, ...]
    before: Parameters
    after: Parameters
    figures: tuple[Figure, ...]
    cycles_before: tuple[float, ...]
    cycles_after: tuple[float, ...]
    left_out: tuple[LeftOut, ...]
    simulated: int

    @property
    def errors_before(self) -> Errors:
        return Errors.of(_errors(self.figures, self.cycles_before))

    @property
    def errors_after(self) -> Errors:
        return Errors.of(_errors(self.figures, self.cycles_after))

    @property
    def errors_left_out(self) -> Errors:
        return Errors.of([error for one in self.left_out for error in one.errors])

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        both = zip(self.cycles_before, self.cycles_after, strict=True)
        return {
            "board": self.board,
            "records": list(self.records),
            "fitted": list(self.fitted),
            "unsettled": list(self.unsettled),
            "before": {**vars(self.before), **vars(self.errors_before)},
            "after": {**vars(self.after), **vars(self.errors_after)},
            "leave_one_out": {
                **vars(self.errors_left_out),
                "records": [
                    {
                        "record": one.record,
                        **vars(one.chosen),
                        **vars(Errors.of(one.errors)),
                    }
                    for one in self.left_out
                ],
            },
            "figures": [
                {
                    "record": self.records[figure.record],
                    "region": figure.region,
                    "measured_cycles": figure.measured_cycles,
                    "cycles_before": before,
                    "cycles_after": after,
                }
                for figure, (before, after) in zip(self.figures, both, strict=True)
            ],
            "simulated_combinations": self.simulated,
        }


def calibrate(
    board: FittedBoard, records: Sequence[Record], runs: Runs, names: Sequence[str]
) -> Calibration:
    """Fit the parameters `names` of `board` to `records`, whose images `runs` simulates.

    Raises:
        UserError: the records do not determine them; what the simulator raises.
    """
    before = board.parameters
    figures = runs.figures
    if len({record.elf_sha256 for record in records}) < 2:
        raise UserError(
            f"{', '.join(record.path for record in records)}: one ELF cannot determine a board's "
            "parameters: give records of two or more different ones"
        )
    if len(figures) <= len(names):
        raise UserError(
            f"{len(figures)} measured regions cannot determine {len(names)} parameters "
            f"({', '.join(names)}): give more records, or fewer parameters with --fit"
        )
    search = _Search(board, runs, names)
    after = search.best(range(len(figures)))
    unsettled = () if after.wait_states else tuple(n for n in names if n in NEEDS_WAIT_STATES)
    if unsettled:
        after = replace(after, prefetch=before.prefetch, cache=before.cache)
    for name in names:
        if name not in unsettled:
            search.refuse_undetermined(name, after)
    left_out = []
    for index, record in enumerate(records):
        others = [at for at, figure in enumerate(figures) if figure.record != index]
        chosen = search.best(others)
        mine = set(range(len(figures))) - set(others)
        errors = _errors(figures, runs.cycles(chosen))
        left_out.append(LeftOut(record.path, chosen, tuple(errors[at] for at in sorted(mine))))
    found = Calibration(
        board=board.board.name,
        records=tuple(record.path for record in records),
        fitted=tuple(names),
        unsettled=unsettled,
        before=before,
        after=after,
        figures=figures,
        cycles_before=runs.cycles(before),
        cycles_after=runs.cycles(after),
        left_out=tuple(left_out),
        simulated=len(runs.parameters),
    )
    if same_as(after) != same_as(before):
        refuse_worse(found)
    return found


def refuse_worse(found: Calibration) -> None:
    """Raise `UserError` where the fit serves a record that it has not seen worse than none."""
    left_out, before = found.errors_left_out.mean_percent, found.errors_before.mean_percent
    if left_out > before:
        raise UserError(
            f"the records do not agree on {', '.join(found.fitted)}: fitted to all but one, the "
            f"mean error of the one left out is {left_out:.2f} %, more than the {before:.2f} % "
            "without fitting: give more records, or fewer parameters with --fit"
        )


class _Search:
    def __init__(self, board: FittedBoard, runs: Runs, names: Sequence[str]) -> None:
        self._runs = runs
        self._names = names
        self._own = own = board.parameters
        self._largest = max(LEAST_LARGEST_WAIT_STATES, 4 * own.wait_states)
        self._switches = [
            replace(own, prefetch=prefetch, cache=cache, store_penalty_cycles=penalty)
            for prefetch, cache, penalty in itertools.product(
                self._choices("prefetch", (False, True)),
                self._choices("cache", (False, True)),
                self._choices("store_penalty_cycles", STORE_PENALTIES),
            )
        ]

    def _choices(self, name: str, values: Sequence[Any]) -> Sequence[Any]:
        return values if name in self._names else (getattr(self._own, name),)

    def best(self, kept: Sequence[int]) -> Parameters:
        """What fits the figures at the indexes `kept` best; of equals the smallest."""
        candidates = {
            candidate for switches in self._switches for candidate in self._near(switches, kept)
        }
        return min(candidates, key=lambda one: (self._misfit(one, kept), same_as(one), one))

    def _near(self, switches: Parameters, kept: Sequence[int]) -> list[Parameters]:
        """`switches` with the wait states that fit best, and their neighbours."""
        if "wait_states" not in self._names:
            return [switches]
        low, high = 0, self._largest  # the first number that counts too much lies in between
        while low < high:
            middle = (low + high) // 2
            if self._mean_error(replace(switches, wait_states=middle), kept) < 0:
                low = middle + 1
            else:
                high = middle
        around = range(max(low - 2, 0), min(low + 1, self._largest) + 1)
        return [replace(switches, wait_states=number) for number in around]

    def _relative_errors(self, candidate: Parameters, kept: Sequence[int]) -> list[float]:
        errors = _errors(self._runs.figures, self._runs.cycles(candidate))
        return [errors[at] for at in kept]

    def _mean_error(self, candidate: Parameters, kept: Sequence[int]) -> float:
        return math.fsum(self._relative_errors(candidate, kept)) / len(kept)

    def _misfit(self, candidate: Parameters, kept: Sequence[int]) -> float:
        """Mean square of the relative errors."""
        return math.fsum(e * e for e in self._relative_errors(candidate, kept)) / len(kept)

    def refuse_undetermined(self, name: str, best: Parameters) -> None:
        """Raise `UserError` where another value of `name` fits as well as `best` does."""
        best = same_as(best)
        other_values: dict[str, tuple[Any, ...]] = {
            "wait_states": (self._largest + 1,),
            "prefetch": (False, True),
            "cache": (False, True),
            "store_penalty_cycles": STORE_PENALTIES,
        }
        cycles = self._runs.cycles(best)
        changed = [replace(best, **{name: value}) for value in other_values[name]]
        if all(self._runs.cycles(one) == cycles for one in changed):
            raise UserError(
                f"{name}: no measured region's cycles change with it: give records whose code "
                f"does, or leave it out with --fit {self._without(name)}"
            )
        if name == "wait_states" and best.wait_states == self._largest:
            raise UserError(
                f"wait_states: {self._largest} and more fit best: the records are not of this "
                "board's flash"
            )
        kept = range(len(self._runs.figures))
        rivals = [
            one
            for one in self._runs.parameters
            if getattr(one, name) != getattr(best, name)
            and all(getattr(one, n) == getattr(self._own, n) for n in self._fixed(one))
        ]
        rival = min(rivals, key=lambda one: (self._misfit(one, kept), one))
        freedom = len(kept) - len(self._names)
        own, its = (self._misfit(one, kept) for one in (best, rival))
        if freedom * math.log((its + _FLOOR**2) / (own + _FLOOR**2)) <= _TELLING_RATIO:
            raise UserError(
                f"{name}: the records do not tell ({best}; off by {100 * math.sqrt(own):.2f} %) "
                f"from ({rival}; {100 * math.sqrt(its):.2f} %): give more records, or leave it "
                f"out with --fit {self._without(name)}"
            )

    def _fixed(self, one: Parameters) -> list[str]:
        """Parameters that are not fitted and have a meaning in `one`."""
        fixed = [n for n in vars(one) if n not in self._names]
        return fixed if one.wait_states else [n for n in fixed if n not in NEEDS_WAIT_STATES]

    def _without(self, name: str) -> str:
        return ",".join(one for one in self._names if one != name) or "..."


def _errors(figures: Sequence[Figure], cycles: Sequence[float]) -> list[float]:
    """Relative errors of the simulator, above zero where it counts more."""
    pairs = zip(figures, cycles, strict=True)
    return [simulated / figure.measured_cycles - 1 for figure, simulated in pairs]
