"""Samples on their way into a network: as integers for numpy, as bytes for `ebnn_infer`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import FLOAT_INPUT_MAX, InputSpec


def samples_of(x: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.generic]:
    """A data set's bytes (N, *spec.sample_shape) as a network takes them, (N, *spec.shape): float32
    from 0 to 1 for a `float` input; 0 and 255 where there are several thresholds."""
    if spec.kind == "float":
        return np.asarray(x.astype(np.float32) / np.float32(255), dtype=np.float32)
    if spec.thresholds != (128,):
        planes = [np.where(x >= threshold, 255, 0) for threshold in spec.thresholds]
        return np.concatenate(planes, axis=1).astype(np.uint8)
    return x


def prepare_input(x: NDArray[np.generic], spec: InputSpec) -> NDArray[np.float32]:
    """The integers that enter the first sum, as float32 of x's shape.

    `x` is uint8 for the kinds `uint8` and `bits`, and floating for `float`.
    """
    if spec.kind == "bits":
        return np.where(np.asarray(x) >= 128, 1, -1).astype(np.float32)
    values = np.asarray(x, dtype=np.float32)
    if spec.kind == "float":
        scaled = values * np.float32(2.0**spec.fraction_bits)
        # The comparison sends NaN to the lower end, as the C does.
        clipped = np.where(scaled > -FLOAT_INPUT_MAX, scaled, np.float32(-FLOAT_INPUT_MAX))
        return np.rint(np.minimum(clipped, FLOAT_INPUT_MAX)).astype(np.float32)
    return values


def input_elements(spec: InputSpec) -> int:
    """Elements of the C array that holds one input; of 32 bits each where it is bits."""
    values = int(np.prod(spec.shape))
    return -(-values // 32) if spec.kind == "bits" else values


def input_bytes(spec: InputSpec) -> int:
    """Bytes of the C array that holds one input."""
    return input_elements(spec) * {"uint8": 1, "float": 4, "bits": 4}[spec.kind]


def encode_input(x: NDArray[np.generic], spec: InputSpec) -> NDArray[np.uint8]:
    """What `ebnn_infer` reads, uint8 (N, input_bytes), of samples (N, channels, height, width)."""
    flat = np.ascontiguousarray(x).reshape(len(x), -1)
    if spec.kind == "uint8":
        return flat.astype(np.uint8)
    if spec.kind == "float":
        return flat.astype("<f4").view(np.uint8)
    bits = np.zeros((len(flat), 8 * input_bytes(spec)), dtype=bool)
    bits[:, : flat.shape[1]] = flat >= 128
    return np.packbits(bits, axis=1, bitorder="little")
