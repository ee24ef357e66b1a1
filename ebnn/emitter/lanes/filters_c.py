"""C of the filters: their weights and thresholds are what it adds and compares."""

from __future__ import annotations

import re

from ebnn.emitter.lanes.c_blocks import braces, function
from ebnn.emitter.lanes.circuit import Circuit, Signal, reaches
from ebnn.emitter.lanes.plan import Plan

_READ = re.compile(r"\w+\[\d+\](?: [<>]{2} \d+)?")  # perhaps shifted
_WAITING = (2, 4)  # carries that wait in a circuit: the first one, if it takes no more operations


def filters_c(plan: Plan, group: int) -> str:
    """The function for a group of filters."""
    lanes = plan.lanes
    step = plan.sums.pitch * lanes.row_step
    body = []
    filters = plan.groups[group]
    for bundle in plan.bundles(filters):
        for filter_ in bundle:
            body += _filter(plan, filter_, filter_ - filters.start)
            body.append(
                "EBNN_FORGET();" if filter_ == bundle[-1] else "EBNN_FORGET_IF_FEW_REGISTERS();"
            )
    body.append(f"reached += {len(filters)};")
    lines = braces(f"for (const uint32_t *p = planes; p != end; p += {step})", body)
    parameters = ["const uint32_t *planes", "const uint32_t *end", "uint32_t *__restrict reached"]
    if lanes.has_gaps:
        start = f"const uint32_t *const row = planes + word * {lanes.block.pool_stride * step}u;"
        used = f"p != row + {lanes.block.pool * step}"
        inner = braces(f"for (const uint32_t *p = row; {used}; p += {step})", body)
        lines = braces("for (uint32_t word = 0; word < count; ++word)", [start, *inner])
        parameters[1] = "uint32_t count"
    return function(
        "Lanes where filters reach their thresholds: [word before pooling][filter].",
        f"{plan.name}_filters{group}",
        parameters,
        lines,
    )


def filters_call(plan: Plan, group: int, count: int) -> str:
    """Statement for `count` pooled words."""
    planes = "rows" if plan.sums.are_rows else "planes"
    end = f"{planes} + {plan.sums.pitch * plan.lanes.row_step * plan.lanes.conv_words(count)}"
    if plan.lanes.has_gaps:
        end = f"{count}u"
    return f"{plan.name}_filters{group}({planes}, {end}, reached);"


def _circuit(plan: Plan, filter_: int) -> tuple[list[str], Signal | bool]:
    """`_new_circuit`, made once for a plan."""
    if filter_ not in plan.circuits:
        plan.circuits[filter_] = _new_circuit(plan, filter_)
    return plan.circuits[filter_]


def _new_circuit(plan: Plan, filter_: int) -> tuple[list[str], Signal | bool]:
    """Lines, and the lanes where a filter reaches its threshold; its window's planes are at `p`."""
    terms = plan.sums.terms(filter_)
    for bit in range(plan.borders.bits[filter_]):
        if bit == len(terms):
            terms.append([])
        terms[bit].append(Signal(f"border[{plan.borders.first[filter_] + bit}]"))
    found = []
    for waiting in _WAITING:
        circuit = Circuit()
        result = reaches(circuit, terms, int(plan.borders.least[filter_]), waiting)
        lines = circuit.lines(result) if isinstance(result, Signal) else []
        found.append((lines, result))
    return min(found, key=lambda lines_and_result: len(lines_and_result[0]))


def operations_of(plan: Plan, filter_: int) -> int:
    """Instructions that a filter takes for a window: operations, loads and a store."""
    lines, _ = _circuit(plan, filter_)
    reads = set(_READ.findall(" ".join(lines)))
    return len(lines) + sum(2 if " " in read else 1 for read in reads) + 1


def _filter(plan: Plan, filter_: int, at: int) -> list[str]:
    operations, result = _circuit(plan, filter_)
    lines = [f"/* filter {filter_}: at least {plan.borders.least[filter_]} */"]
    if isinstance(result, bool):
        return [*lines, f"reached[{at}] = 0x{0xFFFFFFFF * result:x}u;"]
    if any("border[" in line for line in operations):
        start = f"{plan.name}_borders + p[{plan.sums.first_extra}]"
        lines.append(f"const uint32_t *const border = {start};")
    text = f"~{result.text}" if result.inverted else result.text
    return braces("", [*lines, *operations, f"reached[{at}] = {text};"])
