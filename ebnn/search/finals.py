"""The front's networks: trained in full on all training samples, verified in the emulator, kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ebnn import checkpoint, lowered
from ebnn.files import write_whole
from ebnn.lowered import lower
from ebnn.search.candidate import Candidate
from ebnn.search.footprint import Footprint, describe_excess, goals
from ebnn.search.request import Request
from ebnn.search.tasks import predict_test_split, train_in_full
from ebnn.sim.errors import UserError
from ebnn.training_log import read_log
from ebnn.training_settings import TrainingSettings
from ebnn.verification import EmulatedStage, verify
from ebnn.workers import WorkerPool, result_of

if TYPE_CHECKING:
    from ebnn.search.history import History

NETWORKS = "networks"
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Final:
    """A network of the front at its end. `folder` holds checkpoint, log, C, ELF and run record.

    `exact`: PyTorch, numpy, C here and C in the emulator agree on every test sample. `reason` says
    which limit does not hold with the trained weights, where one does not; `footprint` is None
    where that ended the run.
    """

    number: int
    folder: str
    settings: TrainingSettings
    correct: int
    total: int
    exact: bool
    footprint: Footprint | None
    reason: str | None = None

    @property
    def accuracy(self) -> float:
        return self.correct / self.total

    @property
    def passed(self) -> bool:
        return self.exact and self.reason is None


def finish(
    request: Request,
    history: History,
    pool: WorkerPool,
    shared: Any,
    folder: Path,
    on_stage: Callable[[str, tuple[str, ...]], None],
) -> tuple[Final, ...]:
    """Train and verify the front's networks; what was done before is not done again.

    `shared` is the data set as `pool.share` gives it. Validation has decided which networks; the
    test split is looked at once for each.
    """
    plan = request.plan
    networks = plan.final_networks(list(history.candidates.values()))
    settings = {
        one.number: replace(plan.settings, epochs=plan.final_epochs(one), validation=0.0)
        for one in networks
    }
    finals = {}
    for one in networks:
        kept = history.final(one.number)
        if kept is not None and _model(folder, one).exists():
            finals[one.number] = _from_facts(kept)
    missing = [one for one in networks if one.number not in finals]
    _train(request, missing, settings, pool, shared, folder, on_stage)
    for position, one in enumerate(missing, 1):
        on_stage(f"verifying {position} of {len(missing)}", (str(one.architecture),))
        final = _verified(request, one, settings[one.number], folder, pool, shared)
        history.set_final(one.number, asdict(final))
        finals[one.number] = final
    return tuple(finals[one.number] for one in networks)


def _model(folder: Path, one: Candidate) -> Path:
    return folder / NETWORKS / f"{one.number:03}" / "model.safetensors"


def _train(
    request: Request,
    networks: Sequence[Candidate],
    settings: Mapping[int, TrainingSettings],
    pool: WorkerPool,
    shared: Any,
    folder: Path,
    on_stage: Callable[[str, tuple[str, ...]], None],
) -> None:
    """Train those that are not trained, and write their checkpoints and logs."""
    running = {
        pool.submit(
            train_in_full, shared, one.architecture, settings[one.number], request.command
        ): one
        for one in networks
        if not _is_trained(_model(folder, one), one, settings[one.number])
    }
    left = [str(one.architecture) for one in running.values()]
    while running:
        on_stage("training the front in full", tuple(left))
        done, _ = wait(running, _POLL_SECONDS, FIRST_COMPLETED)
        for future in done:
            one = running.pop(future)
            trained, model = result_of(future), _model(folder, one)
            write_whole(model, trained.checkpoint)
            write_whole(model.with_suffix(".jsonl"), trained.log)
            left.remove(str(one.architecture))


def _is_trained(model: Path, one: Candidate, settings: TrainingSettings) -> bool:
    log = model.with_suffix(".jsonl")
    if not (model.exists() and log.exists()):
        return False
    start = read_log(log).start
    wanted = {"architecture": str(one.architecture), **asdict(settings)}
    return all(start.get(name) == value for name, value in wanted.items())


def _from_facts(facts: Mapping[str, Any]) -> Final:
    taken = facts["footprint"]
    return Final(
        **{
            **facts,
            "settings": TrainingSettings(**facts["settings"]),
            "footprint": None if taken is None else Footprint(**taken),
        }
    )


def _verified(
    request: Request,
    one: Candidate,
    settings: TrainingSettings,
    folder: Path,
    pool: WorkerPool,
    shared: Any,
) -> Final:
    expected, board, dataset = one.assessment.footprint, request.board, request.dataset
    assert expected is not None
    model = _model(folder, one)
    predicted = result_of(pool.submit(predict_test_split, shared, model.read_bytes()))
    network = lower(checkpoint.load(model))
    lowered.save(network, model.with_suffix(".lowered"))
    final = Final(
        number=one.number,
        folder=str(model.parent.relative_to(folder)),
        settings=settings,
        correct=int((predicted == dataset.y_test).sum()),
        total=len(dataset.y_test),
        exact=False,
        footprint=None,
    )
    (goal,) = [
        goal for goal in goals(board, request.limits) if goal.objective == expected.objective
    ]
    try:
        found = verify(
            network,
            dataset.x_test,
            dataset.y_test,
            [board],
            model.parent,
            request.limits.ram_bytes,
            goal=goal,
            pool=pool,
        )
    except UserError as error:
        if error.exit_code == 2:
            raise
        return replace(final, reason=str(error))
    (emulated,) = found.emulated
    record = {**emulated.record, "lowering": {"name": "fast", "objective": goal.objective}}
    write_whole(model.with_name(f"{board.name}.json"), json.dumps(record, indent=2).encode())
    taken = _footprint(emulated, expected)
    return replace(
        final,
        exact=found.exact and bool(np.array_equal(predicted, found.stages[0].predictions)),
        footprint=taken,
        reason=describe_excess(taken, request.limits) or None,
    )


def _footprint(emulated: EmulatedStage, expected: Footprint) -> Footprint:
    memory = emulated.record["memory"]
    return replace(
        expected,
        ram_bytes=memory["ram"],
        flash_bytes=memory["flash"],
        paper_bytes=emulated.paper_bytes,
        cycles=round(emulated.latency_seconds * emulated.board.clock_hz),
        latency_seconds=emulated.latency_seconds,
    )
