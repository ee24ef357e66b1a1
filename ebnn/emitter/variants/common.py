"""What the variants' C texts share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import ConvPool
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


def pack_flips(layer: HiddenLayer) -> NDArray[np.uint32]:
    """Words (ceil(filters / 32),): 1 where a filter's sign falls with its sum."""
    return pack_rows(np.where(layer.flip, 1, -1).astype(np.int8)[None, :]).ravel()


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
