"""C that makes words of a dense map's rows."""

from __future__ import annotations

from ebnn.emitter.lanes.c_blocks import braces, function, plus, shifted
from ebnn.emitter.lanes.geometry import WORD_BITS
from ebnn.emitter.lanes.plan import Plan

_UNROLLED_ROWS = 48  # more are done in a loop


def rows_c(plan: Plan) -> str:
    """The function, empty where the map's rows are words already."""
    if plan.rows_in_place:
        return ""
    if is_unrolled(plan):
        return _unrolled(plan)
    return _loop(plan)


def rows_call(plan: Plan, strip: int, first: str, count: int) -> str:
    """Statement that gets the rows for `count` pooled words from `first`, a C expression, on."""
    lanes = plan.lanes
    if plan.rows_in_place:
        step = lanes.block.pool_stride * lanes.row_step
        return f"rows = {plus('in', f'{first} * {step}u' if first else '')};"
    if is_unrolled(plan):
        return f"{plan.name}_rows(in, rows);"
    top = f"{first} * {lanes.block.pool_stride * lanes.block.stride}u" if first else "0u"
    arguments = ["in", top, f"{lanes.map_words(count)}u"]
    if len(lanes.strips) > 1:
        arguments += [f"{value}u" for value in _window(plan, strip)]
    return f"{plan.name}_rows({', '.join([*arguments, 'rows'])});"


def is_unrolled(plan: Plan) -> bool:
    """Whether each row has a statement of its own."""
    return len(plan.batches) == 1 and plan.rows_words <= _UNROLLED_ROWS


def _window(plan: Plan, strip: int) -> tuple[int, int, int]:
    """(first column, columns, lanes to move up) of what is inside the map of a strip's rows."""
    width = plan.lanes.in_shape[2]
    left = plan.lanes.first_column(strip)
    up = max(0, -left)
    return left + up, min(width - left - up, WORD_BITS - up), up


def _needs_zeros(plan: Plan) -> bool:
    """Whether what lies behind a row of the map must not be seen."""
    return plan.lanes.block.padding > 0 or plan.lanes.slots > plan.lanes.interleaved


def _unrolled(plan: Plan) -> str:
    lanes = plan.lanes
    channels, height, width = lanes.in_shape
    left, columns, up = _window(plan, 0)
    lines: list[str] = []
    for channel in range(channels):
        for slot in range(lanes.slots):
            for word in range(plan.band_words):
                row = lanes.map_row(word) + slot * lanes.band_offset
                text = "0"
                if 0 <= row < height:
                    text = _bits(plan, (channel * height + row) * width + left, columns, up)
                lines.append(f"rows[{len(lines)}] = {text};")
    return function(
        "Rows of the map, a word each: [channel][band][row].",
        f"{plan.name}_rows",
        ["const uint32_t *in", "uint32_t *rows"],
        lines,
    )


def _bits(plan: Plan, bit: int, count: int, up: int) -> str:
    """`count` bits of the map from `bit` on, in bits from `up` on."""
    word, shift = divmod(bit, WORD_BITS)
    text = shifted(f"in[{word}]", shift)
    seen = WORD_BITS - shift
    if count > seen:
        text = f"{text} | in[{word + 1}] << {seen}"
        seen = WORD_BITS
    if _needs_zeros(plan) and seen > count:
        text = f"({text}) & 0x{(1 << count) - 1:x}u"
    return f"({text}) << {up}" if up else text


def _loop(plan: Plan) -> str:
    lanes = plan.lanes
    channels, height, width = lanes.in_shape
    one_strip = len(lanes.strips) == 1
    left, columns, up = "left", "columns", "up"
    if one_strip:
        left, columns, up = (f"{value}u" for value in _window(plan, 0))
    value = f"ebnn_bits_at(in, {plus(f'(c * {height}u + y) * {width}u', left)}, {columns})"
    if width == WORD_BITS and one_strip:
        value = f"in[c * {height}u + y]"
    elif _needs_zeros(plan):
        value = f"({value} & UINT32_MAX >> ({WORD_BITS}u - {columns})) << {up}"
    last = lanes.map_row(lanes.map_words(lanes.band_rows) - 1)
    if lanes.block.padding or last + (lanes.slots - 1) * lanes.band_offset >= height:
        # Rows above the map wrap around to numbers above its height.
        value = f"y < {height}u ? {value} : 0u"
    lines = [f"const uint32_t y = {_row_number(plan)};", f"rows[i] = {value};"]
    lines = braces("for (uint32_t i = 0; i < count; ++i)", lines)
    lines.append(f"rows += {plan.band_words};")
    bands = f"band != top + {lanes.slots * lanes.band_offset}u; band += {lanes.band_offset}u"
    lines = braces(f"for (uint32_t band = top; {bands})", lines)
    lines = braces(f"for (uint32_t c = 0; c < {channels}u; ++c)", lines)
    window = [] if one_strip else ["uint32_t left", "uint32_t columns", "uint32_t up"]
    if not one_strip and not _needs_zeros(plan):
        lines.insert(0, "(void)up;")
    what = "`count` rows of the map from row `top` of a band on: [channel][band][row]."
    if not one_strip:
        what += " `columns` columns from `left` on, in bits from `up` on."
    return function(
        what,
        f"{plan.name}_rows",
        ["const uint32_t *in", "uint32_t top", "uint32_t count", *window, "uint32_t *rows"],
        lines,
    )


def _row_number(plan: Plan) -> str:
    """The map's row that is the i-th needed."""
    lanes = plan.lanes
    stride, step = lanes.block.stride, lanes.row_step
    row = "band + i"
    if step != stride:
        row = plus("band", f"i / {step}u * {stride}u", f"i % {step}u" if step > 1 else "")
    return f"{row} - {lanes.block.padding}u" if lanes.block.padding else row
