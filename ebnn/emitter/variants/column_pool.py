"""The C that pools the bits of a convolution by columns, and writes its map."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

from ebnn.emitter.c_text import function, literal, times
from ebnn.emitter.variants.columns import Columns
from ebnn.lowered import HiddenLayer

_LANES = {"low": "low lane", "high": "high lane", "all": "positions"}


@dataclass(frozen=True)
class Share:
    """What a column has of the windows of a pooled column: `lanes`, "low", "high" or "all"; whether
    the windows' first and last columns are in them."""

    lanes: str
    is_first: bool
    is_last: bool


def shares(columns: Columns) -> list[list[tuple[int, Share]]]:
    """The pooled columns that each column has a share of, for a period of columns after which they
    repeat: lanes * period / pool_stride further to the right. They are relative to the period's."""
    lanes, pool, step = columns.lanes, columns.block.pool, columns.block.pool_stride
    period = step // gcd(lanes, step)
    result = []
    for column in range(period):
        here = range(lanes * column, lanes * (column + 1))
        found = []
        for pooled in range(1 - pool, lanes * period):
            first, last = pooled * step, pooled * step + pool - 1
            inside = [lane for lane, position in enumerate(here) if first <= position <= last]
            if inside:
                which = "all" if len(inside) == lanes else ("low", "high")[inside[0]]
                found.append((pooled, Share(which, first in here, last in here)))
        result.append(found)
    return result


def pool_functions(name: str, columns: Columns, layer: HiddenLayer) -> list[str]:
    """A function for each kind of share that a column has of pool windows."""
    used = {share for column in shares(columns) for _, share in column}
    return [_pool(name, columns, layer, share) for share in sorted(used, key=_pool_name)]


def pool_calls(name: str, columns: Columns, rows: str) -> list[str]:
    """Pool `rows` rows of a column, whose bits are at v, into the windows that it is part of."""
    lists = shares(columns)
    period = len(lists)
    step = columns.lanes * period // columns.block.pool_stride
    start = times("column" if period == 1 else f"(column / {period}u)", step)
    out = "out"
    if columns.band < columns.out_shape[1]:
        word = "first" if columns.word_pixels == 1 else f"first / {columns.word_pixels}u"
        out += f" + {times(word, _row_step(columns))}"
    lines = []
    for place, found in enumerate(lists):
        calls = []
        for pooled, share in found:
            at = f"{start} {'+' if pooled > 0 else '-'} {abs(pooled)}u" if pooled else start
            target = f"{out} + {times(f'({at})' if pooled else at, _column_step(columns))}"
            call = f"{name}_{_pool_name(share)}(v, {rows}, {target});"
            last = (columns.count - 1 - place) // period * step + pooled
            if pooled < 0 or last >= columns.out_shape[2]:
                # Left of the map it has wrapped round, and is right of the map as well.
                calls += [f"if ({at} < {columns.out_shape[2]}u) {{", call, "}"]
            else:
                calls.append(call)
        if period > 1 and calls:
            calls = [f"if (column % {period}u == {place}u) {{", *calls, "}"]
        lines += calls
    return lines


def _row_step(columns: Columns) -> int:
    """Words from one word of a pooled column to the next."""
    return 1 if columns.is_dense else columns.out_shape[2] * columns.pixel_words


def _column_step(columns: Columns) -> int:
    return columns.pooled_column_words if columns.is_dense else columns.pixel_words


def _pool_name(share: Share) -> str:
    first, last = "_first" if share.is_first else "", "_last" if share.is_last else ""
    return f"pool_{share.lanes}{first}{last}"


def _pool(name: str, columns: Columns, layer: HiddenLayer, share: Share) -> str:
    pixels = columns.word_pixels
    rest = columns.out_shape[1] % pixels
    body = ["do {" if pixels == 1 else f"for (; rows >= {pixels}u; rows -= {pixels}u) {{"]
    body += [_word(columns, layer, share, word, pixels) for word in range(columns.pixel_words)]
    body.append(f"bits += {pixels * columns.block.pool_stride * columns.bits_words};")
    body.append(f"out += {_row_step(columns)};")
    body.append("} while (--rows != 0u);" if pixels == 1 else "}")
    if rest:
        body += ["if (rows != 0u) {", _word(columns, layer, share, 0, rest), "}"]
    return function(
        f"`rows` windows of a column's {_LANES[share.lanes]}: below where all positions are.",
        f"EBNN_INLINE void {name}_{_pool_name(share)}(const uint32_t *bits, uint32_t rows,"
        " uint32_t *out)",
        body,
    )


def _word(columns: Columns, layer: HiddenLayer, share: Share, word: int, pixels: int) -> str:
    """Set word `word` of a pixel, or the word of `pixels` pixels."""
    filters = columns.out_shape[0]
    parts = []
    for pixel in range(pixels):
        for group in range(word * columns.lanes, min((word + 1) * columns.lanes, columns.groups)):
            bits = _bits(columns, share, pixel, group)
            parts.append(f"({bits} << {pixel * filters})" if pixel else bits)
    text = " | ".join(parts)
    if not share.is_first:
        text = f"out[{word}] & ({text})"
    if share.is_last:
        unflipped = ~layer.flip[32 * word : 32 * (word + 1)]
        one = sum(1 << bit for bit, is_set in enumerate(unflipped) if is_set)
        all_pixels = sum(one << (pixel * filters) for pixel in range(pixels))
        text = f"({text}) ^ {literal(np.uint32(all_pixels))}"
    return f"out[{word}] = {text};"


def _bits(columns: Columns, share: Share, pixel: int, group: int) -> str:
    """The group's bits of a pixel, in the part of a word that they belong to."""
    start = pixel * columns.block.pool_stride * columns.bits_words + group
    rows = [f"bits[{start + row * columns.bits_words}]" for row in range(columns.block.pool)]
    text = " & ".join(rows)
    if columns.lanes == 1:
        return f"({text})"
    half = "UP" if group % 2 else "DOWN"
    macro = {"low": "EBNN_LOW_LANE", "high": "EBNN_HIGH_LANE", "all": "EBNN_BOTH_LANES"}
    return f"{macro[share.lanes]}_{half}({text})"
