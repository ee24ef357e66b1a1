"""The search itself: draw, assess, train a little, train the best more, finish the front."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebnn.architecture import Architecture
from ebnn.search import tasks
from ebnn.search.candidate import Candidate, promoted
from ebnn.search.finals import Final, finish
from ebnn.search.history import History, open_history
from ebnn.search.interrupts import interrupts_noted
from ebnn.search.request import Request
from ebnn.search.smallest import check_feasible
from ebnn.sim.errors import UserError
from ebnn.workers import WorkerPool, result_of

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class State:
    """What can be told at any moment. `stage` says what is being done."""

    request: Request
    candidates: tuple[Candidate, ...]
    finals: tuple[Final, ...]
    seconds: float
    stage: str
    running: tuple[str, ...] = ()


OnState = Callable[[State], None]


class _Clock:
    def __init__(self, history: History, budget_seconds: float | None) -> None:
        self._before, self._began = history.seconds_used, time.monotonic()
        self._budget = budget_seconds

    @property
    def used(self) -> float:
        return self._before + time.monotonic() - self._began

    def has(self, seconds: float) -> bool:
        return self._budget is None or self.used + seconds <= self._budget


def search(
    request: Request,
    storage: Path,
    folder: Path,
    pool: WorkerPool,
    on_state: OnState = lambda state: None,
) -> State:
    """Search, or go on with the search in `storage`; the front's networks come to `folder`.

    Raises `NoNetworkFits` where the space has nothing for the limits, and `UserError` where
    `storage` is of another search.
    """
    seed = request.plan.settings.seed
    with (
        interrupts_noted() as check,
        open_history(storage, request.space, request.asked(), seed, request.uses_paper) as history,
    ):
        clock = _Clock(history, request.plan.budget_seconds)

        def tell(stage: str, running: tuple[str, ...] = (), finals: tuple[Final, ...] = ()) -> None:
            check()
            history.spend(clock.used)
            candidates = tuple(history.candidates.values())
            on_state(State(request, candidates, finals, clock.used, stage, running))

        tell("looking whether anything fits")
        if not history.candidates:
            fitting = check_feasible(request.space, request.board, request.limits, pool)
            history.begin(fitting)
        dataset = pool.share(request.dataset)
        _Explorer(request, history, pool, dataset, clock).run(
            lambda running: tell("searching", running)
        )
        finals = finish(
            request, history, pool, dataset, folder, lambda stage, running: tell(stage, running)
        )
        tell("done", finals=finals)
        candidates = tuple(history.candidates.values())
        return State(request, candidates, finals, clock.used, "done")


@dataclass(frozen=True)
class _Job:
    """One candidate on its way to a rung; to the first one it is assessed too."""

    number: int
    architecture: Architecture
    rung: int
    began: float

    def __str__(self) -> str:
        doing = "train on rung" if self.rung else "assess, and train on rung"
        return f"{self.number}: {doing} {self.rung + 1}: {self.architecture}"


class _Explorer:
    """Keeps every worker busy until the trials or the time are used up."""

    def __init__(
        self, request: Request, history: History, pool: WorkerPool, dataset: Any, clock: _Clock
    ) -> None:
        self._request, self._plan, self._history = request, request.plan, history
        self._pool, self._dataset, self._clock = pool, dataset, clock
        self._running: dict[Future[Any], _Job] = {}
        self._first_seconds: list[float] = []  # that first rungs took, assessment included
        self._exhausted = False

    def run(self, on_change: Callable[[tuple[str, ...]], None]) -> None:
        while True:
            while len(self._running) < self._pool.count and (job := self._next()):
                self._running[self._submit(job)] = job
            on_change(tuple(str(job) for job in self._running.values()))
            if not self._running:
                return
            done, _ = wait(self._running, _POLL_SECONDS, FIRST_COMPLETED)
            for future in sorted(done, key=lambda one: self._running[one].number):
                self._take(self._running.pop(future), future)

    def _next(self) -> _Job | None:
        """The highest climb that is due and can be afforded, or else a new candidate."""
        now = time.monotonic()
        candidates = list(self._history.candidates.values())
        busy = {job.number for job in self._running.values()}
        kept = self._plan.final_seconds(candidates)
        for rung in reversed(range(len(self._plan.rung_epochs) - 1)):
            for one in promoted(candidates, rung, busy):
                seconds = one.epoch_seconds * self._plan.rung_epochs[rung + 1]
                if self._clock.has(kept + seconds):
                    return _Job(one.number, one.architecture, rung + 1, now)
        trials = self._request.trials
        wanted = trials is None or self._history.proposed < trials
        if self._exhausted or not (wanted or self._history.unfinished):
            return None
        if not self._clock.has(kept + statistics.median(self._first_seconds or [0.0])):
            return None
        drawn = self._history.ask()
        if drawn is None:
            self._exhausted = True
            return None
        return _Job(*drawn, 0, now)

    def _submit(self, job: _Job) -> Future[Any]:
        settings = self._plan.rung_settings(job.rung)
        if job.rung:
            return self._pool.submit(tasks.train_rung, self._dataset, job.architecture, settings)
        return self._pool.submit(
            tasks.evaluate,
            self._dataset,
            job.architecture,
            self._request.board,
            self._request.limits,
            settings,
        )

    def _take(self, job: _Job, future: Future[Any]) -> None:
        try:
            result = result_of(future)
        except UserError as error:
            raise UserError(f"candidate {job.number} ({job.architecture}): {error}") from error
        if job.rung:
            self._history.add_rung(job.number, result)
            return
        assessment, rung = result
        if rung is not None:
            self._first_seconds.append(time.monotonic() - job.began)
        self._history.tell(job.number, job.architecture, assessment, rung)
