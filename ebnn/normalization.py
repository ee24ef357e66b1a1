"""BatchNorm in eval mode, in one arithmetic for PyTorch, numpy and C.

Every stage computes the same float32 operations in the same order, each rounded once, so that all
of them agree to the last bit (library BatchNorms may fuse or reorder):

    scale = gamma / sqrt(variance + epsilon)
    y     = (x - mean) * scale + beta

A hidden block only needs sign(y), which is a comparison with one integer: `fold_threshold`.
The classifier head needs the y of all classes compared with each other: `head_grid` rounds its
affine map to integers so small that float32, int32 and numpy compute it exactly alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HEAD_SCORE_MAX = 1 << 23  # |multiplier * x + offset| stays below: exact in float32 and int32


@dataclass(frozen=True)
class BatchNorm:
    """Trained statistics and affine parameters, each float32 of shape (channels,)."""

    gamma: NDArray[np.float32]
    beta: NDArray[np.float32]
    mean: NDArray[np.float32]
    variance: NDArray[np.float32]
    epsilon: float = 1e-5

    def scale(self) -> NDArray[np.float32]:
        """gamma / sqrt(variance + epsilon), float32 (channels,), each operation rounded once."""
        deviation = np.sqrt(self.variance + np.float32(self.epsilon))
        return np.asarray(self.gamma / deviation, dtype=np.float32)

    def evaluate(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """BatchNorm of `x`, float32 (..., channels)."""
        return np.asarray((x - self.mean) * self.scale() + self.beta, dtype=np.float32)


@dataclass(frozen=True)
class Threshold:
    """sign(BN(x)) = +1 exactly where (x >= threshold) != flip; both of shape (channels,)."""

    threshold: NDArray[np.int32]
    flip: NDArray[np.bool_]


def fold_threshold(norm: BatchNorm, max_magnitude: int) -> Threshold:
    """Fold BatchNorm and sign into one integer comparison a channel.

    Evaluates BN at every integer in [-max_magnitude, max_magnitude], the values that can occur.
    BN is monotone there (each rounding is), falling where gamma < 0: then the comparison is
    flipped. Where the sign never changes, the threshold is -max_magnitude (x always reaches it).
    """
    x = np.arange(-max_magnitude, max_magnitude + 1, dtype=np.float32)
    channels = norm.gamma.shape[0]
    threshold = np.empty(channels, dtype=np.int32)
    flip = np.empty(channels, dtype=bool)
    scale = norm.scale()
    for channel in range(channels):
        positive = (x - norm.mean[channel]) * scale[channel] + norm.beta[channel] >= 0
        # The value at the lowest integer says which side of the threshold is the positive one.
        changes = np.flatnonzero(positive != positive[0])
        if changes.size == 0:
            threshold[channel], flip[channel] = -max_magnitude, not positive[0]
        else:
            threshold[channel], flip[channel] = int(x[changes[0]]), bool(positive[0])
    return Threshold(threshold, flip)


@dataclass(frozen=True)
class HeadGrid:
    """Scores on an integer grid: score = multiplier * x + offset, in units of 2**-shift."""

    multiplier: NDArray[np.int32]
    offset: NDArray[np.int32]
    shift: int


def head_grid(norm: BatchNorm, max_magnitude: int) -> HeadGrid:
    """Round the head's BatchNorm to the finest grid on which every score is exact.

    `max_magnitude` bounds |x|. All scores share the unit 2**-shift, so argmax needs no scaling.
    The rounding is part of the head's definition in eval mode, in PyTorch too.
    """
    scale = norm.scale().astype(np.float64)
    offset = norm.beta.astype(np.float64) - norm.mean.astype(np.float64) * scale
    largest = float(np.max(np.abs(scale) * max_magnitude + np.abs(offset)))
    # Rounding adds at most half a unit to each factor, hence the room left for it.
    room = HEAD_SCORE_MAX - max_magnitude - 1
    shift = 0 if largest == 0 else int(np.floor(np.log2(room / largest)))
    unit = np.ldexp(1.0, shift)
    return HeadGrid(
        np.rint(scale * unit).astype(np.int32), np.rint(offset * unit).astype(np.int32), shift
    )
