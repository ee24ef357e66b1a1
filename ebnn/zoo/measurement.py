"""What a network of the zoo takes as firmware, in three builds on two cores.

The reference lowering's; fast kernels that keep the paper's figure, parameters and temporaries,
within the size in the network's name; and fast kernels without a bound, the quickest.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ebnn import checkpoint
from ebnn.data import Dataset
from ebnn.emitter.chooser import NothingFits
from ebnn.emitter.goal import Goal
from ebnn.files import write_whole
from ebnn.lowered import lower
from ebnn.sim.board import load_board
from ebnn.sim.core import MODEL_VERSION
from ebnn.sim.sizes import parse_size
from ebnn.verification import verify
from ebnn.workers import WorkerPool, worker_pool
from ebnn.zoo import ZooModel

BOARDS = ("generic-m4f", "generic-m0plus")
REFERENCE_SAMPLES = 5  # of 25 to 190 million cycles each


@dataclass(frozen=True)
class Build:
    """One build on one board, at 0 wait states: bytes, and cycles of an inference, as the run
    record has them. `paper_limit_bytes` is what its kernels were chosen to keep. Of the first
    `samples` of the test split `agreeing` predictions equal the numpy reference's."""

    lowering: str
    paper_limit_bytes: int | None
    optimize: str
    board: str
    paper_bytes: int
    ram_bytes: int
    flash_bytes: int
    cycles: int
    samples: int
    correct: int
    agreeing: int
    cycle_model: str = MODEL_VERSION


def limit_bytes(model: ZooModel) -> int:
    """The size in the name: 2 KiB of mnist-2k."""
    return parse_size(model.name.rsplit("-", 1)[1], model.name)


def measure(model: ZooModel, dataset: Dataset, samples: int | None = None) -> list[Build]:
    """All builds, with the fast ones on `samples` of the test split, or on all of it."""
    builds: list[Build] = []
    with worker_pool() as pool:
        for lowering, limit, optimize in (
            ("reference", None, "-O2"),  # 16 bytes of stack less than at -O3
            ("fast", None, "-O3"),
            ("fast", limit_bytes(model), "-O3"),
        ):
            count = REFERENCE_SAMPLES if lowering == "reference" else samples
            try:
                builds += _measure(model, dataset, lowering, limit, optimize, count, pool)
            except NothingFits:
                continue  # kernels for cycles do not get that small
    return builds


def _measure(
    model: ZooModel,
    dataset: Dataset,
    lowering: str,
    limit: int | None,
    optimize: str,
    samples: int | None,
    pool: WorkerPool,
) -> Iterator[Build]:
    boards = [load_board(name) for name in BOARDS]
    with tempfile.TemporaryDirectory(prefix="ebnn-zoo-") as folder:
        found = verify(
            lower(checkpoint.load(model.path)),
            dataset.x_test[:samples],
            dataset.y_test[:samples],
            boards,
            Path(folder),
            lowering=lowering,
            optimize=optimize,
            goal=Goal(paper_bytes=limit),
            pool=pool,
        )
    for one in found.emulated:
        yield Build(
            lowering,
            limit,
            optimize,
            one.board.name,
            one.paper_bytes,
            one.record["memory"]["ram"],
            one.record["memory"]["flash"],
            one.record["regions"]["ebnn_infer"]["cycles"]["max"],
            one.stage.total,
            one.stage.correct,
            one.stage.agreeing,
        )


def write(model: ZooModel, builds: list[Build]) -> None:
    """Keep `builds` beside the checkpoint."""
    text = json.dumps([asdict(build) for build in builds], indent=1) + "\n"
    write_whole(model.figures_path, text.encode())
