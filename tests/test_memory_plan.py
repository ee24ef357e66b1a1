"""Where maps live while a network runs."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from random_networks import conv_pools

from ebnn.architecture import ConvPool
from ebnn.emitter.variants.common import lead_bytes
from ebnn.lowered import HiddenLayer
from ebnn.memory_plan import StepMemory, plan_memory

SIZES = st.lists(st.integers(1, 500), min_size=1, max_size=8)
STEPS = st.lists(
    st.builds(
        StepMemory,
        output_bytes=st.integers(1, 500),
        scratch_bytes=st.integers(0, 99),
        lead_bytes=st.one_of(st.none(), st.integers(-200, 200)),
        unread_bytes=st.integers(0, 90),
    ),
    min_size=1,
    max_size=7,
)


def rounded(count: int) -> int:
    return -(-count // 4) * 4


@given(steps=STEPS)
def test_nothing_that_a_step_needs_overlaps(steps: list[StepMemory]) -> None:
    """But a map that may be written over the one it is computed from, far enough in front."""
    plan = plan_memory(steps)
    for index, step in enumerate(steps):
        written = (plan.map_offsets[index], step.output_bytes)
        scratch = (plan.scratch_offsets[index], step.scratch_bytes)
        read = (0, 0)
        if index:
            read_bytes = max(0, steps[index - 1].output_bytes - step.unread_bytes)
            read = (plan.map_offsets[index - 1], read_bytes)
        assert apart(scratch, written)
        assert apart(scratch, read)
        if not apart(written, read):
            assert index > 0
            assert step.lead_bytes is not None
            assert written[0] <= read[0] - step.lead_bytes
        assert all(
            at >= 0 and at + size <= plan.arena_bytes for at, size in (written, scratch, read)
        )
    assert all(at % 4 == 0 for at in (*plan.map_offsets, *plan.scratch_offsets))


def apart(first: tuple[int, int], second: tuple[int, int]) -> bool:
    (low, size), (high, other) = sorted((first, second))
    return size == 0 or other == 0 or low + size <= high


def test_scratch_lies_over_what_is_not_read() -> None:
    first, second = StepMemory(1000), StepMemory(600, 200, unread_bytes=80)
    assert plan_memory([first, second]).arena_bytes == 1720


@given(sizes=SIZES)
def test_the_arena_is_no_larger_than_its_two_largest_neighbours(sizes: list[int]) -> None:
    plan = plan_memory([StepMemory(size) for size in sizes])
    pairs = zip([0, *sizes], sizes, strict=False)
    assert plan.arena_bytes == max(rounded(a) + rounded(b) for a, b in pairs)


@given(steps=STEPS)
def test_the_arena_is_no_larger_than_the_step_that_needs_most(steps: list[StepMemory]) -> None:
    """And smaller where sharing helps."""
    outputs = [rounded(step.output_bytes) for step in steps]
    needs = [
        before + size + rounded(step.scratch_bytes)
        for before, size, step in zip([0, *outputs], outputs, steps, strict=False)
    ]
    assert plan_memory(steps).arena_bytes <= max(needs)


def test_a_map_written_over_the_one_that_is_read_takes_no_room_of_its_own() -> None:
    first, second = StepMemory(1000), StepMemory(600, lead_bytes=40)
    assert plan_memory([first, second]).arena_bytes == 1040
    assert plan_memory([first, StepMemory(600)]).arena_bytes == 1600


@st.composite
def convolutions(draw: st.DrawFn) -> HiddenLayer:
    shape = (
        draw(st.sampled_from([1, 32, 33, 96])),
        draw(st.integers(1, 9)),
        draw(st.integers(1, 9)),
    )
    block = draw(conv_pools(shape))
    weight = np.ones((block.channels, shape[0], block.kernel_height, block.kernel_width), np.int8)
    none = np.zeros(block.channels)
    return HiddenLayer(
        block,
        shape,
        block.output_shape(shape),
        weight,
        none.astype(np.int32),
        none.astype(np.bool_),
        *(none.astype(np.float32) for _ in range(3)),
    )


@given(layer=convolutions())
def test_pixels_are_never_written_over_pixels_still_to_be_read(layer: HiddenLayer) -> None:
    block = layer.block
    assert isinstance(block, ConvPool)
    (channels, height, width), (filters, out_height, out_width) = layer.in_shape, layer.out_shape
    in_pixel, out_pixel = 4 * -(-channels // 32), 4 * -(-filters // 32)
    lead = lead_bytes(layer, in_pixel, out_pixel)
    reads = []  # the first byte that each pixel's windows read
    for row, column in itertools.product(range(out_height), range(out_width)):
        tops, lefts = (
            at * block.pool_stride * block.stride - block.padding for at in (row, column)
        )
        reach = (block.pool - 1) * block.stride
        inside = [
            (y * width + x) * in_pixel
            for y in range(max(0, tops), min(height, tops + reach + block.kernel_height))
            for x in range(max(0, lefts), min(width, lefts + reach + block.kernel_width))
        ]
        reads.append(min(inside, default=height * width * in_pixel))
    for index in range(len(reads)):
        assert (index + 1) * out_pixel - lead <= min(reads[index:])
