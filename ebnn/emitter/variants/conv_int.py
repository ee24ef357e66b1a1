"""conv_int.c: a window's signed sums tabulated for all filters. Serves any integer convolution."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ebnn.architecture import fan_in
from ebnn.emitter.c_text import array, struct, window
from ebnn.emitter.layout import words_layout
from ebnn.emitter.program import Step
from ebnn.emitter.variants.common import (
    LANE_LIMIT,
    chunk_taps,
    conv_of,
    group_filters,
    is_conv,
    pack_flips,
    table_sizes,
    total_bytes,
)
from ebnn.emitter.variants.site import Site, Variant
from ebnn.lowered import HiddenLayer

_GROUP_WORDS = 2  # words of a tap and of a table's entry


def _serves(site: Site[HiddenLayer]) -> bool:
    return is_conv(site) and site.layout.c_name in ("EBNN_U8", "EBNN_I16")


def _lanes(site: Site[HiddenLayer]) -> int:
    block = conv_of(site.layer)
    # |sum| and |threshold| are both at most taps * input_magnitude.
    largest = 2 * fan_in(block, site.layer.in_shape) * site.input_magnitude
    return 2 if block.pool > 1 and largest <= LANE_LIMIT else 1


def _call(site: Site[HiddenLayer]) -> Step:
    layer, name = site.layer, site.name
    block = conv_of(layer)
    filters = layer.out_shape[0]
    taps = fan_in(block, layer.in_shape)
    size = chunk_taps(taps)
    tables = table_sizes(taps, size)
    chunks = len(tables)
    # Where chunk c starts in the table, plus the pattern of its signs.
    starts = np.concatenate([[0], np.cumsum(tables)[:-1]])
    group = np.arange(filters) // group_filters(layer)
    signs = np.zeros((filters, chunks * size), dtype=np.int64)
    signs[:, :taps] = layer.weight.reshape(filters, -1) > 0
    weights_of_taps = 1 << np.arange(size)
    entries = starts + signs.reshape(filters, chunks, size) @ weights_of_taps
    entries += sum(tables) * group[:, None]
    patterns = (_GROUP_WORDS * entries).astype(np.uint16)
    threshold = layer.threshold.astype(np.int64)
    lanes = _lanes(site)
    offsets = (0x8000 - threshold) * 0x10001 if lanes == 2 else 0x80000000 - threshold
    offsets = (offsets & 0xFFFFFFFF).astype(np.uint32)
    flips = pack_flips(layer)
    declarations = (
        array(f"{name}_patterns", patterns, "where in the table a filter finds its chunks' sums")
        + array(f"{name}_offsets", offsets, f"2^{16 * (3 - lanes) - 1} - threshold in each lane")
        + array(f"{name}_flips", flips, "1 where the sign falls")
        + struct(
            "ebnn_conv_int_t",
            name,
            {
                "window": window(block, layer.in_shape, layer.out_shape),
                "layout": site.layout.c_name,
                "lanes": lanes,
                "chunk_taps": size,
                "chunks": chunks,
                "table_words": _GROUP_WORDS * sum(tables) * block.groups,
                "patterns": f"{name}_patterns",
                "offsets": f"{name}_offsets",
                "flips": f"{name}_flips",
            },
        )
    )
    written = words_layout(layer.out_shape)
    return Step(
        title=str(block),
        declarations=declarations,
        call=f"ebnn_conv_int(&{name}, {{input}}, {{output}}, {{scratch}});",
        output_bytes=written.map_bytes,
        kernels=("conv_int.c",),
        region="ebnn_conv_int",
        scratch_bytes=4 * _GROUP_WORDS * (taps + sum(tables)) * block.groups,
        parameter_bytes=total_bytes(patterns, offsets, flips),
        block=site.index,
        layout=written,
    )


def _work(site: Site[HiddenLayer]) -> Mapping[str, float]:
    block = conv_of(site.layer)
    filters, height, width = site.layer.out_shape
    taps = fan_in(block, site.layer.in_shape)
    tables = table_sizes(taps, chunk_taps(taps))
    groups = height * width * -(-(block.pool**2) // (2 * _lanes(site)))
    return {
        "groups": groups,
        "taps": groups * taps * block.groups,
        "entries": groups * sum(tables) * block.groups,
        "filters": groups * filters,
        "chunks": groups * filters * len(tables),
    }


CONV_INT = Variant("conv_int", _serves, _call, _work)
