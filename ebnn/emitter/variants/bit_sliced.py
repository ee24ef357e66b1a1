"""What the kernels that count 32 filters side by side share: planes of counters, and their maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import fan_in
from ebnn.emitter.layout import pixel_bytes
from ebnn.emitter.variants.common import is_conv
from ebnn.emitter.variants.site import Site
from ebnn.lowered import HiddenLayer

LANES = 32
BLOCK_INPUTS = 16
_PLANES = 12  # EBNN_SLICED_PLANES: counts lie in -products - 1 .. products
_PRODUCTS_MAX = (1 << (_PLANES - 1)) - 2

Words = NDArray[np.uint32]


def is_countable(site: Site[HiddenLayer]) -> bool:
    """Whether it is a convolution whose sums the counters hold."""
    return is_conv(site) and fan_in(site.layer.block, site.layer.in_shape) <= _PRODUCTS_MAX


def in_bytes(site: Site[HiddenLayer]) -> int:
    """Of a pixel of the map that is read: words or half-words."""
    return pixel_bytes(site.layer.in_shape[0], 4 if site.layout.c_name == "EBNN_WORDS" else 2)


def out_bytes(site: Site[HiddenLayer]) -> int:
    """Of a pixel of the map that is written."""
    return pixel_bytes(site.layer.out_shape[0], site.unit_bytes)


def filter_weight_bytes(filters: int) -> int:
    """Of an input's weights for 1 to 32 filters: 4, 2 or 1."""
    return 4 if filters > 16 else 2 if filters > 8 else 1


def packed(bits: NDArray[np.bool_]) -> Words:
    """Words (...) of bits (..., 32)."""
    return np.packbits(bits, axis=-1, bitorder="little").view("<u4")[..., 0].astype(np.uint32)


def planes_of(starts: NDArray[np.integer]) -> Words:
    """Words (..., 12): what the counters (..., 32) start from, a plane after the other."""
    bits = starts[..., None, :] >> np.arange(_PLANES)[:, None] & 1
    return packed(bits.astype(bool))
