"""The numpy integer reference: the golden predictions that every later stage must match.

Sums are taken by float32 matrix products: every partial sum is an integer below 2^24
(`ebnn.architecture` refuses more), so they are exact in whatever order they are added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import ConvPool
from ebnn.inputs import prepare_input
from ebnn.lowered import HiddenLayer, LoweredNetwork

_BATCH = 250  # samples at a time: bounds the memory of the unfolded windows


@dataclass(frozen=True)
class Evaluation:
    """`predictions` int64 (N,); `scores` int32 (N, classes); `activations`, one +-1 map int8
    (N, channels, height, width) for each hidden block, only where they were asked for."""

    predictions: NDArray[np.int64]
    scores: NDArray[np.int32]
    activations: tuple[NDArray[np.int8], ...]


def run(
    network: LoweredNetwork, x: NDArray[np.generic], keep_activations: bool = False
) -> Evaluation:
    """Run `x` (N, channels, height, width) through the integer network."""
    parts = [
        _run_batch(network, x[start : start + _BATCH], keep_activations)
        for start in range(0, max(len(x), 1), _BATCH)
    ]
    scores = np.concatenate([part[0] for part in parts])
    activations = tuple(np.concatenate(maps) for maps in zip(*(p[1] for p in parts), strict=True))
    return Evaluation(np.argmax(scores, axis=1), scores, activations)


def _run_batch(
    network: LoweredNetwork, x: NDArray[np.generic], keep_activations: bool
) -> tuple[NDArray[np.int32], list[NDArray[np.int8]]]:
    values = prepare_input(x, network.architecture.input)
    kept = []
    for layer in network.hidden:
        values = hidden_output(layer, values)
        if keep_activations:
            kept.append(values.astype(np.int8))
    head = network.head
    sums = values.reshape(len(values), -1) @ head.weight.astype(np.float32).T
    return sums.astype(np.int32) * head.multiplier + head.offset, kept


def hidden_output(layer: HiddenLayer, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """+-1 map float32 (N, *layer.out_shape) of a map of integers (N, *layer.in_shape)."""
    if isinstance(layer.block, ConvPool):
        sums = _max_pool(_convolve(values, layer.weight, layer.block), layer.block)
    else:
        flat = values.reshape(len(values), -1) @ layer.weight.astype(np.float32).T
        sums = flat[:, :, None, None]
    reached = sums.astype(np.int32) >= layer.threshold[:, None, None]
    return np.where(reached != layer.flip[:, None, None], 1, -1).astype(np.float32)


def _convolve(
    values: NDArray[np.float32], weight: NDArray[np.int8], block: ConvPool
) -> NDArray[np.float32]:
    pad = block.padding
    padded = np.pad(values, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    kernel = (block.kernel_height, block.kernel_width)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))
    windows = windows[:, :, :: block.stride, :: block.stride]
    samples, _, height, width = windows.shape[:4]
    positions, groups = samples * height * width, block.groups
    columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(positions, groups, -1)
    filters = weight.reshape(groups, len(weight) // groups, -1).astype(np.float32)
    sums = np.concatenate([columns[:, group] @ filters[group].T for group in range(groups)], axis=1)
    return sums.reshape(samples, height, width, -1).transpose(0, 3, 1, 2)


def _max_pool(sums: NDArray[np.float32], block: ConvPool) -> NDArray[np.float32]:
    _, _, height, width = sums.shape
    rows = (height - block.pool) // block.pool_stride + 1
    columns = (width - block.pool) // block.pool_stride + 1
    step = block.pool_stride
    shifted = [
        sums[:, :, y : y + (rows - 1) * step + 1 : step, x : x + (columns - 1) * step + 1 : step]
        for y in range(block.pool)
        for x in range(block.pool)
    ]
    return np.asarray(np.maximum.reduce(shifted), dtype=np.float32)
