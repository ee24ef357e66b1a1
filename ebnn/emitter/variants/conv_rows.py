"""conv_rows.c: the signed sums of a map's row tabulated for all filters and kernel rows. Serves
integer convolutions whose sums fit 16 bits and whose tables fit a small scratch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ebnn.architecture import fan_in
from ebnn.emitter.c_text import array, struct, window
from ebnn.emitter.layout import words_layout
from ebnn.emitter.program import Step
from ebnn.emitter.variants.common import (
    LANE_LIMIT,
    chunk_taps,
    conv_of,
    is_conv,
    pack_flips,
    table_sizes,
    total_bytes,
)
from ebnn.emitter.variants.site import Site, Variant
from ebnn.lowered import HiddenLayer

_NEGATED = 0x8000  # the sum is in the table with the opposite sign
_SCRATCH_BYTES = 1024  # what the tables may take
_STRIP_COLUMNS_MIN = 4  # below, a filter's set-up outweighs its sums
_GROUP_FILTERS = 16


def _serves(site: Site[HiddenLayer]) -> bool:
    is_integer = site.layout.c_name in ("EBNN_U8", "EBNN_I16")
    return is_conv(site) and is_integer and _strip_columns(site) > 0


def _half_tables(taps: int) -> list[int]:
    """Entries of each chunk's table where one tap has a fixed sign."""
    return [entries // 2 for entries in table_sizes(taps, chunk_taps(taps))]


def _scratch_words(layer: HiddenLayer, strip_columns: int) -> tuple[int, int, int]:
    """Pitch, rows of a window and words of scratch with strips so wide."""
    block = conv_of(layer)
    half = -(-strip_columns // 2)
    pitch = (half - 1) * block.pool_stride + block.pool
    window_rows = (block.pool - 1) * block.stride + block.kernel_height
    channels = layer.in_shape[0]
    patterns = sum(_half_tables(block.kernel_width))
    gathered = (pitch - 1) * block.stride + block.kernel_width
    return pitch, window_rows, window_rows * channels * patterns * pitch + half + gathered


def _strip_columns(site: Site[HiddenLayer]) -> int:
    """Pooled columns of a strip: the most that the scratch allows, 0 where the kernel does not
    serve."""
    block = conv_of(site.layer)
    if 2 * fan_in(block, site.layer.in_shape) * site.input_magnitude > LANE_LIMIT:
        return 0
    width = site.layer.out_shape[2]
    for strips in range(1, width + 1):
        columns = -(-width // strips)
        if columns < min(width, _STRIP_COLUMNS_MIN):
            break
        pitch, _, words = _scratch_words(site.layer, columns)
        if 4 * words <= _SCRATCH_BYTES and pitch < 256 and columns < 256:
            return columns
    return 0


def _call(site: Site[HiddenLayer]) -> Step:
    layer, name = site.layer, site.name
    block = conv_of(layer)
    filters, channels = layer.weight.shape[:2]
    strip_columns = _strip_columns(site)
    pitch, window_rows, words = _scratch_words(layer, strip_columns)
    size = chunk_taps(block.kernel_width)
    tables = _half_tables(block.kernel_width)
    shape = (filters, channels, block.kernel_height, len(tables))
    by_chunk = np.zeros(shape, dtype=np.uint16)
    positive = layer.weight > 0
    for chunk, start in enumerate(np.concatenate([[0], np.cumsum(tables)[:-1]])):
        signs = positive[..., chunk * size : (chunk + 1) * size]
        negated = ~signs[..., -1:]  # tables have the last tap added
        entries = start + (signs ^ negated)[..., :-1] @ (1 << np.arange(signs.shape[-1] - 1))
        by_chunk[..., chunk] = pitch * entries + _NEGATED * negated[..., 0]
    patterns = by_chunk.reshape(filters, -1)
    threshold = layer.threshold.astype(np.int64)
    offsets = ((0x8000 - threshold) * 0x10001 & 0xFFFFFFFF).astype(np.uint32)
    flips = pack_flips(layer)
    declarations = (
        array(f"{name}_patterns", patterns, "where in a row's table a filter finds its sums")
        + array(f"{name}_offsets", offsets, "2^15 - threshold in each lane")
        + array(f"{name}_flips", flips, "1 where the sign falls")
        + struct(
            "ebnn_conv_rows_t",
            name,
            {
                "window": window(block, layer.in_shape, layer.out_shape),
                "layout": site.layout.c_name,
                "chunk_taps": size,
                "chunks": len(tables),
                "window_rows": window_rows,
                "strip_columns": strip_columns,
                "pitch": pitch,
                "patterns_per_row": sum(tables),
                "patterns": f"{name}_patterns",
                "offsets": f"{name}_offsets",
                "flips": f"{name}_flips",
            },
        )
    )
    written = words_layout(layer.out_shape)
    return Step(
        title=str(block),
        declarations=declarations,
        call=f"ebnn_conv_rows(&{name}, {{input}}, {{output}}, {{scratch}});",
        output_bytes=written.map_bytes,
        kernels=("conv_rows.c",),
        region="ebnn_conv_rows",
        scratch_bytes=4 * words,
        parameter_bytes=total_bytes(patterns, offsets, flips),
        block=site.index,
        layout=written,
    )


def _work(site: Site[HiddenLayer]) -> Mapping[str, float]:
    block, channels = conv_of(site.layer), site.layer.in_shape[0]
    filters, height, width = site.layer.out_shape
    columns = _strip_columns(site)
    pitch, window_rows, _ = _scratch_words(site.layer, columns)
    strips = -(-width // columns)
    tables = _half_tables(block.kernel_width)
    rows = strips * height * min(window_rows, block.pool_stride * block.stride) * channels
    pairs = strips * height * -(-columns // 2)
    sums = pairs * filters * block.pool**2
    work = {
        "tabulated": rows * pitch * sum(tables),
        "gathered": rows * pitch * block.stride,
        "filters": strips * height * filters,
        "groups": pairs * -(-filters // _GROUP_FILTERS),
    }
    terms = channels * block.kernel_height * len(tables)
    if terms == 3 and block.kernel_height == 3 and block.pool == block.pool_stride == 2:
        return {**work, "unrolled_sums": sums}  # a function of its own, for stride 1
    return {**work, "sums": sums, "terms": sums * terms}


CONV_ROWS = Variant("conv_rows", _serves, _call, _work)
