"""Bits in the layouts of the C kernels (c_kernels/ebnn_kernels.h): 1 is +1, 0 is -1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def pack_dense(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Pack +-1 values (n,) to bytes (ceil(n / 8),), bit i in bit i % 8 of byte i // 8."""
    return np.packbits(values.ravel() > 0, bitorder="little")


def unpack_dense(packed: NDArray[np.uint8], shape: Sequence[int]) -> NDArray[np.int8]:
    """The +-1 values, int8 of `shape`, that `pack_dense` packed."""
    bits = np.unpackbits(packed, bitorder="little", count=int(np.prod(shape)))
    return np.where(bits.reshape(shape), 1, -1).astype(np.int8)


def pack_rows(values: NDArray[np.int8]) -> NDArray[np.uint32]:
    """Pack +-1 values (rows, n) to words (rows, ceil(n / 32)): bit i % 32, spare bits 0."""
    rows, count = values.shape
    bits = np.zeros((rows, -(-count // 32) * 32), dtype=bool)
    bits[:, :count] = values > 0
    return np.packbits(bits, axis=1, bitorder="little").view("<u4").astype(np.uint32)


def pack_map(values: NDArray[np.int8]) -> NDArray[np.uint32]:
    """Pack a +-1 map (channels, height, width) to words (height * width, ceil(channels / 32))."""
    channels = values.shape[0]
    return pack_rows(np.ascontiguousarray(values.reshape(channels, -1).T))
