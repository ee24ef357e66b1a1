"""conv_sliced.c and conv_tables.c: 32 filters at a time. Serve binary convolutions of words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import ConvPool, fan_in
from ebnn.emitter.c_text import array, struct, window
from ebnn.emitter.layout import words_layout
from ebnn.emitter.program import Step
from ebnn.emitter.variants.common import conv_of, is_conv, pack_flips, pixel_lead_bytes, total_bytes
from ebnn.emitter.variants.edges import edge_fields, edges_of, outside_of
from ebnn.emitter.variants.site import Site, Variant
from ebnn.lowered import HiddenLayer

_PLANES = 12  # EBNN_SLICED_PLANES: counts lie in -products - 1 .. products
_PRODUCTS_MAX = (1 << (_PLANES - 1)) - 2
_BLOCK_INPUTS = 16
_TABLES, _TABLE_INPUTS = 5, 3  # and one input by itself
_Words = NDArray[np.uint32]


def _serves(site: Site[HiddenLayer]) -> bool:
    return (
        is_conv(site)
        and site.layout.c_name == "EBNN_WORDS"
        and fan_in(site.layer.block, site.layer.in_shape) <= _PRODUCTS_MAX
    )


def _blocks(layer: HiddenLayer) -> int:
    return -(-layer.in_shape[0] // _BLOCK_INPUTS)


def _call(kernel: str, weights_of: Callable[[NDArray[np.bool_]], _Words]) -> Callable[..., Step]:
    """How to call `kernel`, whose weights `weights_of` makes of what is +1, bool [group][row]
    [column][block][input][filter]; filled-up channels and filters are -1, as bits 0, which with
    the map's spare bits, 0 too, are products of +1."""

    def call(site: Site[HiddenLayer]) -> Step:
        layer, name = site.layer, site.name
        block, edges, blocks = conv_of(layer), edges_of(layer), _blocks(layer)
        filters, channels = layer.weight.shape[:2]
        groups = -(-filters // 32)
        kernel_shape = layer.weight.shape[2:]
        positive = np.zeros((groups * 32, blocks * _BLOCK_INPUTS, *kernel_shape), dtype=bool)
        positive[:filters, :channels] = layer.weight > 0
        by_block = positive.reshape(groups, 32, blocks, _BLOCK_INPUTS, *kernel_shape)
        weights = weights_of(by_block.transpose(0, 4, 5, 2, 3, 1)).reshape(groups, -1)
        starts, flips = _starts(layer), pack_flips(layer)
        taps = block.kernel_height * block.kernel_width
        declarations = (
            array(f"{name}_weights", weights, "weights: groups of 32 filters, then the inputs")
            + array(f"{name}_starts", starts, "starts: classes of positions, groups, planes")
            + array(f"{name}_flips", flips, "1 where the sign falls")
            + struct(
                "ebnn_conv_sliced_t",
                name,
                {
                    "window": window(block, layer.in_shape, layer.out_shape),
                    "blocks": blocks,
                    "pixel_weights": weights.shape[1] // taps,
                    **edge_fields(edges),
                    "weights": f"{name}_weights",
                    "starts": f"{name}_starts",
                    "flips": f"{name}_flips",
                },
            )
        )
        written = words_layout(layer.out_shape)
        return Step(
            title=str(block),
            declarations=declarations,
            call=f"ebnn_{kernel}(&{name}, {{input}}, {{output}}, {{scratch}});",
            output_bytes=written.map_bytes,
            kernels=(f"{kernel}.c", "sliced.h", "counters.h"),
            region=f"ebnn_{kernel}",
            scratch_bytes=4 * (-(-taps * blocks // 4) * 4),
            parameter_bytes=total_bytes(weights, starts, flips),
            block=site.index,
            layout=written,
            lead_bytes=pixel_lead_bytes(layer, 4 * -(-channels // 32), 4 * groups),
        )

    return call


def _packed(bits: NDArray[np.bool_]) -> _Words:
    """Words (...) of bits (..., 32)."""
    return np.packbits(bits, axis=-1, bitorder="little").view("<u4")[..., 0].astype(np.uint32)


def _starts(layer: HiddenLayer) -> _Words:
    """[classes][groups][planes]: minus 1 more than the products that may be -1 where a filter's
    sum, inside - 2 * negatives, reaches its threshold."""
    filters = len(layer.weight)
    outside = outside_of(layer)
    outside = outside.reshape(-1, *outside.shape[2:])
    inside = layer.in_shape[0] * (~outside).sum(axis=(1, 2), dtype=np.int64)
    limit = np.full((len(outside), -(-filters // 32) * 32), -1)
    limit[:, :filters] = (inside[:, None] - layer.threshold) // 2
    start = -1 - np.clip(limit, -1, inside[:, None])
    bits = start.reshape(len(outside), -1, 1, 32) >> np.arange(_PLANES)[:, None] & 1
    return _packed(bits.astype(bool))


def _sliced_weights(positive: NDArray[np.bool_]) -> _Words:
    return _packed(positive[..., ::-1, :])  # the kernel takes inputs from the top bit down


def _tables(positive: NDArray[np.bool_]) -> _Words:
    """For each block five tables [entry][plane] and the weights of the last input."""
    shape = positive.shape[:4]
    three = positive[..., :-1, :].reshape(*shape, _TABLES, 1, _TABLE_INPUTS, 32)
    entries = 1 << _TABLE_INPUTS
    inputs = np.arange(entries)[:, None] >> np.arange(_TABLE_INPUTS) & 1
    negatives = (three != inputs[..., None]).sum(axis=-2)  # 0..3
    planes = np.stack([negatives & 1, negatives >> 1], axis=-2).astype(bool)
    tables = _packed(planes).reshape(*shape, 2 * entries * _TABLES)
    return np.concatenate([tables, _packed(positive[..., -1:, :])], axis=-1)


def _work(site: Site[HiddenLayer]) -> Mapping[str, float]:
    layer = site.layer
    filters, height, width = layer.out_shape
    _, in_height, in_width = layer.in_shape
    block, groups = conv_of(layer), -(-filters // 32)
    positions = height * width * block.pool**2
    places = _places_inside(block, height, block.kernel_height, in_height)
    places *= _places_inside(block, width, block.kernel_width, in_width)
    return {
        "positions": positions,
        "groups": positions * groups,
        "blocks": places * _blocks(layer) * groups,
    }


def _places_inside(block: ConvPool, pooled: int, kernel: int, size: int) -> int:
    """Kernel rows inside a map of `size` rows, of all positions that are counted; or columns."""
    position = np.arange(pooled)[:, None] * block.pool_stride + np.arange(block.pool)
    place = position[..., None] * block.stride - block.padding + np.arange(kernel)
    return int(((place >= 0) & (place < size)).sum())


CONV_SLICED = Variant("conv_sliced", _serves, _call("conv_sliced", _sliced_weights), _work)
CONV_TABLES = Variant("conv_tables", _serves, _call("conv_tables", _tables), _work)
