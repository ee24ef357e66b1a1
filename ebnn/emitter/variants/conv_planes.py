"""conv_planes.c and conv_packed.c: 32 positions of the map at a time. Serve binary convolutions of
words."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import ConvPool
from ebnn.emitter.c_text import array, struct, window
from ebnn.emitter.layout import words_layout
from ebnn.emitter.program import Step
from ebnn.emitter.variants.common import (
    conv_of,
    group_channels,
    group_filters,
    is_conv,
    pack_flips,
    total_bytes,
)
from ebnn.emitter.variants.edges import edge_fields
from ebnn.emitter.variants.lanes import (
    COUNT_PLANES,
    LANES,
    Lanes,
    filter_sets,
    lanes_of,
    plane_halves,
    plane_runs,
)
from ebnn.emitter.variants.packed_planes import PACKED_AT_ONCE, packed_of
from ebnn.emitter.variants.planes import lists_of
from ebnn.emitter.variants.site import Site, Variant
from ebnn.lowered import HiddenLayer

_SHARED = (
    "count_planes.h",
    "counters.h",
    "pair_lanes.h",
    "plane_conv.h",
    "plane_spans.h",
    "transpose.c",
)
_KERNELS = (
    "conv_planes.c",
    "count_planes.c",
    "count_planes_thumb1.h",
    "count_planes_thumb2.h",
    "pair_lanes_thumb1.h",
    "pair_lanes_thumb2.h",
    *_SHARED,
)
_PACKED_KERNELS = (
    "conv_packed.c",
    "pair_lanes_thumb1.h",
    "pair_lanes_thumb2.h",
    "walk_planes.c",
    "walk_planes.h",
    "walk_planes_thumb1.h",
    "walk_planes_thumb2.h",
    *_SHARED,
)


def _serves(site: Site[HiddenLayer]) -> bool:
    return is_conv(site) and site.layout.c_name == "EBNN_WORDS" and lanes_of(site.layer) is not None


def _call(site: Site[HiddenLayer]) -> Step:
    lists, name = lists_of(site.layer), site.name
    return _step(
        site,
        "conv_planes",
        _KERNELS,
        array(f"{name}_lists", lists.taps, "what is counted, filters in pairs"),
        {"lists": f"{name}_lists", "weights": "0"},
        lists.margins,
        lists.taps.nbytes,
        32 + lists.carries,
    )


def _call_packed(site: Site[HiddenLayer]) -> Step:
    packed, name = packed_of(site.layer), site.name
    return _step(
        site,
        "conv_packed",
        _PACKED_KERNELS,
        array(f"{name}_weights", packed.words, "weights: pairs of filters, shifts, planes")
        + array(f"{name}_numbers", packed.numbers, "filters of the pairs"),
        {"lists": f"{name}_numbers", "weights": f"{name}_weights"},
        packed.margins,
        total_bytes(packed.words, packed.numbers),
        PACKED_AT_ONCE + packed.carries,
    )


def _step(
    site: Site[HiddenLayer],
    kernel: str,
    kernels: tuple[str, ...],
    weights: str,
    weight_fields: Mapping[str, object],
    margins: NDArray[np.int16],
    weight_bytes: int,
    filter_words: int,
) -> Step:
    """How to call `kernel`: `weights` in C, the fields that name them, their bytes, and words of
    scratch for the filters that are counted at once."""
    layer, name = site.layer, site.name
    block, lanes = conv_of(layer), lanes_of(layer)
    assert lanes is not None
    flips = pack_flips(layer)
    span_classes = max(lanes.classes(*start) for start in lanes.spans)
    plane_words = 16 * plane_halves(layer) + plane_runs(layer) + 1  # and the words 0
    inside, inside_phases = divmod(layer.in_shape[2] + block.padding - 1, block.stride)
    declarations = (
        weights
        + array(f"{name}_margins", margins, "margins: filters as listed, classes of lanes")
        + array(f"{name}_flips", flips, "1 where the sign falls")
        + struct(
            "ebnn_conv_planes_t",
            name,
            {
                "window": window(block, layer.in_shape, layer.out_shape),
                "channels": group_channels(layer),
                "filters": group_filters(layer),
                "plane_words": plane_words,
                "rows": lanes.edges.rows,
                "columns": lanes.edges.columns,
                "pitch": lanes.pitch,
                "shifts": lanes.shifts,
                "phases": lanes.phases,
                "inside": inside,
                "inside_phases": inside_phases + 1,
                **edge_fields(lanes.edges),
                "margin_count": margins.shape[1],
                "span_classes": span_classes,
                **weight_fields,
                "margins": f"{name}_margins",
                "flips": f"{name}_flips",
            },
        )
    )
    words = block.groups * plane_words
    words += COUNT_PLANES + 1 + 2 * span_classes + filter_words + 3
    written = words_layout(layer.out_shape)
    return Step(
        title=str(block),
        declarations=declarations,
        call=f"ebnn_{kernel}(&{name}, {{input}}, {{output}}, {{scratch}});",
        output_bytes=written.map_bytes,
        kernels=kernels,
        region=f"ebnn_{kernel}",
        scratch_bytes=4 * words,
        parameter_bytes=weight_bytes + total_bytes(margins, flips),
        block=site.index,
        layout=written,
        lead_bytes=_lead_bytes(lanes, layer),
        unread_bytes=_unread_bytes(lanes, layer),
    )


def _work(site: Site[HiddenLayer]) -> Mapping[str, float]:
    lists = lists_of(site.layer)
    return _work_of(site.layer, {"quads": lists.quads, "parts": lists.parts})


def _work_packed(site: Site[HiddenLayer]) -> Mapping[str, float]:
    packed = packed_of(site.layer)
    return _work_of(site.layer, {"quads": packed.quads, "words": packed.walked})


def _work_of(layer: HiddenLayer, counted: Mapping[str, int]) -> Mapping[str, float]:
    """`counted`: what is counted of all filters in each span."""
    block, lanes = conv_of(layer), lanes_of(layer)
    assert lanes is not None
    filters, spans = len(layer.weight), lanes.spans
    gathered = sum(len(rows) for rows in _gathered(lanes, block))
    positions = lanes.edges.rows * lanes.edges.columns
    return {
        "gathered": gathered * lanes.phases * -(-layer.in_shape[0] // 32),
        "planes": len(spans) * plane_runs(layer) * block.groups,
        **{name: len(spans) * count for name, count in counted.items()},
        "windows": len(spans) * filters,
        "classes": sum(lanes.classes(*start) - 1 for start in spans) * filters,
        "positions": positions * len(filter_sets(layer, LANES)),
    }


def _gathered(lanes: Lanes, block: ConvPool) -> list[list[int]]:
    """Kernel rows that are gathered for each span: not those that the span before has, nor, where
    all their lanes are in the first and the last one, the others."""
    last = block.kernel_height - 1
    is_between = block.stride == 1 and last * lanes.pitch <= LANES
    rows = sorted({0, last}) if is_between else list(range(last + 1))
    gathered = [rows]
    for (row_before, column_before), (row, column) in pairwise(lanes.spans):
        moved = (row - row_before) * block.stride if column == column_before else last + 1
        gathered.append([ky for ky in rows if moved + ky > last])
    return gathered


def _lead_bytes(lanes: Lanes, layer: HiddenLayer) -> int:
    """How far in front of its input the output must begin for no span to write over what a later
    one gathers. A span has gathered all that it needs before it writes."""
    block = conv_of(layer)
    in_channels, _, in_width = layer.in_shape
    out_channels, out_height, out_width = layer.out_shape
    in_pixel_bytes, out_pixel_bytes = (-(-n // 32) * 4 for n in (in_channels, out_channels))
    spans, gathered = lanes.spans, _gathered(lanes, block)
    lead, needed = 0, in_width * layer.in_shape[1]  # the first pixel that is needed again
    for before, (row, column), kernel_rows in reversed(
        [*zip(spans, spans[1:], gathered[1:], strict=False)]
    ):
        top = row * block.stride + kernel_rows[0] - block.padding
        left = max(0, column * block.stride - block.padding)
        needed = min(needed, top * in_width + left if top >= 0 else 0)
        written_rows = min(lanes.last_row(*before) // block.pool_stride + 1, out_height)
        written_bytes = written_rows * out_width * out_pixel_bytes
        lead = max(lead, written_bytes - needed * in_pixel_bytes)
    return lead


def _unread_bytes(lanes: Lanes, layer: HiddenLayer) -> int:
    """Of the input, the rows below those that the pooled positions need."""
    block = conv_of(layer)
    channels, height, width = layer.in_shape
    needed = (lanes.edges.rows - 1) * block.stride + block.kernel_height - block.padding
    return max(0, height - needed) * width * -(-channels // 32) * 4


CONV_PLANES = Variant("conv_planes", _serves, _call, _work)
CONV_PACKED = Variant("conv_packed", _serves, _call_packed, _work_packed)
