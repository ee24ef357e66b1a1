"""What training needs to go on where it was interrupted, and the teacher it may have: two files.

Both are safetensors, written whole, with what they were made from; other data or settings than
those are refused. Continuing gives the weights of uninterrupted training, bit for bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ebnn import tensor_files
from ebnn.architecture import Architecture
from ebnn.data import Dataset
from ebnn.sim.errors import UserError
from ebnn.teacher import CHANNELS, Teacher
from ebnn.training import Fit
from ebnn.training_settings import TrainingSettings

STATE_FORMAT = "ebnn-training-state-1"
TEACHER_FORMAT = "ebnn-teacher-1"
_STUDENT_ONLY = (
    "architecture", "input", "seed", "epochs", "learning_rate", "distillation", "temperature"
)  # fmt: skip

Made = dict[str, Any]


def made_from(architecture: Architecture, dataset: Dataset, settings: TrainingSettings) -> Made:
    """What decides the weights. `dataset` is what is trained on, without what is held out."""
    data = hashlib.sha256(dataset.x_train.tobytes() + dataset.y_train.tobytes()).hexdigest()
    facts = {
        "architecture": str(architecture),
        "input": asdict(architecture.input),
        "dataset": dataset.name,
        "samples' SHA-256": data,
        **asdict(settings),
    }
    return json.loads(json.dumps(facts))  # type: ignore[no-any-return]


def save_state(path: Path, fit: Fit, made: Made, history: list[dict[str, Any]]) -> None:
    """Write `fit` after an epoch, with the log's lines of the epochs so far."""
    tensors = {f"network.{name}": value for name, value in fit.network.state_dict().items()}
    for index, parameter in enumerate(fit.network.parameters()):
        for name, value in fit.optimizer.state[parameter].items():
            tensors[f"adam.{index}.{name}"] = value
    metadata = {
        "format": STATE_FORMAT,
        "made_from": json.dumps(made),
        "epochs_done": str(fit.epochs_done),
        "history": json.dumps(history),
    }
    _write(path, tensors, metadata)


def restore_state(path: Path, fit: Fit, made: Made) -> list[dict[str, Any]]:
    """Put back what `save_state` wrote; returns the log's lines of the epochs so far.

    Raises `UserError` where it was made from other data, settings or architecture, or is damaged.
    """
    tensors, metadata = _read(path, "training state", STATE_FORMAT, made)
    try:
        fit.network.load_state_dict(
            {name: _take(tensors, f"network.{name}") for name in fit.network.state_dict()}
        )
        for index, parameter in enumerate(fit.network.parameters()):
            fit.optimizer.state[parameter] = {
                "step": _take(tensors, f"adam.{index}.step").to(parameter.device),
                **{
                    name: torch.empty_like(parameter).copy_(_take(tensors, f"adam.{index}.{name}"))
                    for name in ("exp_avg", "exp_avg_sq")
                },
            }
        fit.epochs_done = int(metadata["epochs_done"])
        history: list[dict[str, Any]] = json.loads(metadata["history"])
    except (KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"training state {path} is damaged ({error}): remove it") from error
    return history


def teacher_made_from(made: Made) -> Made:
    """Of what decides a network's weights, what decides its teacher's: neither the network's
    architecture nor input nor seed, so that many networks learn from one teacher."""
    facts = {name: value for name, value in made.items() if name not in _STUDENT_ONLY}
    head = str(made["architecture"]).rsplit("-", 1)[-1]
    return {**facts, "classes": int(head), "channels": list(CHANNELS)}


def save_teacher(path: Path, teacher: Teacher, made: Made) -> None:
    metadata = {"format": TEACHER_FORMAT, "made_from": json.dumps(made)}
    _write(path, teacher.state_dict(), metadata)


def load_teacher(path: Path, architecture: Architecture, made: Made) -> Teacher:
    """The teacher in `path`, in eval mode. `UserError` where it was made from something else."""
    tensors, _ = _read(path, "teacher", TEACHER_FORMAT, made)
    teacher = Teacher(architecture)
    try:
        teacher.load_state_dict({name: _take(tensors, name) for name in teacher.state_dict()})
    except (KeyError, RuntimeError) as error:
        raise UserError(f"teacher {path} is damaged ({error}): remove it") from error
    teacher.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return teacher.to(made["device"]).eval()


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    arrays = {name: value.detach().cpu().contiguous().numpy() for name, value in tensors.items()}
    tensor_files.write(path, arrays, metadata)


def _read(
    path: Path, kind: str, file_format: str, made: Made
) -> tuple[tensor_files.Tensors, dict[str, str]]:
    tensors, metadata = tensor_files.read(path, kind, file_format, "ebnn train")
    try:
        found = json.loads(metadata["made_from"])
        for name in sorted(made.keys() | found.keys()):
            if made.get(name) != found.get(name):
                raise UserError(
                    f"{kind} {path} was made with {name} {found.get(name)}, not"
                    f" {made.get(name)}: give the same, or remove the file"
                )
    except (KeyError, ValueError, AttributeError) as error:
        raise UserError(f"{kind} {path} is damaged ({error}): remove it") from error
    return tensors, metadata


def _take(tensors: tensor_files.Tensors, name: str) -> Tensor:
    return torch.from_numpy(tensors[name].copy())
