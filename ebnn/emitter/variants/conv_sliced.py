"""conv_sliced.c, conv_sliced_narrow.c and conv_tables.c: 32 filters at a time. Serve binary
convolutions of words and half-words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import ConvPool
from ebnn.emitter.c_text import array, struct, window
from ebnn.emitter.layout import pixels_layout
from ebnn.emitter.program import Step
from ebnn.emitter.variants.bit_sliced import (
    BLOCK_INPUTS,
    Words,
    filter_weight_bytes,
    in_bytes,
    is_countable,
    out_bytes,
    packed,
    planes_of,
)
from ebnn.emitter.variants.common import conv_of, is_ungrouped, lead_bytes, pack_flips, total_bytes
from ebnn.emitter.variants.edges import edge_fields, edges_of, outside_of
from ebnn.emitter.variants.site import Site, Variant
from ebnn.lowered import HiddenLayer

_HEADERS = "sliced.h", "sliced_weights.h", "counters.h"
_TABLES, _TABLE_INPUTS = 5, 3  # and one input by itself


def _serves(site: Site[HiddenLayer]) -> bool:
    return _is_countable(site) and site.layout.c_name == "EBNN_WORDS"


def _is_countable(site: Site[HiddenLayer]) -> bool:
    return is_ungrouped(site) and is_countable(site)


def _has_narrow(site: Site[HiddenLayer]) -> bool:
    """Whether a map or the last weights have fewer bytes than whole words."""
    if not _is_countable(site) or site.layout.c_name not in ("EBNN_WORDS", "EBNN_HALVES"):
        return False
    is_wide = site.layout.c_name == "EBNN_WORDS" and site.unit_bytes == 4
    return not is_wide or _last_weight_bytes(site.layer.out_shape[0]) < 4


def _last_weight_bytes(filters: int) -> int:
    """Of an input's weights in the last group: 4, 2 or 1."""
    return filter_weight_bytes((filters - 1) % 32 + 1)


def _blocks(layer: HiddenLayer) -> int:
    return -(-layer.in_shape[0] // BLOCK_INPUTS)


def _by_block(layer: HiddenLayer) -> NDArray[np.bool_]:
    """What is +1, bool [group][row][column][block][input][filter]; filled-up channels and filters
    are -1, as bits 0, which with the map's spare bits, 0 too, are products of +1."""
    filters, channels, *kernel = layer.weight.shape
    groups, blocks = -(-filters // 32), _blocks(layer)
    positive = np.zeros((groups * 32, blocks * BLOCK_INPUTS, *kernel), dtype=bool)
    positive[:filters, :channels] = layer.weight > 0
    by_block = positive.reshape(groups, 32, blocks, BLOCK_INPUTS, *kernel)
    return by_block.transpose(0, 4, 5, 2, 3, 1)


def _call(
    site: Site[HiddenLayer], weights_of: Callable[[NDArray[np.bool_]], Words], kernel: str
) -> Step:
    """How to call `kernel`, whose weights `weights_of` makes of `_by_block`."""
    weights = weights_of(_by_block(site.layer)).reshape(-(-site.layer.out_shape[0] // 32), -1)
    declarations = array(
        f"{site.name}_weights", weights, "weights: groups of 32 filters, then the inputs"
    )
    name = site.name
    declarations += _tables_c(site) + struct(
        "ebnn_conv_sliced_t", name, _fields(site, weights.shape[1], f"{name}_weights")
    )
    return _step(site, kernel, declarations, weights.nbytes)


def _call_narrow(site: Site[HiddenLayer]) -> Step:
    name, filters = site.name, site.layer.out_shape[0]
    last_bytes = _last_weight_bytes(filters)
    weights = _sliced_weights(_by_block(site.layer)).reshape(-(-filters // 32), -1)
    words = weights if last_bytes == 4 else weights[:-1]
    last = np.zeros(0, np.uint8) if last_bytes == 4 else weights[-1].astype(f"u{last_bytes}")
    arrays = {"weights": words, "last_weights": last}
    declarations = "".join(
        array(f"{name}_{field}", values, "weights: groups of filters, then the inputs")
        for field, values in arrays.items()
        if values.size
    )
    places = {field: f"{name}_{field}" if arrays[field].size else "0" for field in arrays}
    fields = _fields(site, weights.shape[1], places["weights"])
    declarations += _tables_c(site) + struct(
        "ebnn_conv_sliced_narrow_t",
        name,
        {
            "sliced": f"{{{', '.join(map(str, fields.values()))}}}",
            "word_groups": len(words),
            "last_weight_bytes": last_bytes,
            "last_weights": places["last_weights"],
        },
    )
    return _step(site, "conv_sliced_narrow", declarations, words.nbytes + last.nbytes)


def _tables_c(site: Site[HiddenLayer]) -> str:
    """C of what every kernel has besides weights."""
    return array(
        f"{site.name}_starts", _starts(site.layer), "starts: classes of positions, groups, planes"
    ) + array(f"{site.name}_flips", pack_flips(site.layer), "1 where the sign falls")


def _fields(site: Site[HiddenLayer], group_weights: int, weights: str) -> dict[str, object]:
    """Of an `ebnn_conv_sliced_t`."""
    layer = site.layer
    block, edges = conv_of(layer), edges_of(layer)
    return {
        "window": window(block, layer.in_shape, layer.out_shape),
        "in_bytes": in_bytes(site),
        "out_bytes": out_bytes(site),
        "blocks": _blocks(layer),
        "pixel_weights": group_weights // (block.kernel_height * block.kernel_width),
        **edge_fields(edges),
        "weights": weights,
        "starts": f"{site.name}_starts",
        "flips": f"{site.name}_flips",
    }


def _step(
    site: Site[HiddenLayer],
    kernel: str,
    declarations: str,
    weight_bytes: int,
) -> Step:
    layer = site.layer
    block = conv_of(layer)
    carries = block.kernel_height * block.kernel_width * _blocks(layer)
    written = pixels_layout(layer.out_shape, site.unit_bytes)
    return Step(
        title=str(block),
        declarations=declarations,
        call=f"ebnn_{kernel}(&{site.name}, {{input}}, {{output}}, {{scratch}});",
        output_bytes=written.map_bytes,
        kernels=(f"{kernel}.c", *_HEADERS),
        region=f"ebnn_{kernel}",
        scratch_bytes=4 * (-(-carries // 4) * 4),
        parameter_bytes=weight_bytes + total_bytes(_starts(layer), pack_flips(layer)),
        block=site.index,
        layout=written,
        lead_bytes=lead_bytes(layer, in_bytes(site), out_bytes(site)),
    )


def _starts(layer: HiddenLayer) -> Words:
    """[classes][groups][planes]: minus 1 more than the products that may be -1 where a filter's
    sum, inside - 2 * negatives, reaches its threshold."""
    filters = len(layer.weight)
    outside = outside_of(layer)
    outside = outside.reshape(-1, *outside.shape[2:])
    inside = layer.in_shape[0] * (~outside).sum(axis=(1, 2), dtype=np.int64)
    limit = np.full((len(outside), -(-filters // 32) * 32), -1)
    limit[:, :filters] = (inside[:, None] - layer.threshold) // 2
    start = -1 - np.clip(limit, -1, inside[:, None])
    return planes_of(start.reshape(len(outside), -1, 32))


def _sliced_weights(positive: NDArray[np.bool_]) -> Words:
    return packed(positive[..., ::-1, :])  # the kernel takes inputs from the top bit down


def _tables(positive: NDArray[np.bool_]) -> Words:
    """For each block five tables [entry][plane] and the weights of the last input."""
    shape = positive.shape[:4]
    three = positive[..., :-1, :].reshape(*shape, _TABLES, 1, _TABLE_INPUTS, 32)
    entries = 1 << _TABLE_INPUTS
    inputs = np.arange(entries)[:, None] >> np.arange(_TABLE_INPUTS) & 1
    negatives = (three != inputs[..., None]).sum(axis=-2)  # 0..3
    planes = np.stack([negatives & 1, negatives >> 1], axis=-2).astype(bool)
    tables = packed(planes).reshape(*shape, 2 * entries * _TABLES)
    return np.concatenate([tables, packed(positive[..., -1:, :])], axis=-1)


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


CONV_SLICED = Variant(
    "conv_sliced",
    _serves,
    lambda site: _call(site, _sliced_weights, "conv_sliced"),
    _work,
)
CONV_SLICED_NARROW = Variant(
    "conv_sliced_narrow", _has_narrow, _call_narrow, _work, writes_narrow=True
)
CONV_TABLES = Variant(
    "conv_tables", _serves, lambda site: _call(site, _tables, "conv_tables"), _work
)
