"""Weights and thresholds in code: convolutions of integers, by columns. Serves any integer
convolution whose code does not get too long."""

from __future__ import annotations

from collections.abc import Mapping

from ebnn.emitter.program import Step
from ebnn.emitter.variants.column_code import column_code
from ebnn.emitter.variants.columns import columns_of
from ebnn.emitter.variants.common import compiled_bytes, is_conv
from ebnn.emitter.variants.site import Site, Variant
from ebnn.lowered import HiddenLayer

_TERMS_MAX = 4096  # of all filters, of 4 to 8 bytes each


def _serves(site: Site[HiddenLayer]) -> bool:
    if not is_conv(site) or site.layout.c_name not in ("EBNN_U8", "EBNN_I16"):
        return False
    return site.layer.out_shape[0] * columns_of(site).terms <= _TERMS_MAX


def _call(site: Site[HiddenLayer]) -> Step:
    layer, columns = site.layer, columns_of(site)
    return Step(
        title=str(layer.block),
        declarations=column_code(site.name, columns, layer),
        call=f"{site.name}({{input}}, {{output}}, {{scratch}});",
        output_bytes=columns.layout.map_bytes,
        kernels=("columns.h",),
        region=site.name,
        scratch_bytes=4 * columns.scratch_words,
        parameter_bytes=compiled_bytes(layer),
        block=site.index,
        layout=columns.layout,
    )


def _work(site: Site[HiddenLayer]) -> Mapping[str, float]:
    columns = columns_of(site)
    filters = site.layer.out_shape[0]
    return {
        "rows": columns.tabulated,
        "sums": columns.tabulated * columns.channel_sums,
        "positions": columns.positions,
        "filters": columns.positions * filters,
        "terms": columns.positions * filters * columns.terms,
    }


CONV_COLUMNS = Variant("conv_columns", _serves, _call, _work)
