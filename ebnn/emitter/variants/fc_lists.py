"""fc_lists.c: 32 outputs at a time, adding up the weights of listed inputs. Serves fully connected
layers on bits that do not have too many inputs for a list's 16-bit offsets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import Linear
from ebnn.emitter.c_text import array, struct
from ebnn.emitter.layout import WORD_BITS, words_layout
from ebnn.emitter.program import Step
from ebnn.emitter.variants.common import total_bytes
from ebnn.emitter.variants.site import Site, Variant
from ebnn.lowered import HiddenLayer
from ebnn.packing import pack_rows

_WORDS_MAX = 511  # the offset of the last weight has 16 bits
_PLANES_MIN = 8  # the lowest 7 are added to at once
_CHUNK = 128  # EBNN_LIST_CHUNK, EBNN_LIST_SPARE: entries of 2 bytes
_SPARE = 32
_AT_ONCE = 32  # the list is made up to a multiple of these


def _serves(site: Site[HiddenLayer]) -> bool:
    if not isinstance(site.layer.block, Linear) or site.layout.bit_of is None:
        return False
    return site.layer.weight.shape[1] >= 2 and site.layout.words <= _WORDS_MAX


def _lanes(values: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Words (..., groups) of bits (..., outputs), 0 past the last output."""
    rows = np.where(values.reshape(-1, values.shape[-1]), 1, -1).astype(np.int8)
    return pack_rows(rows).reshape(*values.shape[:-1], -1)


def _call(site: Site[HiddenLayer]) -> Step:
    layer, name, layout = site.layer, site.name, site.layout
    assert layout.bit_of is not None
    outputs, inputs = layer.weight.shape
    planes = max(_PLANES_MIN, (inputs // 2).bit_length())
    groups = -(-outputs // WORD_BITS)
    weights = np.zeros((groups, WORD_BITS * layout.words + 1), np.uint32)
    # Of each word of the map the highest bit comes first.
    weights[:, layout.bit_of.ravel() ^ (WORD_BITS - 1)] = _lanes(layer.weight.T > 0).T
    used = layout.pack(np.ones(layer.in_shape, np.int8))
    limits, is_flipped = _limits(layer)
    is_set = limits[:, None] >> np.arange(planes + 1)[:, None] & 1 == 1
    limit_planes = np.ascontiguousarray(_lanes(is_set).swapaxes(1, 2))
    flips = ~_lanes(~is_flipped)  # a lane without an output gives 0
    declarations = (
        array(f"{name}_used", used, "1 where an input's bit is")
        + array(f"{name}_weights", weights, "weights: 32 outputs a word; inputs, then a 0")
        + array(f"{name}_limits", limit_planes, "what a count must reach, bit-sliced")
        + array(f"{name}_flips", flips, "1 where the sign falls")
        + struct(
            "ebnn_fc_lists_t",
            name,
            {
                "inputs": inputs,
                "words": layout.words,
                "groups": groups,
                "planes": planes,
                "used": f"{name}_used",
                "weights": f"{name}_weights",
                "limits": f"{name}_limits",
                "flips": f"{name}_flips",
            },
        )
    )
    written = words_layout(layer.out_shape)
    return Step(
        title=str(layer.block),
        declarations=declarations,
        call=f"ebnn_fc_lists(&{name}, {{input}}, {{output}}, {{scratch}});",
        output_bytes=written.map_bytes,
        kernels=("fc_lists.c",),
        region="ebnn_fc_lists",
        scratch_bytes=2 * (_CHUNK + _SPARE) + 4 * groups * planes,
        parameter_bytes=total_bytes(used, weights, limit_planes, flips),
        block=site.index,
        layout=written,
    )


def _limits(layer: HiddenLayer) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """What 2 a - m + inputs // 2 must reach, int (2, outputs), with m inputs listed and a of an
    output's weights at these +1, for `ebnn_fc_lists_t.limits`; and whether it is then that the
    output is -1. First where the inputs that are +1 are listed, then where those that are -1 are.
    """
    inputs = layer.weight.shape[1]
    half = inputs // 2
    # Products that may be -1 for the sum to reach the threshold: w + m - 2 a of them are, with w
    # weights +1, or inputs - w - (m - 2 a) where the inputs that are -1 are listed.
    negative = ((inputs - layer.threshold.astype(np.int64)) // 2).clip(-1, inputs)
    positive = (layer.weight > 0).sum(axis=1)
    limits = np.stack([positive - negative, positive - inputs + negative + 1]) + half
    is_flipped = np.stack([layer.flip, ~layer.flip])
    is_never = limits > 2 * half
    return np.where(is_never, 0, limits.clip(0)), is_flipped ^ is_never


def _work(site: Site[HiddenLayer]) -> Mapping[str, float]:
    outputs, inputs = site.layer.weight.shape
    groups = -(-outputs // WORD_BITS)
    entries = -(-inputs // 2 // _AT_ONCE) * _AT_ONCE
    planes = max(_PLANES_MIN, (inputs // 2).bit_length())
    chunks = -(-entries // _CHUNK)
    return {
        "words": site.layout.words,
        "entries": groups * entries,
        "chunks": chunks,
        "added_chunks": groups * chunks,
        "planes": groups * planes,
    }


FC_LISTS = Variant("fc_lists", _serves, _call, _work)
