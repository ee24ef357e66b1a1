"""conv_sliced.c: 32 filters at a time in bit-sliced counters. Serves any binary convolution."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ebnn.architecture import fan_in
from ebnn.emitter.c_text import array, struct, window
from ebnn.emitter.layout import words_layout
from ebnn.emitter.program import Step
from ebnn.emitter.variants.common import (
    conv_of,
    is_conv,
    lead_bytes,
    pack_flips,
    total_bytes,
)
from ebnn.emitter.variants.site import Site, Variant
from ebnn.lowered import HiddenLayer
from ebnn.packing import pack_rows

_BLOCK_INPUTS = 16  # inputs that conv_sliced.c counts at once


def _serves(site: Site[HiddenLayer]) -> bool:
    return is_conv(site) and site.layout.c_name == "EBNN_WORDS"


def _call(site: Site[HiddenLayer]) -> Step:
    layer, name = site.layer, site.name
    block = conv_of(layer)
    filters, channels = layer.weight.shape[:2]
    groups, blocks = -(-filters // 32), -(-channels // _BLOCK_INPUTS)
    products = fan_in(block, layer.in_shape)
    # The carry out of the last plane must never be set: filled-up inputs never count.
    planes = max(4, products.bit_length())
    # [group][row][column][block][input][filter]; filled-up channels and filters are -1, as bits 0,
    # which with the map's spare bits, 0 too, are products of +1.
    positive = np.zeros(
        (groups, block.kernel_height, block.kernel_width, blocks, _BLOCK_INPUTS, 32), dtype=bool
    )
    by_tap = np.zeros((groups * 32, blocks * _BLOCK_INPUTS, *layer.weight.shape[2:]), dtype=bool)
    by_tap[:filters, :channels] = layer.weight > 0
    positive[:] = by_tap.reshape(
        groups, 32, blocks, _BLOCK_INPUTS, block.kernel_height, block.kernel_width
    ).transpose(0, 4, 5, 2, 3, 1)
    positive = positive[..., ::-1, :]  # the kernel takes a block's inputs from the top bit down
    weights = pack_rows(np.where(positive, 1, -1).astype(np.int8).reshape(-1, 32)).reshape(
        groups, -1
    )
    limit = np.zeros(groups * 32, dtype=np.int64)
    limit[:filters] = products - layer.threshold
    bits = limit.reshape(groups, 32)[:, None, :] >> np.arange(planes + 1)[None, :, None] & 1
    limits = pack_rows(np.where(bits, 1, -1).astype(np.int8).reshape(-1, 32)).reshape(groups, -1)
    flips = pack_flips(layer)
    lanes = pack_rows(np.ones((1, filters), dtype=np.int8)).ravel()
    declarations = (
        array(f"{name}_weights", weights, "weights: groups of 32 filters, then the inputs")
        + array(f"{name}_limits", limits, "products - threshold, bit-sliced")
        + array(f"{name}_flips", flips, "1 where the sign falls")
        + array(f"{name}_lanes", lanes, "1 where there is a filter")
        + struct(
            "ebnn_conv_sliced_t",
            name,
            {
                "window": window(block, layer.in_shape, layer.out_shape),
                "blocks": blocks,
                "planes": planes,
                "weights": f"{name}_weights",
                "limits": f"{name}_limits",
                "flips": f"{name}_flips",
                "lanes": f"{name}_lanes",
            },
        )
    )
    written = words_layout(layer.out_shape)
    return Step(
        title=str(block),
        declarations=declarations,
        call=f"ebnn_conv_sliced(&{name}, {{input}}, {{output}}, {{scratch}});",
        output_bytes=written.map_bytes,
        kernels=("conv_sliced.c",),
        region="ebnn_conv_sliced",
        scratch_bytes=4 * max(planes, 5 + block.kernel_height * block.kernel_width * blocks),
        parameter_bytes=total_bytes(weights, limits, flips, lanes),
        block=site.index,
        layout=written,
        lead_bytes=lead_bytes(layer),
    )


def _work(site: Site[HiddenLayer]) -> Mapping[str, float]:
    block = conv_of(site.layer)
    filters, height, width = site.layer.out_shape
    groups = height * width * block.pool**2 * -(-filters // 32)
    blocks = block.kernel_height * block.kernel_width * -(-site.layer.in_shape[0] // _BLOCK_INPUTS)
    return {"groups": groups, "blocks": groups * blocks}


CONV_SLICED = Variant("conv_sliced", _serves, _call, _work)
