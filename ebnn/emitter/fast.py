"""The `fast` lowering: integers and bits only; a BatchNorm with its sign is one comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import ConvPool, fan_in
from ebnn.emitter.c_text import array, struct, window
from ebnn.emitter.planes import COUNT_PLANES, NARROW_PRODUCTS_MAX, TREE_TAPS, lanes_of, lists_of
from ebnn.emitter.program import Head, Program, Step
from ebnn.lowered import HeadLayer, HiddenLayer, LoweredNetwork
from ebnn.packing import pack_map, pack_rows

INPUT_LAYOUTS = {"uint8": "EBNN_U8", "float": "EBNN_I16", "bits": "EBNN_DENSE"}
_SLICED_FILTERS_MIN = 16  # below, counting 32 filters at a time wastes most lanes
_BLOCK_INPUTS = 16  # inputs that conv_sliced.c counts at once
_CHUNK_TAPS_MAX = 4  # a chunk's table has 2^taps words
_GROUP_WORDS = 2  # words of a tap and of a table's entry (conv_int.c)
_NEGATED = 0x8000  # conv_rows.c: the sum is in the table with the opposite sign
_ROWS_SCRATCH_BYTES = 1024  # what conv_rows.c's tables may take
_STRIP_COLUMNS_MIN = 4  # below, a filter's set-up outweighs its sums
_LANE_LIMIT = 32767  # what |sum - threshold| may reach in a lane of 16 bits


def fast_program(network: LoweredNetwork) -> Program:
    """The calls of the fast kernels that run `network`."""
    spec = network.architecture.input
    kernels = {"head.c", "linear_sum.c"}
    steps = []
    layout = INPUT_LAYOUTS[spec.kind]
    for index, layer in enumerate(network.hidden):
        if not isinstance(layer.block, ConvPool):
            steps.append(_fc(index, layer, layout))
            kernels.add("fc.c")
        elif layout == "EBNN_WORDS" and _by_planes(layer):
            steps.append(_conv_planes(index, layer))
            kernels.add("conv_planes.c")
        elif layout == "EBNN_WORDS" and layer.out_shape[0] >= _SLICED_FILTERS_MIN:
            steps.append(_conv_sliced(index, layer))
            kernels.add("conv_sliced.c")
        elif layout in ("EBNN_WORDS", "EBNN_DENSE"):
            steps.append(_conv_bits(index, layer, layout))
            kernels.add("conv_bits.c")
        elif _strip_columns(layer, spec.max_magnitude):
            steps.append(_conv_rows(index, layer, layout, spec.max_magnitude))
            kernels.add("conv_rows.c")
        else:
            steps.append(_conv_int(index, layer, layout, spec.max_magnitude))
            kernels.add("conv_int.c")
        layout = "EBNN_WORDS"
    return Program(
        lowering="fast",
        element="uint32_t",
        element_bytes=4,
        kernels=tuple(sorted(kernels)),
        steps=tuple(steps),
        head=_head(len(network.hidden), network.head, layout),
    )


def _map_bytes(shape: tuple[int, int, int]) -> int:
    channels, height, width = shape
    return height * width * -(-channels // 32) * 4


def _flips(layer: HiddenLayer) -> NDArray[np.uint32]:
    return pack_rows(np.where(layer.flip, 1, -1).astype(np.int8)[None, :]).ravel()


def _bytes(*arrays: NDArray[Any]) -> int:
    return sum(values.nbytes for values in arrays)


def _conv_bits(index: int, layer: HiddenLayer, layout: str) -> Step:
    assert isinstance(layer.block, ConvPool)
    filters = layer.out_shape[0]
    if layout == "EBNN_WORDS":
        weights = np.stack([pack_map(weight).ravel() for weight in layer.weight])
        order = "filters, then [row][column][channel word]"
    else:
        weights = pack_rows(layer.weight.reshape(filters, -1))
        order = "filters, then the bits [channel][row][column]"
    threshold, flips = layer.threshold.astype(np.int32), _flips(layer)
    name = f"block{index}"
    declarations = (
        array(f"{name}_weights", weights, f"weights: {order}")
        + array(f"{name}_thresholds", threshold, "the sum that turns the sign")
        + array(f"{name}_flips", flips, "1 where the sign falls")
        + struct(
            "ebnn_conv_bits_t",
            name,
            {
                "window": window(layer.block, layer.in_shape, layer.out_shape),
                "layout": layout,
                "window_words": weights.shape[1],
                "weights": f"{name}_weights",
                "thresholds": f"{name}_thresholds",
                "flips": f"{name}_flips",
            },
        )
    )
    return Step(
        title=str(layer.block),
        declarations=declarations,
        call=f"ebnn_conv_bits(&{name}, {{input}}, {{output}}, {{scratch}});",
        output_bytes=_map_bytes(layer.out_shape),
        scratch_bytes=2 * 4 * weights.shape[1],
        parameter_bytes=_bytes(weights, threshold, flips),
        block=index,
    )


def _conv_sliced(index: int, layer: HiddenLayer) -> Step:
    block = layer.block
    assert isinstance(block, ConvPool)
    filters, channels = layer.weight.shape[:2]
    groups, blocks = -(-filters // 32), -(-channels // _BLOCK_INPUTS)
    products = fan_in(block, layer.in_shape)
    # The carry out of the last plane must never be set: filled-up inputs never count.
    planes = max(4, products.bit_length())
    # [group][row][column][block][input][filter]; filled-up channels and filters are -1, as bits 0,
    # which with the map's spare bits, 0 too, are products of +1.
    positive = np.zeros(
        (groups, block.kernel_height, block.kernel_width, blocks, _BLOCK_INPUTS, 32), dtype=bool
    )
    by_tap = np.zeros((groups * 32, blocks * _BLOCK_INPUTS, *layer.weight.shape[2:]), dtype=bool)
    by_tap[:filters, :channels] = layer.weight > 0
    positive[:] = by_tap.reshape(
        groups, 32, blocks, _BLOCK_INPUTS, block.kernel_height, block.kernel_width
    ).transpose(0, 4, 5, 2, 3, 1)
    positive = positive[..., ::-1, :]  # the kernel takes a block's inputs from the top bit down
    weights = pack_rows(np.where(positive, 1, -1).astype(np.int8).reshape(-1, 32)).reshape(
        groups, -1
    )
    limit = np.zeros(groups * 32, dtype=np.int64)
    limit[:filters] = products - layer.threshold
    bits = limit.reshape(groups, 32)[:, None, :] >> np.arange(planes + 1)[None, :, None] & 1
    limits = pack_rows(np.where(bits, 1, -1).astype(np.int8).reshape(-1, 32)).reshape(groups, -1)
    flips = _flips(layer)
    lanes = pack_rows(np.ones((1, filters), dtype=np.int8)).ravel()
    name = f"block{index}"
    declarations = (
        array(f"{name}_weights", weights, "weights: groups of 32 filters, then the inputs")
        + array(f"{name}_limits", limits, "products - threshold, bit-sliced")
        + array(f"{name}_flips", flips, "1 where the sign falls")
        + array(f"{name}_lanes", lanes, "1 where there is a filter")
        + struct(
            "ebnn_conv_sliced_t",
            name,
            {
                "window": window(block, layer.in_shape, layer.out_shape),
                "blocks": blocks,
                "planes": planes,
                "weights": f"{name}_weights",
                "limits": f"{name}_limits",
                "flips": f"{name}_flips",
                "lanes": f"{name}_lanes",
            },
        )
    )
    return Step(
        title=str(block),
        declarations=declarations,
        call=f"ebnn_conv_sliced(&{name}, {{input}}, {{output}}, {{scratch}});",
        output_bytes=_map_bytes(layer.out_shape),
        scratch_bytes=4 * max(planes, 5 + block.kernel_height * block.kernel_width * blocks),
        parameter_bytes=_bytes(weights, limits, flips, lanes),
        block=index,
    )


def _by_planes(layer: HiddenLayer) -> bool:
    """Whether counting 32 positions at a time takes fewer cycles than 32 filters at a time. The
    costs are what an M4 was seen to take; an M0+ takes 1.6 times that of either."""
    block = layer.block
    lanes = lanes_of(layer)
    assert isinstance(block, ConvPool)
    filters, height, width = layer.out_shape
    if lanes is None or filters < _SLICED_FILTERS_MIN:
        return False
    products = fan_in(block, layer.in_shape)
    row_words = -(-layer.in_shape[0] // 32)
    groups = -(-height // lanes.rows) * block.pool
    gathered = 850 * block.kernel_height * lanes.columns * row_words  # and turned into planes
    planes = groups * (gathered + block.pool * filters * (3.5 * products + 550))
    positions = height * width * block.pool**2
    sliced = positions * -(-filters // 32) * (12.3 * products + 150)
    return planes < sliced


def _conv_planes(index: int, layer: HiddenLayer) -> Step:
    block = layer.block
    lanes = lanes_of(layer)
    assert isinstance(block, ConvPool)
    assert lanes is not None
    lists = lists_of(layer)
    flips = _flips(layer)
    groups, words = len(flips), -(-layer.in_shape[0] // 32)
    name = f"block{index}"
    declarations = (
        array(f"{name}_lists", lists.filters, "what is counted, filters in pairs")
        + array(f"{name}_all", lists.all_taps, "all taps of a column")
        + array(f"{name}_flips", flips, "1 where the sign falls")
        + struct(
            "ebnn_conv_planes_t",
            name,
            {
                "window": window(block, layer.in_shape, layer.out_shape),
                "columns": lanes.columns,
                "pitch": lanes.pitch,
                "rows": lanes.rows,
                "is_wide": int(fan_in(block, layer.in_shape) > NARROW_PRODUCTS_MAX),
                "lists": f"{name}_lists + {TREE_TAPS}",
                "all_taps": f"{name}_all + {TREE_TAPS}",
                "flips": f"{name}_flips",
            },
        )
    )
    planes = lanes.columns * block.kernel_height * words * 32
    counts = COUNT_PLANES * (lanes.columns + 1) + 1
    return Step(
        title=str(block),
        declarations=declarations,
        call=f"ebnn_conv_planes(&{name}, {{input}}, {{output}}, {{scratch}});",
        output_bytes=_map_bytes(layer.out_shape),
        scratch_bytes=4 * (planes + 32 * groups + counts + lists.carries + 3),
        parameter_bytes=_bytes(lists.filters, lists.all_taps, flips),
        block=index,
    )


def chunk_taps(taps: int) -> int:
    """Taps of a chunk that give the fewest chunks, and of those the smallest table."""
    sizes = range(1, min(taps, _CHUNK_TAPS_MAX) + 1)
    return min(sizes, key=lambda size: (-(-taps // size), sum(_table_sizes(taps, size))))


def _table_sizes(taps: int, size: int) -> list[int]:
    full, rest = divmod(taps, size)
    return [1 << size] * full + ([1 << rest] if rest else [])


def _conv_int(index: int, layer: HiddenLayer, layout: str, input_magnitude: int) -> Step:
    block = layer.block
    assert isinstance(block, ConvPool)
    filters = layer.out_shape[0]
    taps = fan_in(block, layer.in_shape)
    size = chunk_taps(taps)
    tables = _table_sizes(taps, size)
    chunks = len(tables)
    # Where chunk c starts in the table, plus the pattern of its signs.
    starts = np.concatenate([[0], np.cumsum(tables)[:-1]])
    signs = np.zeros((filters, chunks * size), dtype=np.int64)
    signs[:, :taps] = layer.weight.reshape(filters, -1) > 0
    weights_of_taps = 1 << np.arange(size)
    entries = starts + signs.reshape(filters, chunks, size) @ weights_of_taps
    patterns = (_GROUP_WORDS * entries).astype(np.uint16)
    threshold = layer.threshold.astype(np.int64)
    # |sum| and |threshold| are both at most taps * input_magnitude.
    lanes = 2 if block.pool > 1 and 2 * taps * input_magnitude <= _LANE_LIMIT else 1
    offsets = (0x8000 - threshold) * 0x10001 if lanes == 2 else 0x80000000 - threshold
    offsets = (offsets & 0xFFFFFFFF).astype(np.uint32)
    flips = _flips(layer)
    name = f"block{index}"
    declarations = (
        array(f"{name}_patterns", patterns, "where in the table a filter finds its chunks' sums")
        + array(f"{name}_offsets", offsets, f"2^{16 * (3 - lanes) - 1} - threshold in each lane")
        + array(f"{name}_flips", flips, "1 where the sign falls")
        + struct(
            "ebnn_conv_int_t",
            name,
            {
                "window": window(block, layer.in_shape, layer.out_shape),
                "layout": layout,
                "lanes": lanes,
                "chunk_taps": size,
                "chunks": chunks,
                "table_words": _GROUP_WORDS * sum(tables),
                "patterns": f"{name}_patterns",
                "offsets": f"{name}_offsets",
                "flips": f"{name}_flips",
            },
        )
    )
    return Step(
        title=str(block),
        declarations=declarations,
        call=f"ebnn_conv_int(&{name}, {{input}}, {{output}}, {{scratch}});",
        output_bytes=_map_bytes(layer.out_shape),
        scratch_bytes=4 * _GROUP_WORDS * (taps + sum(tables)),
        parameter_bytes=_bytes(patterns, offsets, flips),
        block=index,
    )


def _half_tables(taps: int) -> list[int]:
    """Entries of each chunk's table where one tap has a fixed sign."""
    return [entries // 2 for entries in _table_sizes(taps, chunk_taps(taps))]


def _rows_words(layer: HiddenLayer, strip_columns: int) -> tuple[int, int, int]:
    """Pitch, rows of a window and words of scratch of conv_rows.c with strips so wide."""
    block = layer.block
    assert isinstance(block, ConvPool)
    half = -(-strip_columns // 2)
    pitch = (half - 1) * block.pool_stride + block.pool
    window_rows = (block.pool - 1) * block.stride + block.kernel_height
    channels = layer.in_shape[0]
    patterns = sum(_half_tables(block.kernel_width))
    gathered = (pitch - 1) * block.stride + block.kernel_width
    return pitch, window_rows, window_rows * channels * patterns * pitch + half + gathered


def _strip_columns(layer: HiddenLayer, input_magnitude: int) -> int:
    """Pooled columns of conv_rows.c's strips: the widest that the scratch allows, 0 where the
    kernel does not serve."""
    block = layer.block
    assert isinstance(block, ConvPool)
    if 2 * fan_in(block, layer.in_shape) * input_magnitude > _LANE_LIMIT:
        return 0
    width = layer.out_shape[2]
    for strips in range(1, width + 1):
        columns = -(-width // strips)
        if columns < min(width, _STRIP_COLUMNS_MIN):
            break
        pitch, _, words = _rows_words(layer, columns)
        if 4 * words <= _ROWS_SCRATCH_BYTES and pitch < 256 and columns < 256:
            return columns
    return 0


def _conv_rows(index: int, layer: HiddenLayer, layout: str, input_magnitude: int) -> Step:
    block = layer.block
    assert isinstance(block, ConvPool)
    filters, channels = layer.weight.shape[:2]
    strip_columns = _strip_columns(layer, input_magnitude)
    pitch, window_rows, words = _rows_words(layer, strip_columns)
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
    flips = _flips(layer)
    name = f"block{index}"
    declarations = (
        array(f"{name}_patterns", patterns, "where in a row's table a filter finds its sums")
        + array(f"{name}_offsets", offsets, "2^15 - threshold in each lane")
        + array(f"{name}_flips", flips, "1 where the sign falls")
        + struct(
            "ebnn_conv_rows_t",
            name,
            {
                "window": window(block, layer.in_shape, layer.out_shape),
                "layout": layout,
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
    return Step(
        title=str(block),
        declarations=declarations,
        call=f"ebnn_conv_rows(&{name}, {{input}}, {{output}}, {{scratch}});",
        output_bytes=_map_bytes(layer.out_shape),
        scratch_bytes=4 * words,
        parameter_bytes=_bytes(patterns, offsets, flips),
        block=index,
    )


def _linear_weights(layer: HiddenLayer | HeadLayer, layout: str) -> NDArray[np.uint32]:
    if layout != "EBNN_WORDS":
        return pack_rows(layer.weight)
    maps = layer.weight.reshape(len(layer.weight), *layer.in_shape)
    return np.stack([pack_map(weight).ravel() for weight in maps])


def _linear(layer: HiddenLayer | HeadLayer, layout: str, weights: NDArray[np.uint32]) -> str:
    outputs, words = weights.shape
    inputs = fan_in(layer.block, layer.in_shape)
    return f"{{{inputs}, {outputs}, {words}, {layout}, NAME_weights}}"


def _fc(index: int, layer: HiddenLayer, layout: str) -> Step:
    weights = _linear_weights(layer, layout)
    threshold, flips = layer.threshold.astype(np.int32), _flips(layer)
    name = f"block{index}"
    declarations = (
        array(f"{name}_weights", weights, "weights: outputs, then the bits of the input's layout")
        + array(f"{name}_thresholds", threshold, "the sum that turns the sign")
        + array(f"{name}_flips", flips, "1 where the sign falls")
        + struct(
            "ebnn_fc_t",
            name,
            {
                "linear": _linear(layer, layout, weights).replace("NAME", name),
                "thresholds": f"{name}_thresholds",
                "flips": f"{name}_flips",
            },
        )
    )
    return Step(
        title=str(layer.block),
        declarations=declarations,
        call=f"ebnn_fc(&{name}, {{input}}, {{output}});",
        output_bytes=_map_bytes(layer.out_shape),
        parameter_bytes=_bytes(weights, threshold, flips),
        block=index,
    )


def _head(index: int, layer: HeadLayer, layout: str) -> Head:
    weights = _linear_weights(layer, layout)
    name = f"block{index}"
    declarations = (
        array(f"{name}_weights", weights, "weights: classes, then the bits of the input's layout")
        + array(f"{name}_multipliers", layer.multiplier, f"in units of 2^{-layer.shift}")
        + array(f"{name}_offsets", layer.offset, f"in units of 2^{-layer.shift}")
        + struct(
            "ebnn_head_t",
            name,
            {
                "linear": _linear(layer, layout, weights).replace("NAME", name),
                "multipliers": f"{name}_multipliers",
                "offsets": f"{name}_offsets",
            },
        )
    )
    return Head(
        title=f"{layer.block}, argmax",
        declarations=declarations,
        call=f"ebnn_head(&{name}, {{input}}, scores)",
        parameter_bytes=_bytes(weights, layer.multiplier, layer.offset),
    )
