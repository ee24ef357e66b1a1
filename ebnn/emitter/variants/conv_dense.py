"""Convolutions of dense bits, 32 positions a word, weights compiled into C: with as much scratch as
there is room for, or with the least."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebnn.emitter.c_text import array
from ebnn.emitter.lanes.c_blocks import braces, function
from ebnn.emitter.lanes.filters_c import filters_c, filters_call, operations_of
from ebnn.emitter.lanes.packing import packed_layout
from ebnn.emitter.lanes.plan import Plan, plan_of, smallest_plan_of
from ebnn.emitter.lanes.results_c import results_c, results_calls
from ebnn.emitter.lanes.rows_c import rows_c, rows_call
from ebnn.emitter.lanes.sums_c import sums_c, sums_call
from ebnn.emitter.lanes.work import small_work_of, work_of
from ebnn.emitter.layout import pixels_layout
from ebnn.emitter.program import Step
from ebnn.emitter.variants.common import (
    compiled_bytes,
    is_ungrouped,
    scratch_limit_bytes,
    total_bytes,
)
from ebnn.emitter.variants.site import Site, Variant
from ebnn.lowered import HiddenLayer

_STACK_BYTES = 112  # about what its frames take more than those of the reference lowering
_READS = 27  # planes that a filter reads without taking more stack for each
_OPERATIONS_MAX = 16000  # of the filters, 3 to 4 bytes each
_BORDER_CLASSES_MAX = 256  # a word's class is a byte
_KEPT = 4  # plans, while a site is asked whether it is served, and then what it takes


@lru_cache(maxsize=_KEPT)
def _largest(site: Site[HiddenLayer]) -> Plan | None:
    shape = site.layer.out_shape
    # What a fully connected layer reads is packed.
    map_bytes = int(np.prod(shape)) // 8
    if not site.feeds_linear:
        map_bytes = pixels_layout(shape, site.unit_bytes).map_bytes
    words = scratch_limit_bytes(map_bytes, shape, _STACK_BYTES) // 4
    return plan_of(site.name, site.layer, site.feeds_linear, words, site.unit_bytes)


@lru_cache(maxsize=_KEPT)
def _smallest(site: Site[HiddenLayer]) -> Plan | None:
    return smallest_plan_of(site.name, site.layer, site.feeds_linear, site.unit_bytes)


def _variant(
    name: str,
    planned: Callable[[Site[HiddenLayer]], Plan | None],
    work: Callable[[Plan], Mapping[str, float]],
) -> Variant[HiddenLayer, Step]:
    """The kernel as `planned`, with counts of its `work`."""

    def plan_at(site: Site[HiddenLayer]) -> Plan:
        plan = planned(site)
        assert plan is not None
        return plan

    return Variant(
        name,
        lambda site: _serves(site, planned),
        lambda site: _call(site, plan_at(site)),
        lambda site: work(plan_at(site)),
        writes_narrow=True,
        more_stack_bytes=lambda site: _more_stack_bytes(plan_at(site)),
    )


def _more_stack_bytes(plan: Plan) -> int:
    reads = max(plan.sums.reads(filter_) for filter_ in range(plan.filters))
    return 4 * max(0, reads - _READS)


def _serves(site: Site[HiddenLayer], planned: Callable[[Site[HiddenLayer]], Plan | None]) -> bool:
    if not is_ungrouped(site) or site.layout.c_name != "EBNN_DENSE":
        return False
    if site.feeds_linear and site.unit_bytes < 4:
        return False  # packed maps have no units
    plan = planned(site)
    if plan is None or len(plan.borders.words) > _BORDER_CLASSES_MAX:
        return False
    return sum(operations_of(plan, f) for f in range(plan.filters)) <= _OPERATIONS_MAX


def _call(site: Site[HiddenLayer], plan: Plan) -> Step:
    name = plan.name
    tables: dict[str, tuple[NDArray[Any], str]] = {}
    if plan.borders.any:
        classes = plan.borders.classes.astype(np.uint8)
        tables["borders"] = plan.borders.words, "what lanes need less: [class][filter, bit]"
        tables["classes"] = classes, "of the words before pooling: [strip][word]"
    if plan.packed and plan.is_ragged:
        tables["masks"] = np.array(plan.masks, np.uint32), "lanes in use: [strip][pooled word]"
    declarations = '#include "bits.h"\n\n' + "".join(
        array(f"{name}_{table}", values, what) for table, (values, what) in tables.items()
    )
    declarations += rows_c(plan) + ("" if plan.sums.are_rows else sums_c(plan))
    declarations += "".join(filters_c(plan, group) for group in range(len(plan.groups)))
    declarations += results_c(plan) + _conv(plan)
    written = pixels_layout(site.layer.out_shape, site.unit_bytes)
    if plan.packed:
        written = packed_layout(plan.lanes, plan.merge, plan.batches, plan.groups)
    return Step(
        title=str(site.layer.block),
        declarations=declarations,
        call=f"{name}_conv({{input}}, {{output}}, {{scratch}});",
        output_bytes=written.map_bytes,
        kernels=() if plan.packed else ("transpose.c",),
        region=f"{name}_conv",
        scratch_bytes=4 * plan.scratch_words,
        parameter_bytes=compiled_bytes(site.layer)
        + total_bytes(*(values for values, _ in tables.values())),
        block=site.index,
        layout=written,
    )


def _conv(plan: Plan) -> str:
    """The function that calls the others, batch by batch."""
    areas = ["rows", "planes", "reached", "merged"]
    words = [plan.rows_words, plan.planes_words, plan.reached_words, plan.transposed_words]
    lines = []
    for area, count, start in zip(areas, words, np.cumsum([0, *words]).tolist(), strict=False):
        if count:
            lines.append(f"uint32_t *const {area} = scratch + {start};")
    if plan.rows_in_place:
        lines.append("const uint32_t *rows;")
    length, band_rows = plan.batch_words, plan.lanes.band_rows
    for strip in range(len(plan.lanes.strips)):
        if length == band_rows:
            lines += _batch(plan, strip, "", length)
            continue
        full = band_rows // length * length
        head = f"for (uint32_t word = 0; word < {full}u; word += {length}u)"
        lines += braces(head, _batch(plan, strip, "word", length))
        if full < band_rows:
            lines += _batch(plan, strip, f"{full}u", band_rows - full)
    return function(
        f"{plan.layer.block}, up to 32 positions at a time.",
        f"{plan.name}_conv",
        ["const uint32_t *in", "uint32_t *out", "uint32_t *scratch"],
        lines,
    )


def _batch(plan: Plan, strip: int, first: str, count: int) -> list[str]:
    lines = [rows_call(plan, strip, first, count)]
    if not plan.sums.are_rows:
        lines.append(sums_call(plan, strip, first, count))
    for group in range(len(plan.groups)):
        lines.append(filters_call(plan, group, count))
        lines += results_calls(plan, group, strip, first, count)
    return lines


CONV_DENSE = _variant("conv_dense", _largest, work_of)
CONV_DENSE_SMALL = _variant("conv_dense_small", _smallest, small_work_of)
