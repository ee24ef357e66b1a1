"""A data set as arrays, whatever files it came from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images uint8 (N, C, H, W) and labels int64 (N,) in 0..classes-1, split in two."""

    name: str
    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]
    classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.x_train.shape[1:]
        return (channels, height, width)

    def hold_out(self, part: float) -> tuple[Dataset, NDArray[np.uint8], NDArray[np.int64]]:
        """The data set without `part` (0 to 0.5) of its training samples, and these, evenly spread.

        Fixed by position, so that no random generator's version matters.
        """
        position = np.arange(len(self.x_train) + 1)
        held = np.diff(np.floor(position * part)) > 0
        rest = replace(self, x_train=self.x_train[~held], y_train=self.y_train[~held])
        return rest, self.x_train[held], self.y_train[held]
