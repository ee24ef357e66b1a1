"""The C that goes through bands and columns, and what to do at the map's edges."""

from __future__ import annotations

from ebnn.emitter.c_text import function, times
from ebnn.emitter.variants.column_pool import pool_calls
from ebnn.emitter.variants.columns import Columns


def loop_functions(name: str, columns: Columns) -> list[str]:
    """The function `name`, which is the whole block, and what it needs."""
    strip = [_strip(name, columns)] if columns.has_edges else []
    return [*strip, _whole(name, columns)]


def _strip(name: str, columns: Columns) -> str:
    width = columns.in_shape[2]
    return function(
        "What a column reads of `rows` rows, from the map's column `left` on; 0 outside the map.",
        f"EBNN_NOINLINE void {name}_strip(const {columns.value_type} *row, int32_t left,"
        f" uint32_t rows, {columns.value_type} *strip)",
        [
            f"for (; rows != 0u; --rows, row += {width}) {{",
            f"for (int32_t x = left; x < left + {columns.span}; ++x) {{",
            f"*strip++ = x >= 0 && x < {width} ? row[x] : 0;",
            "}",
            "}",
        ],
    )


def _whole(name: str, columns: Columns) -> str:
    block, band, height = columns.block, columns.band, columns.out_shape[1]
    body = []
    if columns.has_edges:
        body.append(f"{columns.value_type} strip[{columns.table_rows(band) * columns.span}];")
    if band < height:
        body += _band_lines(columns)
    rows, conv_rows = ("rows", "conv_rows")
    if band == height:
        rows, conv_rows = f"{height}u", f"{columns.conv_rows(height)}u"
    body.append(f"for (uint32_t column = 0; column < {columns.count}u; ++column) {{")
    by_tables = [*_tabulate_calls(name, columns), f"{name}_filters(v, {conv_rows});"]
    if columns.is_fused:
        above = f"{times('top', columns.in_shape[2])} + " if band < height else ""
        first = f"in + {above}{times('column', columns.column_step)}"
        fused = f"{name}_fused({first}, {conv_rows}, v);"
        by_tables = ["#if defined(EBNN_FEW_REGISTERS)", *by_tables, "#else", fused, "#endif"]
    body += [*by_tables, *pool_calls(name, columns, rows), "}"]
    if band < height:
        body.append("}")
    return function(
        f"{block}: {columns.count} columns; v: {columns.scratch_words} words.",
        f"EBNN_NOINLINE void {name}(const {columns.value_type} *in, uint32_t *out, uint32_t *v)",
        body,
    )


def _band_lines(columns: Columns) -> list[str]:
    """Begin the loop over bands."""
    block, band, height = columns.block, columns.band, columns.out_shape[1]
    pooled_before = times("(rows - 1u)", block.pool_stride)
    lines = [
        f"for (uint32_t first = 0; first < {height}u; first += {band}u) {{",
        f"const uint32_t rows = first + {band}u < {height}u ? {band}u : {height}u - first;"
        " /* pooled */",
        f"const uint32_t conv_rows = {pooled_before} + {block.pool}u;",
        f"const uint32_t top = {times('first', block.pool_stride * block.stride)};"
        " /* row of the map, padding included */",
    ]
    if block.padding:
        end = columns.in_shape[1] + block.padding
        lines += [
            _table_rows(columns),
            f"const uint32_t above = top < {block.padding}u ? {block.padding}u - top : 0u;",
            f"const uint32_t under = top + table_rows > {end}u ? top + table_rows - {end}u : 0u;",
            "const uint32_t inside = table_rows - above - under;",
        ]
    return lines


def _table_rows(columns: Columns) -> str:
    block = columns.block
    conv_before = times("(conv_rows - 1u)", block.stride)
    return f"const uint32_t table_rows = {conv_before} + {block.kernel_height}u;"


def _tabulate_calls(name: str, columns: Columns) -> list[str]:
    """Fill the tables of a band's column: rows above the map, inside it and under it."""
    block, words = columns.block, columns.row_words
    channels, height, width = columns.in_shape
    lines = []
    if columns.band < columns.out_shape[1]:
        above, inside, under, start = "0u", "table_rows", "0u", times("top", width)
        if not block.padding:
            lines.append(_table_rows(columns))
        else:
            above, inside, under = "above", "inside", "under"
            start = times(f"(top + above - {block.padding}u)", width)
    else:
        rows = columns.table_rows(columns.band)
        rows_under = max(0, rows - height - block.padding)
        above, under, start = f"{block.padding}u", f"{rows_under}u", "0u"
        inside = f"{rows - block.padding - rows_under}u"
    if above != "0u":
        lines += _zeros(f"v[{words}u + i]", times(above, words))
    if under != "0u":
        lines += _zeros(f"v[{times(f'(1u + {above} + {inside})', words)} + i]", times(under, words))
    plane = "in" if start == "0u" else f"in + {start}"
    table = f"v + {words}" if above == "0u" else f"v + {times(f'(1u + {above})', words)}"
    if channels > 1:
        lines.append(f"for (uint32_t channel = 0; channel < {channels}u; ++channel) {{")
        plane += f" + {times('channel', height * width)}"
        table += f" + {times('channel', columns.channel_sums)}"
    lines.append(f"const {columns.value_type} *const row = {plane};")
    left = times("column", columns.column_step) + (f" - {block.padding}u" if block.padding else "")
    in_place = [f"{name}_tabulate(row + ({left}), {width}u, {inside}, {table});"]
    by_strip = [
        f"{name}_strip(row, (int32_t)({left}), {inside}, strip);",
        f"{name}_tabulate(strip, {columns.span}u, {inside}, {table});",
    ]
    lines += _either(columns, in_place, by_strip)
    if channels > 1:
        lines.append("}")
    return lines


def _zeros(target: str, count: str) -> list[str]:
    return [f"for (uint32_t i = 0; i < {count}; ++i) {{", f"{target} = 0;", "}"]


def _either(columns: Columns, in_place: list[str], by_strip: list[str]) -> list[str]:
    """By strip where a column reads past the map's edges."""
    if columns.first_inside >= columns.end_inside:
        return by_strip
    conditions = []
    if columns.first_inside > 0:
        conditions.append(f"column < {columns.first_inside}u")
    if columns.end_inside < columns.count:
        conditions.append(f"column >= {columns.end_inside}u")
    if not conditions:
        return in_place
    return [f"if ({' || '.join(conditions)}) {{", *by_strip, "} else {", *in_place, "}"]
