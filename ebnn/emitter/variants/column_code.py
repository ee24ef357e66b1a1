"""The C of a convolution by columns: functions named after the block, for model.c."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ebnn.emitter.c_text import function, literal
from ebnn.emitter.variants.column_filters import Filter, Term, filters_of, runs_of
from ebnn.emitter.variants.column_loops import loop_functions
from ebnn.emitter.variants.column_pool import pool_functions
from ebnn.emitter.variants.columns import Columns
from ebnn.lowered import HiddenLayer

# With as many terms gcc keeps what it loaded for one filter on the stack for others where registers
# are few: that takes up to 600 bytes, and mostly longer than loading it again.
_RELOADED_TERMS_MIN = 4


def column_code(name: str, columns: Columns, layer: HiddenLayer) -> str:
    """All functions of block `name`; `name(in, out, scratch)` is the whole convolution."""
    filters = filters_of(columns, layer)
    tables = [_tabulate(name, columns), _filters(name, columns, filters)]
    if columns.is_fused:
        fused = _fused(name, columns, filters)
        tables = ["#if defined(EBNN_FEW_REGISTERS)", *tables, "#else", fused, "#endif\n"]
    table = _table(name, columns)
    parts = ['#include "columns.h"\n', table, *tables, *pool_functions(name, columns, layer)]
    return "\n".join([*parts, *loop_functions(name, columns)])


def _table(name: str, columns: Columns) -> str:
    """A row's tables, of one channel."""
    factor = f"{columns.scale}u * " if columns.scale != 1 else ""
    body = []
    for tap in range(columns.block.kernel_width):
        value = f"(uint32_t)pixel[{tap}]"
        if columns.lanes == 2:
            value = f"EBNN_LANES(pixel, {tap}, {tap + columns.block.stride})"
        body.append(f"const uint32_t tap{tap} = {factor}{value};")
    start = 0
    for first, count in columns.chunks:
        last = first + count - 1
        others = "".join(f" - tap{tap}" for tap in range(first, last))
        body.append(f"sums[{start}] = tap{last}{others};")
        for tap in range(count - 1):
            body += [
                f"sums[{start + (1 << tap) + entry}] ="
                f" sums[{start + entry}] + 2u * tap{first + tap};"
                for entry in range(1 << tap)
            ]
        start += 1 << (count - 1)
    return function(
        "The tables of a row, `pixel` being the first value that a column's taps are.",
        f"EBNN_INLINE void {name}_table(const {columns.value_type} *pixel, uint32_t *sums)",
        body,
    )


def _tabulate(name: str, columns: Columns) -> str:
    entries = columns.channel_sums
    body = [
        "do {",
        f"uint32_t sums[{entries}];",
        f"{name}_table(pixel, sums);",
        *(f"v[{entry}] = sums[{entry}];" for entry in _store_order(entries)),
        "pixel += pitch;",
        f"v += {columns.row_words};",
        "} while (--rows != 0u);",
    ]
    return function(
        "Those of `rows` rows.",
        f"EBNN_NOINLINE void {name}_tabulate(const {columns.value_type} *pixel, uint32_t pitch,"
        " uint32_t rows, uint32_t *v)",
        body,
    )


def _store_order(entries: int) -> list[int]:
    """No neighbours in a row: STRD takes 3 cycles, two STR take 2."""
    return [*range(1, entries, 2), *range(0, entries, 2)]


def _filters(name: str, columns: Columns, filters: list[Filter]) -> str:
    body = [f"EBNN_HOLD(v, {entry});" for entry in columns.held]

    def value(term: Term) -> str:
        return f"EBNN_HELD(v, {term.entry})" if term.entry in columns.held else f"v[{term.entry}]"

    sums = _sums(columns, filters, value)
    loop = ["do {", *body, *sums, f"v += {columns.bits_words};", "} while (--rows != 0u);"]
    word = f"v[g] is set where the sum of\n * filter {columns.group_filters} g + k"
    if columns.lanes == 2:
        word = "the lanes of " + word
    return function(
        f"For `rows` rows of the convolution: bit k of {word} is below its threshold."
        f"\n * {_range_text(columns)}",
        f"EBNN_NOINLINE void {name}_filters(uint32_t *v, uint32_t rows)",
        loop,
    )


def _range_text(columns: Columns) -> str:
    most = columns.largest_distance
    if columns.scale == 2:
        return f"Lanes are within -{2 * most + 1}..{2 * most + 1}."
    middle = 1 << (columns.group_filters - 1)
    what = "Lanes" if columns.lanes == 2 else "Sums"
    return f"{what} are within {middle - 1 - most}..{middle - 1 + most}."


def _fused(name: str, columns: Columns, filters: list[Filter]) -> str:
    width = columns.in_shape[2]
    entries = range(4)
    body = [
        "uint32_t b[4], c[4];",
        f"{name}_table(pixel, c);",
        *(f"v[{4 + entry}] = c[{entry}];" for entry in entries),
        "do {",
        "EBNN_ALIGN();",
        "EBNN_SETTLE(pixel);",
        "EBNN_SETTLE(v);",
        f"{name}_table(pixel + {width}, b);",
        *(f"EBNN_SETTLE(b[{entry}]);" for entry in entries),
        f"{name}_table(pixel + {2 * width}, c);",
        *(f"EBNN_SETTLE(c[{entry}]);" for entry in entries),
        *(f"v[{12 + entry}] = c[{entry}];" for entry in _store_order(4)),
        f"pixel += {2 * width};",
        "EBNN_FORGET();",
    ]

    def value(term: Term) -> str:
        row, entry = divmod(term.entry - 4, 4)
        return f"{'abc'[row]}[{entry}]"

    body += _sums(columns, filters, value)
    body += [f"v += {columns.bits_words};", "} while (--rows != 0u);"]
    return function(
        "Both at once: of a window's three tables, two stay in registers."
        f"\n * {_range_text(columns)}",
        f"EBNN_NOINLINE void {name}_fused(const {columns.value_type} *pixel, uint32_t rows,"
        " uint32_t *v)",
        body,
    )


def _sums(columns: Columns, filters: list[Filter], value: Callable[[Term], str]) -> list[str]:
    """Set the groups' words of bits, v[0], v[1], ...; `value` is the C of a table's entry."""
    lines: list[str] = []
    declared: set[str] = set()

    def settle(variable: str, text: str) -> None:
        declaration = "" if variable in declared else "uint32_t "
        declared.add(variable)
        lines.extend([f"{declaration}{variable} = {text};", f"EBNN_SETTLE({variable});"])

    lead = None
    for group, runs in enumerate(runs_of(columns, filters)):
        lines.append(f"uint32_t below{group} = 0;")
        for run in runs:
            first = run[0].terms[0]
            start = "a" if columns.has_lead else value(first)
            if columns.has_lead and first.entry != lead:
                lead = first.entry
                settle("a", f"v[{lead}]")
            shared = 1
            if len(run) > 1:
                second = run[0].terms[1]
                settle(
                    "pair", f"{start} {'+' if first.sign == second.sign else '-'} {value(second)}"
                )
                start, shared = "pair", 2
            for one in run:
                if columns.terms >= _RELOADED_TERMS_MIN:
                    lines.append("EBNN_RELOAD();")
                terms = [(start, one.terms[0].sign)]
                terms += [(value(term), term.sign) for term in one.terms[shared:]]
                lines.append(_put_signs(columns, group, one, terms))
        lines.append(f"v[{group}] = below{group};")
    return lines


def _put_signs(columns: Columns, group: int, one: Filter, terms: list[tuple[str, int]]) -> str:
    lanes = 0x10001 if columns.lanes == 2 else 1
    constant = literal(np.uint32(one.constant * lanes & 0xFFFFFFFF))
    text = "".join(f" {'+' if sign > 0 else '-'} {value}" for value, sign in terms)
    macro = "EBNN_PUT_SIGNS" if columns.lanes == 2 else "EBNN_PUT_SIGN"
    return f"{macro}(below{group}, {one.index % columns.group_filters}, {constant}{text});"
