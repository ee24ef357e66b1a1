"""How a map lies in memory, between one kernel that writes it and the next that reads it."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import InputSpec

WORD_BITS = 32


@dataclass(frozen=True, eq=False)
class Layout:
    """Of one map. `bit_of` int (channels, height, width): where in the map each value's bit is, bit
    i being bit i % 32 of word i // 32; None where the map holds integers. `words`: all of the
    map's, bits that stand for nothing included; they are 0.

    `c_name` is the layout as c_kernels/ebnn_kernels.h calls it.
    """

    c_name: str
    bit_of: NDArray[np.intp] | None = None
    words: int = 0

    @functools.cached_property
    def key(self) -> str:
        """The same for layouts that are the same."""
        bits = b"" if self.bit_of is None else self.bit_of.tobytes()
        return f"{self.c_name} {hashlib.sha256(bits).hexdigest()}"

    @property
    def map_bytes(self) -> int:
        return self.words * WORD_BITS // 8

    def pack(self, values: NDArray[np.int8]) -> NDArray[np.uint32]:
        """Words (..., words) of +-1 maps (..., channels, height, width), or of such maps
        flattened: 1 is +1."""
        assert self.bit_of is not None
        count = self.bit_of.size
        flat = values.reshape(-1, count) > 0
        bits = np.zeros((len(flat), self.words * WORD_BITS), dtype=bool)
        bits[:, self.bit_of.ravel()] = flat
        packed = np.packbits(bits, axis=1, bitorder="little").view("<u4").astype(np.uint32)
        return packed.reshape(*values.shape[: -self.bit_of.ndim], self.words)

    def unpack(self, words: NDArray[np.uint32]) -> NDArray[np.int8]:
        """The +-1 map, int8 (channels, height, width), that `pack` packed to `words` (words,)."""
        assert self.bit_of is not None
        bits = np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little")
        return np.where(bits[self.bit_of], 1, -1).astype(np.int8)


def words_layout(shape: tuple[int, int, int]) -> Layout:
    """`EBNN_WORDS` [height][width][channel word] of a map (channels, height, width)."""
    channels, height, width = shape
    pixel_words = -(-channels // WORD_BITS)
    channel, row, column = np.indices(shape)
    bit_of = (row * width + column) * pixel_words * WORD_BITS + channel
    return Layout("EBNN_WORDS", bit_of, height * width * pixel_words)


def pixel_bytes(channels: int, unit_bytes: int) -> int:
    """Of a pixel of whole units: words (4), half-words (2) or bytes (1)."""
    return -(-channels // (8 * unit_bytes)) * unit_bytes


def pixels_layout(shape: tuple[int, int, int], unit_bytes: int) -> Layout:
    """[height][width] pixels of whole units of `unit_bytes`: `EBNN_WORDS` of a map (channels,
    height, width) where they are of whole words, else `EBNN_HALVES`, or of bytes what only a fully
    connected layer reads. Convolutions read no more than the pixels, and what the last word of
    half-words has besides may be anything for them."""
    channels, height, width = shape
    each = pixel_bytes(channels, unit_bytes)
    if each % 4 == 0:
        return words_layout(shape)
    channel, row, column = np.indices(shape)
    bit_of = 8 * (row * width + column) * each + channel
    name = "EBNN_HALVES" if unit_bytes == 2 else "EBNN_DENSE"
    return Layout(name, bit_of, -(-height * width * each // 4))


def dense_layout(shape: tuple[int, int, int]) -> Layout:
    """`EBNN_DENSE`: the bits [channel][row][column] one after the other."""
    count = int(np.prod(shape))
    return Layout("EBNN_DENSE", np.arange(count).reshape(shape), -(-count // WORD_BITS))


def input_layout(spec: InputSpec) -> Layout:
    """What enters the first kernel: a float input has been quantized."""
    if spec.kind == "bits":
        return dense_layout(spec.shape)
    return Layout({"uint8": "EBNN_U8", "float": "EBNN_I16"}[spec.kind])
