"""How long to train: the rungs, the full training, and what of the time that is kept for.

`--budget` is for all of it. What the front's networks will take, training, building and emulating
every test sample, is told from what their epochs and one emulated inference took; when only that
much time is left, the search stops drawing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ebnn.data import Dataset
from ebnn.search.candidate import REDUCTION, Candidate, front
from ebnn.training_settings import TrainingSettings

EPOCHS = 25
_RUNGS = 3
_LEAST_STEPS = 300  # of the first rung: a small data set's epoch is too short to tell anything
_MOST_UNITS = 20
FINALISTS = 4
_FINAL_SHARE = 0.5  # of the budget, at most
_FIXED_SECONDS = 10.0  # of a finalist: emitting, compilers, the numpy reference
# An epoch of the full training against one of a rung: a ninth more samples, and a fifth more time
# for changed images in 60 % of them (1.19 of two networks, measured).
_FULL_EPOCH = 1.25


@dataclass(frozen=True)
class Plan:
    """`settings` are of the full training; `budget_seconds` None is as long as the trials take."""

    settings: TrainingSettings
    validation: float
    workers: int
    budget_seconds: float | None
    test_samples: int
    finalists: int = FINALISTS

    @property
    def rung_epochs(self) -> tuple[int, ...]:
        """Epochs of each rung: 1, 3, 9 where the full training has 25."""
        full = self.settings.epochs
        steps = [full * REDUCTION**rung / EPOCHS for rung in range(_RUNGS)]
        return tuple(sorted({max(1, round(epochs)) for epochs in steps}))

    def rung_settings(self, rung: int) -> TrainingSettings:
        """Without changed images, which only slow short trainings down."""
        return replace(
            self.settings,
            epochs=self.rung_epochs[rung],
            validation=self.validation,
            rotation_degrees=0.0,
            scale_percent=0.0,
            shift_pixels=0.0,
        )

    def final_epochs(self, one: Candidate) -> int:
        """Those of the settings, or as many as half of the budget allows."""
        epochs = self.settings.epochs
        if self.budget_seconds is None:
            return epochs
        # As many as there are workers train at the same time, and are then verified in turn.
        together = min(self.workers, self.finalists)
        seconds = _FINAL_SHARE * self.budget_seconds - _FIXED_SECONDS
        seconds -= together * self._verified_seconds(one)
        return max(1, min(epochs, math.floor(seconds / (_FULL_EPOCH * one.epoch_seconds))))

    def final_networks(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The front's most accurate networks, as many as half of the budget lasts for; at least
        one, where there is any."""
        found = front(candidates)[: self.finalists]
        while (
            self.budget_seconds is not None
            and len(found) > 1
            and self._seconds(found) > _FINAL_SHARE * self.budget_seconds
        ):
            found.pop()
        return found

    def final_seconds(self, candidates: Sequence[Candidate]) -> float:
        """What the full training and verification of the front's networks will take."""
        return self._seconds(self.final_networks(candidates))

    def _seconds(self, networks: Sequence[Candidate]) -> float:
        training = [
            self.final_epochs(one) * _FULL_EPOCH * one.epoch_seconds + _FIXED_SECONDS
            for one in networks
        ]
        if not training:
            return 0.0
        # One at a time to whichever worker is free first.
        free = [0.0] * self.workers
        for seconds in training:
            free[free.index(min(free))] += seconds
        return max(free) + sum(self._verified_seconds(one) for one in networks)

    def _verified_seconds(self, one: Candidate) -> float:
        assert one.assessment.footprint is not None
        emulated = self.test_samples * one.assessment.footprint.host_seconds
        return emulated / self.workers + _FIXED_SECONDS


def default_epochs(dataset: Dataset, batch_samples: int) -> int:
    """25 on MNIST; more on a small data set, whose epochs have few steps."""
    steps = max(1, len(dataset.x_train) // batch_samples)
    return EPOCHS * min(_MOST_UNITS, max(1, round(_LEAST_STEPS / steps)))


def default_shift_pixels(dataset: Dataset) -> float:
    """2 on MNIST's 28 pixels, as much of any other image; none of a signal."""
    return round(min(dataset.shape[1:]) / 14, 2) if is_image(dataset) else 0.0


def is_image(dataset: Dataset) -> bool:
    """Whether samples are large enough, both ways, to be turned, scaled and moved."""
    return min(dataset.shape[1:]) >= 8
