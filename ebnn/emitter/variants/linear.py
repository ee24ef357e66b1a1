"""fc.c and head.c: fully connected layers, an output at a time. Serve any input."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import Linear, fan_in
from ebnn.emitter.c_text import array, struct
from ebnn.emitter.layout import WORD_BITS, words_layout
from ebnn.emitter.program import Head, Step
from ebnn.emitter.variants.common import pack_flips, total_bytes
from ebnn.emitter.variants.site import AnyLayer, Site, Variant
from ebnn.lowered import HeadLayer, HiddenLayer
from ebnn.packing import pack_rows

_OUTPUTS_AT_ONCE = 32  # EBNN_SUMS_AT_ONCE
_BLOCK_WORDS = 8  # that rows.c counts at a time
_VALUES_STACK_BYTES = 304  # that integers take more than bits: tables of their sums
_SUMS = ("linear_sum.c", "rows.c", "rows.h")


def _weights(site: Site[AnyLayer]) -> NDArray[np.uint32]:
    if site.layout.bit_of is None:
        return pack_rows(site.layer.weight)
    return site.layout.pack(site.layer.weight.reshape(-1, *site.layer.in_shape))


def _linear(site: Site[AnyLayer], weights: NDArray[np.uint32]) -> str:
    """Initializer of an `ebnn_linear_t`."""
    outputs, words = weights.shape
    inputs = fan_in(site.layer.block, site.layer.in_shape)
    return f"{{{inputs}, {outputs}, {words}, {site.layout.c_name}, {site.name}_weights}}"


def _fc(site: Site[HiddenLayer]) -> Step:
    layer, name = site.layer, site.name
    weights = _weights(site)
    threshold, flips = layer.threshold.astype(np.int32), pack_flips(layer)
    declarations = (
        array(f"{name}_weights", weights, "weights: outputs, then the bits of the input's layout")
        + array(f"{name}_thresholds", threshold, "the sum that turns the sign")
        + array(f"{name}_flips", flips, "1 where the sign falls")
        + struct(
            "ebnn_fc_t",
            name,
            {
                "linear": _linear(site, weights),
                "thresholds": f"{name}_thresholds",
                "flips": f"{name}_flips",
            },
        )
    )
    written = words_layout(layer.out_shape)
    return Step(
        title=str(layer.block),
        declarations=declarations,
        call=f"ebnn_fc(&{name}, {{input}}, {{output}});",
        output_bytes=written.map_bytes,
        kernels=("fc.c", *_SUMS),
        region="ebnn_fc",
        parameter_bytes=total_bytes(weights, threshold, flips),
        block=site.index,
        layout=written,
    )


def _head(site: Site[HeadLayer]) -> Head:
    layer, name = site.layer, site.name
    weights = _weights(site)
    declarations = (
        array(f"{name}_weights", weights, "weights: classes, then the bits of the input's layout")
        + array(f"{name}_multipliers", layer.multiplier, f"in units of 2^{-layer.shift}")
        + array(f"{name}_offsets", layer.offset, f"in units of 2^{-layer.shift}")
        + struct(
            "ebnn_head_t",
            name,
            {
                "linear": _linear(site, weights),
                "multipliers": f"{name}_multipliers",
                "offsets": f"{name}_offsets",
            },
        )
    )
    return Head(
        title=f"{layer.block}, argmax",
        declarations=declarations,
        call=f"ebnn_head(&{name}, {{input}}, scores)",
        kernels=("head.c", *_SUMS),
        region="ebnn_head",
        parameter_bytes=total_bytes(weights, layer.multiplier, layer.offset),
    )


def _work(site: Site[AnyLayer]) -> Mapping[str, float]:
    outputs, inputs = site.layer.weight.shape
    if site.layout.bit_of is None:
        batches = -(-outputs // _OUTPUTS_AT_ONCE)
        values = -(-inputs // WORD_BITS) * WORD_BITS
        return {
            "outputs": outputs,
            "values": outputs * values,
            "tabulated_values": batches * values,
        }
    blocks, rest = divmod(site.layout.words, _BLOCK_WORDS)
    return {"outputs": outputs, "word_blocks": outputs * blocks, "odd_words": outputs * rest}


def _is_linear(site: Site[HiddenLayer]) -> bool:
    return isinstance(site.layer.block, Linear)


def _more_stack_bytes(site: Site[AnyLayer]) -> int:
    return _VALUES_STACK_BYTES if site.layout.bit_of is None else 0


FC = Variant("fc", _is_linear, _fc, _work, more_stack_bytes=_more_stack_bytes)
HEAD = Variant[HeadLayer, Head](
    "head", lambda site: True, _head, _work, more_stack_bytes=_more_stack_bytes
)
