"""What the cycles of a plan grow with."""

from __future__ import annotations

from collections.abc import Mapping

from ebnn.emitter.lanes.filters_c import operations_of
from ebnn.emitter.lanes.plan import Plan
from ebnn.emitter.lanes.rows_c import is_unrolled
from ebnn.emitter.lanes.sums_c import sums_operations

_NARROW_READS = 12  # of a filter; more take more registers than there are


def work_of(plan: Plan) -> Mapping[str, float]:
    """Counts by name, of one inference. Operations are instructions on words, loads and stores
    included; those of filters that read many planes take longer, as registers run out."""
    lanes, counts = plan.lanes, [count for _, _, count in plan.batches]
    rows = 0 if plan.rows_in_place else plan.rows_read * sum(map(lanes.map_words, counts))
    kept = sum(map(plan.kept_words, counts))
    row_operations, window_operations = sums_operations(plan)
    filter_operations = kept * sum(operations_of(plan, f) for f in range(plan.filters))
    reads = max(plan.sums.reads(f) for f in range(plan.filters))
    kind = "narrow" if reads <= _NARROW_READS else "wide"
    kind = kind if plan.sums.tabulated else "tap"
    words = 0 if plan.packed else -(-plan.filters // plan.transposed)
    swapped = len(counts) * words * plan.transposed_words
    return {
        "rows": 0 if is_unrolled(plan) else rows,
        "unrolled_rows": rows if is_unrolled(plan) else 0,
        "row_operations": row_operations * sum(map(lanes.map_words, counts)),
        "window_operations": window_operations * sum(map(lanes.conv_words, counts)),
        **{
            f"{name}_operations": filter_operations if name == kind else 0
            for name in ("narrow", "wide", "tap")
        },
        "filter_words": kept * plan.filters,
        "loops": kept * len(plan.groups) + sum(map(lanes.map_words, counts)),
        "pooled": sum(counts) * plan.filters * lanes.block.pool,
        "transposed": swapped * (plan.transposed_words.bit_length() - 1),
        "written": words * lanes.out_shape[1] * len(lanes.strips) * lanes.columns,
    }


def small_work_of(plan: Plan) -> Mapping[str, float]:
    """Counts for the plan with the least scratch, which are fewer: nothing is shared."""
    lanes, counts = plan.lanes, [count for _, _, count in plan.batches]
    operations = sum(operations_of(plan, f) for f in range(plan.filters))
    parts = 0 if plan.packed else -(-plan.filters // plan.transposed)
    return {
        "rows": plan.rows_read * sum(map(lanes.map_words, counts)),
        "operations": operations * sum(map(plan.kept_words, counts)),
        "pooled": sum(counts) * plan.filters * lanes.block.pool,
        "written": parts * lanes.out_shape[1] * len(lanes.strips) * lanes.columns,
    }
