"""A search's memory: Optuna's study in an SQLite file, from which the same command goes on.

A candidate is a trial. It is told to Optuna with its first rung, which all that fit have in common;
its higher rungs stand in the study's attributes. A trial that a killed process left running keeps
its number and is run again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from ebnn.architecture import Architecture
from ebnn.files import check_writable
from ebnn.search.candidate import Candidate, Rung, front
from ebnn.search.footprint import Assessment, facts, from_facts
from ebnn.search.interrupts import interrupts_held
from ebnn.search.space import Params, Space
from ebnn.sim.errors import UserError

_STUDY = "ebnn-search"
_SEED_STEP = 1_000_003
_UNKNOWN = 2**32  # bytes and cycles of what was not even built
_NEIGHBOURS = 2 / 3  # of the draws
_PARENTS = 5  # the most accurate of the front
_DUPLICATES_MAX = 20  # draws in a row of what is known
_DRAWS_MAX = 300  # of them: then the space is taken to be used up


class History:
    """`candidates` are those that were assessed, by number. `asked` is what decides the outcome."""

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        asked: Mapping[str, Any],
        seed: int,
        uses_paper: bool,
    ) -> None:
        self._study, self._space, self._asked, self._seed = study, space, asked, seed
        self._memory = "paper_bytes" if uses_paper else "ram_bytes"
        self.candidates: dict[int, Candidate] = {}
        self._known: set[tuple[str, str]] = set()
        self._open: dict[int, optuna.Trial] = {}
        self._left: list[tuple[int, Architecture]] = []
        self._read()

    @interrupts_held()
    def begin(self, first: Params | None) -> None:
        """Claim the storage for this search, not before it is known that anything fits: `first`.
        The ladder is looked at first, and then what is known to fit."""
        if "asked" not in self._study.user_attrs:
            for params in [*self._space.ladder(), *([first] if first else [])]:
                self._study.enqueue_trial(dict(params), skip_if_exists=True)
            self._study.set_user_attr("asked", self._asked)

    @property
    @interrupts_held()
    def seconds_used(self) -> float:
        """By all processes that worked on this search."""
        return float(self._study.user_attrs.get("seconds", 0.0))

    @interrupts_held()
    def spend(self, seconds: float) -> None:
        """Remember how long the search has taken so far."""
        self._study.set_user_attr("seconds", round(seconds, 3))

    @property
    def proposed(self) -> int:
        """Candidates so far, the ones that are being evaluated included."""
        return len(self.candidates) + len(self._open) + len(self._left)

    @property
    def unfinished(self) -> int:
        """Candidates that a process which ended had drawn, and that `ask` gives out again."""
        return len(self._left)

    @interrupts_held()
    def ask(self) -> tuple[int, Architecture] | None:
        """The next candidate's number and network; None where the space is used up."""
        if self._left:
            number, architecture = self._left.pop(0)
            self._open[number] = self._trial(number)
            return number, architecture
        for attempt in range(_DRAWS_MAX):
            trial = self._draw(attempt)
            drawn = self._space.suggest(trial)
            if drawn is None or _key(drawn) in self._known:
                self._study.tell(trial, state=TrialState.FAIL)
                continue
            trial.set_user_attr("network", _key(drawn))
            self._known.add(_key(drawn))
            self._open[trial.number] = trial
            return trial.number, drawn
        return None

    def _draw(self, attempt: int) -> optuna.Trial:
        """What is queued; else, two times in three, a neighbour of the front, and the third time
        what Optuna's sampler chooses; anything, where `attempt` after attempt gave what is known.

        The sampler is one of its own for each trial: what is drawn depends on the seed and on the
        candidates before, not on whether the process was interrupted.
        """
        trials = self._study.get_trials(deepcopy=False)
        seed = (self._seed * _SEED_STEP + len(trials)) % 2**32
        queued = any(trial.state == TrialState.WAITING for trial in trials)
        random = np.random.default_rng(seed)
        parents = front(list(self.candidates.values()))[:_PARENTS]
        if attempt < _DUPLICATES_MAX:
            self._study.sampler = optuna.samplers.TPESampler(seed=seed)
            if parents and not queued and random.random() < _NEIGHBOURS:
                parent = parents[random.integers(len(parents))]
                params = trials[parent.number].params
                self._study.enqueue_trial(self._space.neighbour(params, random))
        else:
            self._study.sampler = optuna.samplers.RandomSampler(seed=seed)
        return self._study.ask()

    @interrupts_held()
    def tell(
        self, number: int, architecture: Architecture, found: Assessment, rung: Rung | None
    ) -> Candidate:
        """Keep what a candidate takes, and its first rung where it fits."""
        trial = self._open.pop(number)
        candidate = self._candidate(number, architecture, found, [rung] if rung else [])
        trial.set_user_attr("assessment", facts(found))
        trial.set_user_attr("rungs", [asdict(one) for one in candidate.rungs])
        for name, excess in found.excess.items():
            trial.set_constraint(name, excess)
        taken = found.footprint
        memory = _UNKNOWN if candidate.memory_bytes is None else candidate.memory_bytes
        cycles = _UNKNOWN if taken is None else taken.cycles
        self._study.tell(trial, (rung.accuracy if rung else 0.0, memory, cycles))
        self.candidates[number] = candidate
        return candidate

    @interrupts_held()
    def add_rung(self, number: int, rung: Rung) -> None:
        """Keep a further rung of a candidate."""
        candidate = self.candidates[number]
        candidate.rungs.append(rung)
        self._study.set_user_attr(f"rungs {number}", [asdict(one) for one in candidate.rungs])

    @interrupts_held()
    def final(self, number: int) -> dict[str, Any] | None:
        """What was kept of a candidate's full training."""
        found: dict[str, Any] | None = self._study.user_attrs.get(f"final {number}")
        return found

    @interrupts_held()
    def set_final(self, number: int, found: Mapping[str, Any]) -> None:
        self._study.set_user_attr(f"final {number}", dict(found))

    @interrupts_held()
    def _read(self) -> None:
        attributes = self._study.user_attrs
        for trial in self._study.get_trials(deepcopy=False):
            if "network" not in trial.user_attrs:
                if trial.state == TrialState.RUNNING:  # ended before it had a network
                    self._study.tell(trial.number, state=TrialState.FAIL)
                continue
            key = trial.user_attrs["network"]
            architecture = self._space.network(trial.params)
            assert architecture is not None and list(_key(architecture)) == list(key)
            self._known.add(_key(architecture))
            if trial.state == TrialState.RUNNING:
                self._left.append((trial.number, architecture))
            elif trial.state == TrialState.COMPLETE:
                lines = attributes.get(f"rungs {trial.number}", trial.user_attrs["rungs"])
                self.candidates[trial.number] = self._candidate(
                    trial.number,
                    architecture,
                    from_facts(trial.user_attrs["assessment"]),
                    [Rung(**line) for line in lines],
                )

    def _candidate(
        self, number: int, architecture: Architecture, found: Assessment, rungs: list[Rung]
    ) -> Candidate:
        taken = found.footprint
        memory = None if taken is None else int(getattr(taken, self._memory))
        return Candidate(number, architecture, found, memory, rungs)

    def _trial(self, number: int) -> optuna.Trial:
        frozen = self._study.get_trials(deepcopy=False)[number]
        return optuna.Trial(self._study, frozen._trial_id)


def _key(architecture: Architecture) -> tuple[str, str]:
    return (str(architecture.input), str(architecture))


@contextmanager
def open_history(
    path: Path, space: Space, asked: Mapping[str, Any], seed: int, uses_paper: bool
) -> Iterator[History]:
    """The search kept in `path`, which is made where it is missing.

    `asked`, JSON's types, is everything that decides what is found. Raises `UserError` where the
    file was made for something else, or another search is at work on it.
    """
    check_writable(path)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _locked(path):
        study = _study(path)
        wanted = json.loads(json.dumps(asked))
        with interrupts_held():
            known = study.user_attrs.get("asked", wanted)
        for name in sorted(known.keys() | wanted.keys()):
            if known.get(name) != wanted.get(name):
                raise UserError(
                    f"storage {path} is of a search with {name} {known.get(name)}, not"
                    f" {wanted.get(name)}: give the same, or another --storage"
                )
        yield History(study, space, wanted, seed, uses_paper)


@interrupts_held()
def _study(path: Path) -> optuna.Study:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{path.resolve()}")
        return optuna.create_study(
            storage=storage,
            study_name=_STUDY,
            directions=("maximize", "minimize", "minimize"),
            load_if_exists=True,
        )
    except (SQLAlchemyError, RuntimeError) as error:
        raise UserError(
            f"storage {path} is no SQLite file of Optuna's: give another --storage"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One search at a time; the lock goes with the process."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        yield
        return
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"storage {path}: another search is at work on it") from None
        yield
