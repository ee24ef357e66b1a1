"""What the variants' C texts share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import ConvPool
from ebnn.emitter.goal import RAM_ABOVE_REFERENCE_BYTES
from ebnn.emitter.variants.site import Site
from ebnn.lowered import HiddenLayer
from ebnn.packing import pack_rows

LANE_LIMIT = 32767  # what |sum - threshold| may reach in a lane of 16 bits
CHUNK_TAPS_MAX = 4  # a chunk's table has 2^taps words


def conv_of(layer: HiddenLayer) -> ConvPool:
    """The block of a convolution's layer."""
    assert isinstance(layer.block, ConvPool)
    return layer.block


def is_conv(site: Site[HiddenLayer]) -> bool:
    return isinstance(site.layer.block, ConvPool)


def is_ungrouped(site: Site[HiddenLayer]) -> bool:
    """Whether it is a convolution whose filters all read every channel."""
    return isinstance(site.layer.block, ConvPool) and site.layer.block.groups == 1


def group_channels(layer: HiddenLayer) -> int:
    """Channels that a filter reads."""
    return layer.in_shape[0] // conv_of(layer).groups


def group_filters(layer: HiddenLayer) -> int:
    """Filters that read the same channels."""
    return layer.out_shape[0] // conv_of(layer).groups


def pack_flips(layer: HiddenLayer) -> NDArray[np.uint32]:
    """Words (ceil(filters / 32),): 1 where a filter's sign falls with its sum."""
    return pack_rows(np.where(layer.flip, 1, -1).astype(np.int8)[None, :]).ravel()


def compiled_bytes(layer: HiddenLayer) -> int:
    """Bytes of weights and thresholds that are code, as if they were arrays."""
    return -(-layer.weight.size // 8) + 4 * len(layer.threshold)


def total_bytes(*arrays: NDArray[Any]) -> int:
    return sum(values.nbytes for values in arrays)


def chunk_taps(taps: int) -> int:
    """Taps of a chunk that give the fewest chunks, and of those the smallest table."""
    sizes = range(1, min(taps, CHUNK_TAPS_MAX) + 1)
    return min(sizes, key=lambda size: (-(-taps // size), sum(table_sizes(taps, size))))


def table_sizes(taps: int, size: int) -> list[int]:
    """Entries of each chunk's table of signed sums."""
    full, rest = divmod(taps, size)
    return [1 << size] * full + ([1 << rest] if rest else [])


def scratch_limit_bytes(map_bytes: int, out_shape: tuple[int, int, int], stack_bytes: int) -> int:
    """Scratch that leaves a map of `map_bytes` within the RAM that the fast kernels may take,
    `stack_bytes` of it for the stack; fewer than 256 bytes are not asked of any."""
    unused_bytes = map_bytes - int(np.prod(out_shape)) // 8  # the reference lowering leaves none
    return max(256, RAM_ABOVE_REFERENCE_BYTES - stack_bytes - unused_bytes)


def lead_bytes(layer: HiddenLayer, in_pixel_bytes: int, out_pixel_bytes: int) -> int:
    """How far in front of its input a convolution's output must begin for nothing to be written
    over what is still to be read: maps [row][column] of pixels of so many bytes.

    The kernel may write a pixel before it reads what that depends on, but not earlier than it has
    read what the pixels before depend on.
    """
    block = conv_of(layer)
    width = layer.in_shape[2]
    _, out_height, out_width = layer.out_shape
    step = block.pool_stride * block.stride
    first_read = np.maximum(0, np.arange(max(out_height, out_width) + 1) * step - block.padding)
    rows, columns = np.indices((out_height, out_width))
    # The next row may begin to the left of a window that is in the same of the map's rows.
    is_last = rows == out_height - 1
    of_next_row = np.where(is_last, np.iinfo(np.intp).max, first_read[rows + 1] * width)
    read = np.minimum(first_read[rows] * width + first_read[columns], of_next_row)
    written = rows * out_width + columns + 1
    return max(0, int((written * out_pixel_bytes - read * in_pixel_bytes).max()))
