"""Train with a live display, evaluate on the test split, and keep the checkpoint."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ebnn import checkpoint
from ebnn.architecture import Architecture
from ebnn.data import Dataset
from ebnn.training import TrainingProgress, TrainingSettings, predict, train


@dataclass(frozen=True)
class TrainingResult:
    """`predictions` int64 (N,) of the test split in eval mode, and how many are right."""

    architecture: str
    settings: TrainingSettings
    loss: float
    correct: int
    total: int
    predictions: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture,
            "settings": asdict(self.settings),
            "loss": self.loss,
            "accuracy": {"correct": self.correct, "total": self.total},
        }


class _Display:
    """A bar an epoch on a terminal; a line an epoch elsewhere. On stderr."""

    def __init__(self, settings: TrainingSettings) -> None:
        self._console = Console(stderr=True)
        self._epochs = settings.epochs
        self._bars = Progress(
            TextColumn("epoch {task.description}"),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.4f}  training accuracy {task.fields[right]:.2%}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self.loss = float("nan")

    def __enter__(self) -> _Display:
        self._bars.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._bars.stop()

    def __call__(self, progress: TrainingProgress) -> None:
        self.loss = progress.loss
        title = f"{progress.epoch + 1}/{self._epochs}"
        if progress.step == 1:
            self._task = self._bars.add_task(title, total=progress.steps, loss=0.0, right=0.0)
        assert self._task is not None
        self._bars.update(
            self._task, completed=progress.step, loss=progress.loss, right=progress.accuracy
        )
        if progress.step == progress.steps and not self._console.is_terminal:
            print(
                f"epoch {title}: loss {progress.loss:.4f},"
                f" training accuracy {progress.accuracy:.2%}",
                file=sys.stderr,
                flush=True,
            )


def train_and_save(
    architecture: Architecture,
    dataset: Dataset,
    settings: TrainingSettings,
    output: Path,
    keep_latent: bool = False,
) -> TrainingResult:
    """Train, write the checkpoint to `output`, and evaluate on the whole test split."""
    with _Display(settings) as display:
        network = train(architecture, dataset, settings, display)
    metadata = {"dataset": dataset.name}
    metadata.update({name: str(value) for name, value in asdict(settings).items()})
    checkpoint.save(network.to_checkpoint(metadata), output, keep_latent)
    predictions = predict(network, dataset.x_test)
    return TrainingResult(
        architecture=str(architecture),
        settings=settings,
        loss=display.loss,
        correct=int(np.sum(predictions == dataset.y_test)),
        total=len(predictions),
        predictions=predictions,
    )
