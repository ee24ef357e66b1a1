"""How many products of a window must be +1, and the windows that reach over the map's edge.

A product outside the map counts nothing: sum >= T where 2 * (products of +1) >= T + (products
inside). But the planes have zeros there, which count as +1 where the weight is -1. So windows at an
edge need another count than those inside. To have one count for all lanes, what a lane needs less
than the one that needs most is added to its count: a few planes that depend on filter and place
alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebnn.emitter.lanes.geometry import Lanes
from ebnn.lowered import HiddenLayer


@dataclass(frozen=True)
class Borders:
    """`least` int (filters,): the count that all lanes need. Filter f adds `bits[f]` planes, the
    first of them worth 1, in words from `first[f]` on of `words[class]`; `classes` int
    (strips, words before pooling): the class of each word."""

    least: NDArray[np.intp]
    bits: tuple[int, ...]
    first: tuple[int, ...]
    words: NDArray[np.uint32]
    classes: NDArray[np.intp]

    @property
    def any(self) -> bool:
        return self.words.size > 0


def borders_of(layer: HiddenLayer, lanes: Lanes) -> Borders:
    """What the lanes of each word need."""
    needed = _needed(layer, lanes)
    least = needed.max(axis=(1, 2))
    spare = least[:, None, None] - needed
    bits = tuple(int(most).bit_length() for most in spare.max(axis=(1, 2)))
    starts = np.cumsum([0, *bits]).tolist()
    conv_words = lanes.conv_words(lanes.band_rows)
    words = np.zeros((len(lanes.strips), conv_words, starts[-1]), dtype=np.uint32)
    if starts[-1] == 0:
        classes = np.zeros(words.shape[:2], dtype=np.intp)
        return Borders(least, bits, tuple(starts[:-1]), words[0, :1], classes)
    strip, word, lane, row, column = _positions(lanes, needed.shape[1], needed.shape[2])
    for filter_, first in enumerate(starts[:-1]):
        values = spare[filter_, row, column]
        for bit in range(bits[filter_]):
            # Each position has a lane of its own, so adding sets bits.
            ones = ((values >> bit & 1) << lane).astype(np.uint32)
            np.add.at(words[:, :, first + bit], (strip, word), ones)
    distinct, classes = np.unique(words.reshape(-1, starts[-1]), axis=0, return_inverse=True)
    return Borders(least, bits, tuple(starts[:-1]), distinct, classes.reshape(words.shape[:2]))


def _needed(layer: HiddenLayer, lanes: Lanes) -> NDArray[np.intp]:
    """Ones that each filter's window must have at each place before pooling."""
    block = lanes.block
    channels, in_height, in_width = layer.in_shape
    _, height, width = layer.out_shape
    negative = (layer.weight < 0).sum(axis=1)  # [filter][row][column]
    rows = _inside(block.kernel_height, block.stride, block.padding, in_height)
    columns = _inside(block.kernel_width, block.stride, block.padding, in_width)
    rows = rows[: (height - 1) * block.pool_stride + block.pool]
    columns = columns[: (width - 1) * block.pool_stride + block.pool]
    products = channels * rows.sum(axis=1)[:, None] * columns.sum(axis=1)
    seen = np.einsum("fkl,yk,xl->fyx", negative, rows, columns)
    outside = negative.sum(axis=(1, 2))[:, None, None] - seen  # counted although outside
    inside = -(-(layer.threshold[:, None, None].astype(np.intp) + products) // 2)
    needed: NDArray[np.intp] = np.clip(inside, 0, products + 1) + outside
    return needed


def _inside(kernel: int, stride: int, padding: int, extent: int) -> NDArray[np.intp]:
    """[place][tap]: 1 where the tap is inside the map."""
    places = (extent + 2 * padding - kernel) // stride + 1
    at = np.arange(places)[:, None] * stride - padding + np.arange(kernel)
    return ((at >= 0) & (at < extent)).astype(np.intp)


def _positions(lanes: Lanes, height: int, width: int) -> NDArray[np.intp]:
    """Of all positions before pooling: int (5, positions), strip, word, lane, row, column."""
    block = lanes.block
    columns = (lanes.columns - 1) * block.pool_stride + block.pool
    band = lanes.band_rows * block.pool_stride
    found = [
        (strip, word, first + block.stride * x, row, column)
        for strip, left in enumerate(lanes.strips)
        for word in range(lanes.conv_words(lanes.band_rows))
        for slot, first in enumerate(lanes.slot_lanes)
        if (row := slot * band + word) < height
        for x in range(columns)
        if (column := left * block.pool_stride + x) < width
    ]
    return np.array(found, dtype=np.intp).T
