"""What a search gives to its workers: plain functions of plain values."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebnn import checkpoint
from ebnn.architecture import Architecture
from ebnn.data import Dataset
from ebnn.search.candidate import Rung
from ebnn.search.footprint import Assessment, Limits, assess
from ebnn.sim.board import Board
from ebnn.training_settings import TrainingSettings


@dataclass(frozen=True)
class Trained:
    """What is in the files that `ebnn train` writes."""

    checkpoint: bytes
    log: bytes


def evaluate(
    dataset: Dataset,
    architecture: Architecture,
    board: Board,
    limits: Limits,
    settings: TrainingSettings,
) -> tuple[Assessment, Rung | None]:
    """What a network takes, and, only where that is allowed, its first rung."""
    found = assess(architecture, board, limits)
    return found, train_rung(dataset, architecture, settings) if found.fits else None


def train_rung(dataset: Dataset, architecture: Architecture, settings: TrainingSettings) -> Rung:
    """Train on what `settings` do not hold out, and count what is right of the rest: nothing, where
    training diverges."""
    from ebnn.training import Diverged, predict, train

    training, x, labels = dataset.hold_out(settings.validation)
    began = time.perf_counter()
    try:
        network = train(architecture, training, settings)
    except Diverged:
        return Rung(settings.epochs, 0, len(labels), time.perf_counter() - began)
    seconds = time.perf_counter() - began
    correct = int((predict(network, x) == labels).sum())
    return Rung(settings.epochs, correct, len(labels), seconds)


def predict_test_split(dataset: Dataset, trained: bytes) -> NDArray[np.int64]:
    """PyTorch's classes (N,) of the test split, by the checkpoint `trained`."""
    from ebnn.network import from_checkpoint
    from ebnn.training import predict

    with tempfile.TemporaryDirectory(prefix="ebnn-predict-") as folder:
        path = Path(folder) / "network.safetensors"
        path.write_bytes(trained)
        return predict(from_checkpoint(checkpoint.load(path)), dataset.x_test)


def train_in_full(
    dataset: Dataset, architecture: Architecture, settings: TrainingSettings, command: str
) -> Trained:
    """Train as `ebnn train` does, which looks at the test split once, at the end."""
    from ebnn.training_session import SessionOptions, log_path, train_and_save

    with tempfile.TemporaryDirectory(prefix="ebnn-train-") as folder:
        output = Path(folder) / "network.safetensors"
        options = SessionOptions(command=command, quiet=True)
        train_and_save(architecture, dataset, settings, output, options)
        return Trained(output.read_bytes(), log_path(output).read_bytes())
