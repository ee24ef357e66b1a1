"""Train with a live display and a log, keep the checkpoint, and look at the test split once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ebnn import checkpoint
from ebnn.architecture import Architecture
from ebnn.data import Dataset
from ebnn.files import check_writable
from ebnn.network import BinaryNetwork, from_checkpoint
from ebnn.teacher import Teacher
from ebnn.training import Fit, predict, train, train_teacher
from ebnn.training_board import tensorboard
from ebnn.training_display import TrainingDisplay
from ebnn.training_log import TrainingLog, epoch_line, mean_and_error, read_log
from ebnn.training_settings import TrainingSettings
from ebnn.training_state import (
    Made,
    load_teacher,
    made_from,
    restore_state,
    save_state,
    save_teacher,
    teacher_made_from,
)


@dataclass(frozen=True)
class Score:
    """`correct` predictions of `total`."""

    correct: int
    total: int

    @property
    def accuracy(self) -> float:
        return self.correct / self.total


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """The last epoch's network in eval mode; `predictions` int64 (N,) of the test split."""

    output: Path
    architecture: str
    dataset: str
    settings: TrainingSettings
    loss: float
    validation: Score | None
    test: Score
    predictions: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        return {
            "checkpoint": str(self.output),
            "architecture": self.architecture,
            "dataset": self.dataset,
            "settings": asdict(self.settings),
            "loss": self.loss,
            "validation": None if self.validation is None else asdict(self.validation),
            "test": asdict(self.test),
        }


@dataclass(frozen=True)
class SessionOptions:
    """What does not change the weights: what to keep, and where."""

    keep_latent: bool = False
    resume: bool = False
    teacher: Path | None = None  # without one, teacher.safetensors beside the checkpoint
    tensorboard: Path | None = None
    command: str | None = None  # for the log
    quiet: bool = False  # shows nothing: several train at a time


def log_path(output: Path) -> Path:
    """Where the log of the checkpoint `output` is."""
    return output.with_suffix(".jsonl")


def state_path(output: Path) -> Path:
    """Where the state is, after each epoch, until the checkpoint `output` is written."""
    return output.with_suffix(".state")


def train_and_save(
    architecture: Architecture,
    dataset: Dataset,
    settings: TrainingSettings,
    output: Path,
    options: SessionOptions | None = None,
) -> TrainingResult:
    """Train on what is not held out, write the checkpoint to `output` and the log beside it.

    The test split is looked at once, after that. Raises `UserError` as `train` does, and where
    `options.resume` finds a state that was made with something else.
    """
    options = options or SessionOptions()
    for path in (output, log_path(output), state_path(output)):
        check_writable(path)
    training, x_held, y_held = dataset.hold_out(settings.validation)
    made = made_from(architecture, training, settings)
    log = _finished(output, made) if options.resume else None
    if log is not None:
        network = from_checkpoint(checkpoint.load(output))
    else:
        start = {
            "event": "start",
            "command": options.command,
            "training_samples": len(training.x_train),
            "validation_samples": len(x_held),
            "torch": torch.__version__,
            **made,
        }
        log = TrainingLog(log_path(output), start)
        network = _train(architecture, training, (x_held, y_held), settings, options, log, made)
        metadata = {"dataset": dataset.name}
        metadata.update({name: str(value) for name, value in asdict(settings).items()})
        checkpoint.save(network.to_checkpoint(metadata), output, options.keep_latent)
    validation = _score(network, x_held, y_held)
    predictions = predict(network, dataset.x_test)
    test = Score(int(np.sum(predictions == dataset.y_test)), len(predictions))
    log.end = {
        "event": "end",
        "validation": None if validation is None else asdict(validation),
        "test": asdict(test),
    }
    log.write()
    state_path(output).unlink(missing_ok=True)
    return TrainingResult(
        output=output,
        architecture=str(architecture),
        dataset=dataset.name,
        settings=settings,
        loss=float(log.epochs[-1]["loss"]),
        validation=validation,
        test=test,
        predictions=predictions,
    )


def _train(
    architecture: Architecture,
    training: Dataset,
    held: tuple[NDArray[np.uint8], NDArray[np.int64]],
    settings: TrainingSettings,
    options: SessionOptions,
    log: TrainingLog,
    made: Made,
) -> BinaryNetwork:
    """Train, from the last epoch on that the state beside the log's checkpoint has."""
    state = state_path(log.path)
    teacher = None
    if settings.distillation > 0:
        place = options.teacher or log.path.with_name("teacher.safetensors")
        teacher = _teacher(place, architecture, training, settings, made)
    with ExitStack() as stack:
        display = stack.enter_context(TrainingDisplay("epoch", settings.epochs, options.quiet))
        to_board = stack.enter_context(tensorboard(options.tensorboard))
        began = time.monotonic()

        def restore(fit: Fit) -> None:
            if options.resume and state.is_file():
                log.epochs = restore_state(state, fit, made)

        def after_epoch(fit: Fit) -> None:
            nonlocal began
            assert isinstance(fit.network, BinaryNetwork)
            score = _score(fit.network, *held)
            accuracy = None if score is None else score.accuracy
            seconds = time.monotonic() - began
            line = epoch_line(fit.epochs_done, display.loss, display.accuracy, accuracy, seconds)
            log.epochs.append(line)
            save_state(state, fit, made, log.epochs)
            log.write()
            display.end_epoch(accuracy)
            to_board(line)
            began = time.monotonic()

        return train(architecture, training, settings, display, teacher, restore, after_epoch)


def _finished(output: Path, made: Made) -> TrainingLog | None:
    """The log of `output` where that was trained to the end, with nothing else."""
    if not (output.is_file() and log_path(output).is_file()) or state_path(output).exists():
        return None
    log = read_log(log_path(output))
    same = all(log.start.get(name) == value for name, value in made.items())
    return log if same and log.end is not None else None


def _score(network: BinaryNetwork, x: NDArray[np.uint8], labels: NDArray[np.int64]) -> Score | None:
    """None without samples."""
    return Score(int((predict(network, x) == labels).sum()), len(labels)) if len(labels) else None


def train_seeds(
    architecture: Architecture,
    dataset: Dataset,
    settings: TrainingSettings,
    output: Path,
    seeds: int,
    options: SessionOptions | None = None,
) -> list[TrainingResult]:
    """`train_and_save` with each of `seeds` seeds from the settings' own on, one teacher for all.

    Of several, each checkpoint has its seed in its name: `my-seed0.safetensors`. With
    `options.resume`, a seed that was trained to the end is not trained again.
    """
    if seeds == 1:
        return [train_and_save(architecture, dataset, settings, output, options)]
    results = []
    for seed in range(settings.seed, settings.seed + seeds):
        own = output.with_name(f"{output.stem}-seed{seed}{output.suffix}")
        results.append(
            train_and_save(architecture, dataset, replace(settings, seed=seed), own, options)
        )
    return results


def summary(results: Sequence[TrainingResult]) -> Mapping[str, Any]:
    """Means over the seeds with their standard errors (null of one seed), accuracies 0 to 1."""
    test, test_error = mean_and_error([result.test.accuracy for result in results])
    held = [result.validation.accuracy for result in results if result.validation is not None]
    validation, validation_error = mean_and_error(held) if held else (None, None)
    return {
        "seeds": [result.settings.seed for result in results],
        "epochs": results[0].settings.epochs,
        "test": {"mean": test, "standard_error": test_error},
        "validation": {"mean": validation, "standard_error": validation_error},
        "networks": [result.to_dict() for result in results],
    }


def _teacher(
    path: Path,
    architecture: Architecture,
    training: Dataset,
    settings: TrainingSettings,
    made: Made,
) -> Teacher:
    """The teacher in `path`, which is trained first where there is none."""
    own = teacher_made_from(made)
    if not path.exists():
        check_writable(path)
        with TrainingDisplay("teacher's epoch", settings.teacher_epochs) as display:
            teacher = train_teacher(
                architecture,
                training,
                replace(settings, seed=0),
                display,
                lambda fit: display.end_epoch(None),
            )
        save_teacher(path, teacher, own)
    # Read back even if it was just made: the same layout in memory, the same bits.
    return load_teacher(path, architecture, own)
