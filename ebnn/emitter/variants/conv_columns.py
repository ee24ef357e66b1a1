"""Weights and thresholds in code: convolutions of integers, by columns. Serves any integer
convolution whose code does not get too long."""

from __future__ import annotations

from collections.abc import Mapping

from ebnn.emitter.program import Step
from ebnn.emitter.variants.column_code import column_code
from ebnn.emitter.variants.column_filters import filters_of, runs_of
from ebnn.emitter.variants.column_pool import shares
from ebnn.emitter.variants.columns import columns_of
from ebnn.emitter.variants.common import compiled_bytes, is_ungrouped
from ebnn.emitter.variants.site import Site, Variant
from ebnn.lowered import HiddenLayer

_TERMS_MAX = 4096  # of all filters, of 4 to 8 bytes each
_REGISTERS = 12  # that a position's table entries may have: more are loaded for every filter


def _serves(site: Site[HiddenLayer]) -> bool:
    if not is_ungrouped(site) or site.layout.c_name not in ("EBNN_U8", "EBNN_I16"):
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
    runs = [run for group in runs_of(columns, filters_of(columns, site.layer)) for run in group]
    shared = [len(run) > 1 for run in runs]  # of a run the first two terms are added up once
    terms = sum(
        is_shared + len(run) * (columns.terms - is_shared)
        for run, is_shared in zip(runs, shared, strict=True)
    )
    loads = columns.in_shape[0] * columns.channel_sums * columns.block.kernel_height
    if loads > _REGISTERS:
        loads = sum(
            2 * is_shared + len(run) * (columns.terms - 2 * is_shared)
            for run, is_shared in zip(runs, shared, strict=True)
        )
    parts = shares(columns)
    windows = columns.count * sum(map(len, parts)) / len(parts) * columns.out_shape[1]
    return {
        "rows": 0 if columns.is_fused else columns.tabulated,
        "fused_rows": columns.tabulated if columns.is_fused else 0,
        "sums": columns.tabulated * columns.channel_sums,
        "filters": columns.positions * columns.out_shape[0],
        "terms": columns.positions * terms,
        "loads": columns.positions * loads,
        "pooled": windows * columns.block.pool * columns.groups,
    }


CONV_COLUMNS = Variant("conv_columns", _serves, _call, _work)
