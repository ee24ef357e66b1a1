"""The log of a training run: JSON lines, and its curves as an SVG. Needs no torch.

The first line (`event` start) has architecture, data set, settings, versions; one `epoch` line an
epoch has `loss` and `training_accuracy` (means over the epoch's samples as they were trained on),
`validation_accuracy` (of the samples held out, null without any) and `seconds`; the `end` line
has the last epoch's network on `validation` and `test`: `correct` of `total`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ebnn.files import write_whole
from ebnn.sim.errors import UserError


@dataclass
class TrainingLog:
    """Lines kept in `path`, which is written whole at each change."""

    path: Path
    start: dict[str, Any]
    epochs: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] | None = None

    def write(self) -> None:
        lines = [self.start, *self.epochs, *([] if self.end is None else [self.end])]
        write_whole(self.path, "".join(json.dumps(line) + "\n" for line in lines).encode())


def read_log(path: Path) -> TrainingLog:
    """Read a log. Raises `UserError` where it is missing or none."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        start = next(line for line in lines if line["event"] == "start")
        epochs = [line for line in lines if line["event"] == "epoch"]
        end = next((line for line in lines if line["event"] == "end"), None)
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise UserError(
            f"training log {path}: not one that `ebnn train` writes ({error})"
        ) from error
    return TrainingLog(path, start, epochs, end)


def epoch_line(
    epoch: int, loss: float, right: float, validation: float | None, seconds: float
) -> dict[str, Any]:
    """`epoch` from 1; accuracies from 0 to 1."""
    return {
        "event": "epoch",
        "epoch": epoch,
        "loss": loss,
        "training_accuracy": right,
        "validation_accuracy": validation,
        "seconds": round(seconds, 3),
    }


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and its standard error; no error (None) of a single value."""
    count = len(values)
    mean = sum(values) / count
    if count < 2:
        return mean, None
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    return mean, (variance / count) ** 0.5
