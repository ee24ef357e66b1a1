"""What decides a network's weights, besides the data and the architecture. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from ebnn.sim.errors import UserError


@dataclass(frozen=True)
class TrainingSettings:
    """A recipe's figures; the defaults are a plain recipe that suits most networks.

    `threads` counts too, because each sums its share of a gradient. With one, the weights don't
    depend on how many cores a machine has, nor the time on what else runs there: on busy cores
    two threads wait for each other at every step, and an epoch takes several times as long.
    """

    epochs: int = 10
    seed: int = 0
    learning_rate: float = 5e-3
    """Adam's at the start, from where it falls along a cosine to 0."""
    batch_samples: int = 64
    threads: int = 1
    validation: float = 0.1
    """Part of the training split, 0 to 0.5, that is held out of training to decide by."""
    rotation_degrees: float = 0.0
    """Training images are turned by up to as much, either way, differently in each epoch ..."""
    scale_percent: float = 0.0
    """... and made larger or smaller by up to as much ..."""
    shift_pixels: float = 0.0
    """... and moved by up to as much, right or left and up or down."""
    clean: float = 0.4
    """Part of the epochs, 0 to 1, the last ones, that see the images as they are."""
    distillation: float = 0.0
    """Weight, 0 to 1, of the teacher's scores in the loss; the labels have the rest."""
    temperature: float = 4.0
    """By which both networks' scores are divided where they are compared."""
    teacher_epochs: int = 12
    device: str = "cpu"
    """`cpu` or `cuda`; the weights depend on it."""

    @property
    def augments(self) -> bool:
        return max(self.rotation_degrees, self.scale_percent, self.shift_pixels) > 0

    @property
    def augmented_epochs(self) -> int:
        """The first epochs, of changed images."""
        return round(self.epochs * (1 - self.clean)) if self.augments else 0


# Lowest and highest value of each figure, and what must not be reached.
_RANGES: Mapping[str, tuple[float, float]] = {
    "epochs": (1, 10**6),
    "seed": (-(2**63), 2**63 - 1),
    "batch_samples": (2, 2**31 - 1),
    "threads": (1, 1024),
    "validation": (0, 0.5),
    "rotation_degrees": (0, 180),
    "scale_percent": (0, 90),
    "shift_pixels": (0, 1000),
    "clean": (0, 1),
    "distillation": (0, 1),
    "teacher_epochs": (1, 10**6),
}
_ABOVE_ZERO = ("learning_rate", "temperature")
DEVICES = ("cpu", "cuda")


def checked(settings: TrainingSettings, names: Mapping[str, str], where: str) -> TrainingSettings:
    """`settings`, if every figure is within its range.

    `UserError` says otherwise which is not, by its name in `names` or else its own, and `where`.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        name = f"{where}{names.get(field.name, field.name)} {value}"
        if field.name == "device":
            if value not in DEVICES:
                raise UserError(f"{name}: must be one of {', '.join(DEVICES)}")
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{name}: must be a number")
        if field.type == "int" and not isinstance(value, int):
            raise UserError(f"{name}: must be a whole number")
        if field.name in _ABOVE_ZERO:
            if not 0 < value < math.inf:
                raise UserError(f"{name}: must be more than 0")
            continue
        low, high = _RANGES[field.name]
        if not low <= value <= high:
            raise UserError(f"{name}: must be from {low} to {high}")
    return settings
