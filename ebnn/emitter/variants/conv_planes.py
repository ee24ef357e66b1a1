"""conv_planes.c: 32 positions of the map at a time. Serves stride 1 without padding."""

from __future__ import annotations

from collections.abc import Mapping

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
from ebnn.emitter.variants.planes import (
    COUNT_PLANES,
    NARROW_PRODUCTS_MAX,
    TREE_TAPS,
    lanes_of,
    lists_of,
)
from ebnn.emitter.variants.site import Site, Variant
from ebnn.lowered import HiddenLayer


def _serves(site: Site[HiddenLayer]) -> bool:
    return is_conv(site) and site.layout.c_name == "EBNN_WORDS" and lanes_of(site.layer) is not None


def _call(site: Site[HiddenLayer]) -> Step:
    layer, name = site.layer, site.name
    block, lanes, lists = conv_of(layer), lanes_of(layer), lists_of(layer)
    assert lanes is not None
    flips = pack_flips(layer)
    groups, words = len(flips), -(-layer.in_shape[0] // 32)
    declarations = (
        array(f"{name}_lists", lists.filters, "what is counted, filters in pairs")
        + array(f"{name}_all", lists.all_taps, "all taps of a column")
        + array(f"{name}_flips", flips, "1 where the sign falls")
        + struct(
            "ebnn_conv_planes_t",
            name,
            {
                "window": window(block, layer.in_shape, layer.out_shape),
                "columns": lanes.columns,
                "pitch": lanes.pitch,
                "rows": lanes.rows,
                "is_wide": int(fan_in(block, layer.in_shape) > NARROW_PRODUCTS_MAX),
                "lists": f"{name}_lists + {TREE_TAPS}",
                "all_taps": f"{name}_all + {TREE_TAPS}",
                "flips": f"{name}_flips",
            },
        )
    )
    planes = lanes.columns * block.kernel_height * words * 32
    counts = COUNT_PLANES * (lanes.columns + 1) + 1
    written = words_layout(layer.out_shape)
    return Step(
        title=str(block),
        declarations=declarations,
        call=f"ebnn_conv_planes(&{name}, {{input}}, {{output}}, {{scratch}});",
        output_bytes=written.map_bytes,
        kernels=("conv_planes.c",),
        region="ebnn_conv_planes",
        scratch_bytes=4 * (planes + 32 * groups + counts + lists.carries + 3),
        parameter_bytes=total_bytes(lists.filters, lists.all_taps, flips),
        block=site.index,
        layout=written,
        lead_bytes=lead_bytes(layer, lanes.rows, is_read_first=True),
    )


def _work(site: Site[HiddenLayer]) -> Mapping[str, float]:
    layer = site.layer
    block, lanes = conv_of(layer), lanes_of(layer)
    assert lanes is not None
    filters, height, _ = layer.out_shape
    row_words = -(-layer.in_shape[0] // 32)
    groups = -(-height // lanes.rows) * block.pool
    windows = groups * block.pool * filters
    return {
        "gathered": groups * block.kernel_height * lanes.columns * row_words,
        "windows": windows,
        "products": windows * fan_in(block, layer.in_shape),
    }


CONV_PLANES = Variant("conv_planes", _serves, _call, _work)
