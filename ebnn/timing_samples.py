"""Samples that would make a kernel take another time than usual, if its time depended on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import InputSpec


def timing_samples(spec: InputSpec, count: int, seed: int = 1) -> NDArray[np.uint8]:
    """uint8 (count, channels, height, width): flat ones, steps, stripes, a chequerboard, single
    pixels, ramps, sparse and dense noise, and noise of every value for the rest."""
    random = np.random.default_rng(seed)
    row, column = np.indices((spec.height, spec.width))
    plain = [np.full((spec.height, spec.width), value) for value in (0, 1, 127, 128, 254, 255)]
    left, top = column < spec.width // 2, row < spec.height // 2
    masks = [left, top, left ^ top, row % 2 == 0, column % 2 == 0, (row + column) % 2 == 0]
    masks += [(row == 0) & (column == 0), (row == spec.height - 1) & (column == spec.width - 1)]
    plain += [255 * mask for mask in masks] + [255 * ~mask for mask in masks]
    plain += [255 * row // max(1, spec.height - 1), 255 * column // max(1, spec.width - 1)]
    made = [np.broadcast_to(image, spec.sample_shape) for image in plain]
    for share in (0.01, 0.1, 0.9, 0.99):
        made.append(255 * (random.random(spec.sample_shape) < share))
    while len(made) < count:
        made.append(random.integers(0, 256, spec.sample_shape))
    return np.array(made[:count], dtype=np.uint8)
