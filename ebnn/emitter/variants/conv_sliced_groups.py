"""conv_sliced_groups.c: the filters of several groups side by side, in maps of words, half-words
and bytes. Serves binary convolutions in groups whose filters fill bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import fan_in
from ebnn.emitter.c_text import array, struct, window
from ebnn.emitter.layout import pixels_layout
from ebnn.emitter.program import Step
from ebnn.emitter.variants.bit_sliced import (
    BLOCK_INPUTS,
    LANES,
    Words,
    filter_weight_bytes,
    in_bytes,
    is_countable,
    out_bytes,
    packed,
    planes_of,
)
from ebnn.emitter.variants.common import (
    conv_of,
    group_channels,
    group_filters,
    is_ungrouped,
    lead_bytes,
    pack_flips,
    total_bytes,
)
from ebnn.emitter.variants.edges import edge_fields, edges_of, outside_of
from ebnn.emitter.variants.site import Site, Variant
from ebnn.lowered import HiddenLayer

_KERNELS = "conv_sliced_groups.c", "sliced.h", "sliced_weights.h", "counters.h"
_FIELD_INPUTS = 8  # of each group in a word: so many lanes it has, where there are others
_SETS_MAX = 255


@dataclass(frozen=True)
class _Set:
    """Filters that are counted at once: those of `groups` groups, or some of one group."""

    filters: range
    first_group: int
    groups: int


def _sets_of(layer: HiddenLayer) -> list[_Set]:
    """As few as can be, all but the last one of whole bytes; none where that cannot be."""
    groups, filters, each = conv_of(layer).groups, len(layer.weight), group_filters(layer)
    if each > LANES:
        sets = [
            _Set(range(first, min(first + LANES, end)), end // each - 1, 1)
            for end in range(each, filters + 1, each)
            for first in range(end - each, end, LANES)
        ]
    else:
        together = groups
        if filters > LANES:
            whole = [n for n in range(1, LANES // each + 1) if n * each % 8 == 0]
            together = max(whole, default=1)
        sets = [
            _Set(
                range(each * first, each * min(first + together, groups)),
                first,
                min(together, groups - first),
            )
            for first in range(0, groups, together)
        ]
    is_wide_enough = each >= _FIELD_INPUTS or all(one.groups == 1 for one in sets)
    has_bytes = all(len(one.filters) % 8 == 0 for one in sets[:-1])
    return sets if is_wide_enough and has_bytes and len(sets) <= _SETS_MAX else []


def _serves(site: Site[HiddenLayer]) -> bool:
    if not is_countable(site) or site.layout.c_name not in ("EBNN_WORDS", "EBNN_HALVES"):
        return False
    return not is_ungrouped(site) and bool(_sets_of(site.layer))


def _blocks(layer: HiddenLayer) -> int:
    """Of 16 inputs, of a window."""
    return -(-fan_in(layer.block, layer.in_shape) // BLOCK_INPUTS)


def _weights(layer: HiddenLayer, filters: range) -> NDArray[np.unsignedinteger]:
    """Of a set, [row][column][channel]; filled-up inputs and filters are -1, as bits 0, which with
    bits 0 in the place of inputs are products of +1."""
    inputs = layer.weight[filters.start : filters.stop].transpose(2, 3, 1, 0) > 0
    positive = np.zeros((_blocks(layer) * BLOCK_INPUTS, LANES), dtype=bool)
    positive[: layer.weight[0].size, : len(filters)] = inputs.reshape(-1, len(filters))
    return packed(positive).astype(f"u{filter_weight_bytes(len(filters))}")


def _starts(layer: HiddenLayer, sets: list[_Set]) -> Words:
    """[classes][sets][planes]: minus 1 more than the products that may be -1 where a filter's sum
    reaches its threshold, and than those of inputs outside the map, which are taken for -1."""
    outside = outside_of(layer)
    outside = outside.reshape(-1, *outside.shape[2:])
    inside = group_channels(layer) * (~outside).sum(axis=(1, 2), dtype=np.int64)[:, None]
    limit = np.clip((inside - layer.threshold) // 2, -1, inside)
    positive = (layer.weight > 0).sum(axis=1)  # [filter][row][column]
    counted_outside = np.einsum("cyx,fyx->cf", outside.astype(np.int64), positive)
    start = -1 - limit - counted_outside
    lanes = np.zeros((len(outside), len(sets), LANES), dtype=np.int64)
    for index, one in enumerate(sets):
        lanes[:, index, : len(one.filters)] = start[:, one.filters.start : one.filters.stop]
    return planes_of(lanes)


def _call(site: Site[HiddenLayer]) -> Step:
    layer, name = site.layer, site.name
    block, sets, blocks = conv_of(layer), _sets_of(layer), _blocks(layer)
    channels = group_channels(layer)
    weights = [_weights(layer, one.filters) for one in sets]
    starts, flips = _starts(layer, sets), pack_flips(layer)
    lanes = min(group_filters(layer), LANES)
    declarations = "".join(
        array(f"{name}_weights{index}", values, f"weights: inputs of filters from {one.filters[0]}")
        for index, (one, values) in enumerate(zip(sets, weights, strict=True))
    )
    listed = "".join(
        f"    {{/* channel */ {one.first_group * channels}, /* groups */ {one.groups},"
        f" /* bytes */ {-(-len(one.filters) // 8)},"
        f" /* weight_bytes */ {values.itemsize}, {name}_weights{index}}},\n"
        for index, (one, values) in enumerate(zip(sets, weights, strict=True))
    )
    declarations += (
        f"static const ebnn_filter_set_t {name}_sets[{len(sets)}] = {{\n{listed}}};\n"
        + array(f"{name}_starts", starts, "starts: classes of positions, sets, planes")
        + array(f"{name}_flips", flips, "1 where the sign falls")
        + struct(
            "ebnn_conv_sliced_groups_t",
            name,
            {
                "window": window(block, layer.in_shape, layer.out_shape),
                "in_bytes": in_bytes(site),
                "out_bytes": out_bytes(site),
                "channels": channels,
                "blocks": blocks,
                "lanes": lanes,
                "set_count": len(sets),
                **edge_fields(edges_of(layer)),
                "firsts": f"0x{sum(1 << lanes * group for group in range(sets[0].groups)):08x}u",
                "group_lanes": f"0x{(1 << lanes) - 1:08x}u",
                "sets": f"{name}_sets",
                "starts": f"{name}_starts",
                "flips": f"{name}_flips",
            },
        )
    )
    written = pixels_layout(layer.out_shape, site.unit_bytes)
    return Step(
        title=str(block),
        declarations=declarations,
        call=f"ebnn_conv_sliced_groups(&{name}, {{input}}, {{output}}, {{scratch}});",
        output_bytes=written.map_bytes,
        kernels=_KERNELS,
        region="ebnn_conv_sliced_groups",
        scratch_bytes=4 * (2 * blocks + -(-blocks // 4) * 4),
        parameter_bytes=total_bytes(*weights, starts, flips),
        block=site.index,
        layout=written,
        lead_bytes=lead_bytes(layer, in_bytes(site), out_bytes(site)),
    )


def _work(site: Site[HiddenLayer]) -> Mapping[str, float]:
    layer = site.layer
    block, sets = conv_of(layer), _sets_of(layer)
    _, height, width = layer.out_shape
    positions = height * width * block.pool**2
    taps, channels = block.kernel_height * block.kernel_width, group_channels(layer)
    inputs = taps * channels
    pieces = len({*range(0, inputs, channels), *range(0, inputs, _FIELD_INPUTS)})
    gathered = positions * pieces * sum(one.groups for one in sets)
    has_bytes = channels % 8 == 0
    return {
        "sets": positions * len(sets),
        "rows": positions * len(sets) * block.kernel_height * has_bytes,
        "fields": positions * len(sets) * pieces * has_bytes,
        "pieces": positions * len(sets) * pieces * (not has_bytes),
        "bytes": gathered * has_bytes,
        "bits": gathered * (not has_bytes),
        "blocks": positions * len(sets) * _blocks(layer),
    }


CONV_SLICED_GROUPS = Variant("conv_sliced_groups", _serves, _call, _work, writes_narrow=True)
