"""conv_bits.c: one window after the other, 32 products a word. Serves any binary convolution."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ebnn.architecture import fan_in
from ebnn.emitter.c_text import array, struct, window
from ebnn.emitter.layout import words_layout
from ebnn.emitter.program import Step
from ebnn.emitter.variants.common import (
    conv_of,
    group_channels,
    is_conv,
    lead_bytes,
    pack_flips,
    total_bytes,
)
from ebnn.emitter.variants.site import Site, Variant
from ebnn.lowered import HiddenLayer
from ebnn.packing import pack_map, pack_rows


def _serves(site: Site[HiddenLayer]) -> bool:
    return is_conv(site) and site.layout.c_name in ("EBNN_WORDS", "EBNN_DENSE")


def _window_words(site: Site[HiddenLayer]) -> int:
    block, channels = conv_of(site.layer), group_channels(site.layer)
    taps = block.kernel_height * block.kernel_width
    if site.layout.c_name == "EBNN_WORDS":
        return taps * -(-channels // 32)
    return -(-taps * channels // 32)


def _call(site: Site[HiddenLayer]) -> Step:
    layer, name = site.layer, site.name
    block = conv_of(layer)
    filters = layer.out_shape[0]
    if site.layout.c_name == "EBNN_WORDS":
        weights = np.stack([pack_map(weight).ravel() for weight in layer.weight])
        order = "filters, then [row][column][channel word]"
    else:
        weights = pack_rows(layer.weight.reshape(filters, -1))
        order = "filters, then the bits [channel][row][column]"
    threshold, flips = layer.threshold.astype(np.int32), pack_flips(layer)
    declarations = (
        array(f"{name}_weights", weights, f"weights: {order}")
        + array(f"{name}_thresholds", threshold, "the sum that turns the sign")
        + array(f"{name}_flips", flips, "1 where the sign falls")
        + struct(
            "ebnn_conv_bits_t",
            name,
            {
                "window": window(block, layer.in_shape, layer.out_shape),
                "layout": site.layout.c_name,
                "window_words": weights.shape[1],
                "weights": f"{name}_weights",
                "thresholds": f"{name}_thresholds",
                "flips": f"{name}_flips",
            },
        )
    )
    written = words_layout(layer.out_shape)
    return Step(
        title=str(block),
        declarations=declarations,
        call=f"ebnn_conv_bits(&{name}, {{input}}, {{output}}, {{scratch}});",
        output_bytes=written.map_bytes,
        kernels=("conv_bits.c",),
        region="ebnn_conv_bits",
        scratch_bytes=2 * 4 * weights.shape[1],
        parameter_bytes=total_bytes(weights, threshold, flips),
        block=site.index,
        layout=written,
        lead_bytes=_lead_bytes(site),
    )


def _lead_bytes(site: Site[HiddenLayer]) -> int | None:
    if site.layout.c_name != "EBNN_WORDS":
        return None
    in_words, out_words = (
        -(-shape[0] // 32) for shape in (site.layer.in_shape, site.layer.out_shape)
    )
    return lead_bytes(site.layer, 4 * in_words, 4 * out_words)


def _work(site: Site[HiddenLayer]) -> Mapping[str, float]:
    block = conv_of(site.layer)
    filters, height, width = site.layer.out_shape
    windows = height * width * block.pool**2
    words = _window_words(site)
    gathered = words if site.layout.c_name == "EBNN_WORDS" else fan_in(block, site.layer.in_shape)
    return {
        "windows": windows * block.groups,
        "gathered": windows * block.groups * gathered,
        "filters": windows * filters,
        "words": windows * filters * words,
    }


CONV_BITS = Variant("conv_bits", _serves, _call, _work)
