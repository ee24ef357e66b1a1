"""Random architectures, networks and samples for property tests."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ebnn.architecture import (
    INPUT_KINDS,
    Architecture,
    Block,
    ConvPool,
    InputSpec,
    Linear,
    fan_in,
)
from ebnn.checkpoint import Checkpoint, CheckpointBlock, weight_shape
from ebnn.normalization import BatchNorm


def examples(count: int) -> int:
    """`count` of a property test's examples, or EBNN_EXAMPLES times as many (`make campaign`)."""
    return count * int(os.environ.get("EBNN_EXAMPLES", "1"))


@st.composite
def conv_pools(draw: st.DrawFn, shape: tuple[int, int, int]) -> ConvPool:
    """A conv-pool block that fits a map of `shape`: channels not multiples of 32, padding, strides,
    overlapping pools, and groups of any number of channels included."""
    in_channels, height, width = shape
    kernel_height = draw(st.integers(1, min(7, height)))
    kernel_width = draw(st.integers(1, min(7, width)))
    stride = draw(st.integers(1, 3))
    padding = draw(st.integers(0, min(3, min(kernel_height, kernel_width) - 1)))
    channels = draw(st.one_of(st.integers(1, 12), st.sampled_from([31, 32, 33, 40, 64])))
    divisors = [count for count in range(1, in_channels + 1) if in_channels % count == 0]
    groups = draw(st.one_of(st.just(1), st.sampled_from(divisors)))
    channels = -(-channels // groups) * groups
    plain = ConvPool(channels, kernel_height, kernel_width, stride, padding, groups=groups)
    _, conv_height, conv_width = plain.conv_shape(shape)
    pool = draw(st.integers(1, min(3, conv_height, conv_width)))
    return replace(plain, pool=pool, pool_stride=draw(st.integers(1, 3)))


@st.composite
def architectures(draw: st.DrawFn, max_side: int = 12) -> Architecture:
    """An architecture of up to two conv-pool and one hidden fully connected block, and a head."""
    spec = InputSpec(
        channels=draw(st.integers(1, 4)),
        height=draw(st.integers(1, max_side)),
        width=draw(st.integers(1, max_side)),
        kind=draw(st.sampled_from(INPUT_KINDS)),
        fraction_bits=draw(st.integers(4, 10)),
    )
    blocks: list[Block] = []
    shape = spec.shape
    for _ in range(draw(st.integers(0, 2))):
        block = draw(conv_pools(shape))
        blocks.append(block)
        shape = block.output_shape(shape)
    if draw(st.booleans()):
        blocks.append(Linear(draw(st.integers(1, 70))))
    blocks.append(Linear(draw(st.integers(2, 12))))
    return Architecture(spec, tuple(blocks))


@st.composite
def word_architectures(draw: st.DrawFn) -> Architecture:
    """An architecture whose second block is a binary convolution of a map in words, small ones and
    maps wider than a word included."""
    spec = InputSpec(1, draw(st.integers(1, 12)), draw(st.integers(1, 40)))
    channels = draw(st.sampled_from([1, 5, 16, 31, 32, 33, 64, 80]))
    second = draw(conv_pools((channels, spec.height, spec.width)))
    return Architecture(spec, (ConvPool(channels, 1, 1), second, Linear(draw(st.integers(2, 5)))))


@st.composite
def integer_architectures(draw: st.DrawFn) -> Architecture:
    """A convolution of integers and a head. Half of them are 3x3 on one channel, for which there is
    code of its own; some maps are so high that they are cut, some sums need 32 bits."""
    is_3x3 = draw(st.booleans())
    spec = InputSpec(
        channels=1 if is_3x3 else draw(st.integers(1, 4)),
        height=draw(st.integers(3, 40)),
        width=draw(st.integers(3, 14)),
        kind=draw(st.sampled_from(["uint8", "float"])),
        fraction_bits=draw(st.integers(4, 10)),
    )
    block = draw(conv_pools(spec.shape))
    if is_3x3:
        plain = ConvPool(block.channels, 3, 3, draw(st.integers(1, 2)), draw(st.integers(0, 2)))
        _, height, width = plain.conv_shape(spec.shape)
        pool, pool_stride = draw(st.sampled_from([(1, 1), (2, 2), (3, 2), (3, 3), (2, 1)]))
        block = replace(plain, pool=min(pool, height, width), pool_stride=pool_stride)
    return Architecture(spec, (block, Linear(draw(st.integers(2, 5)))))


@st.composite
def dense_architectures(draw: st.DrawFn) -> Architecture:
    """An architecture whose first block is a convolution of dense bits: maps of several words a row
    and of many rows a word included, followed by any kind of block."""
    width = st.one_of(st.integers(1, 33), st.sampled_from([28, 32]), st.integers(34, 70))
    spec = InputSpec(draw(st.integers(1, 4)), draw(st.integers(1, 30)), draw(width), "bits")
    blocks: list[Block] = [draw(conv_pools(spec.shape))]
    following = draw(st.sampled_from(["conv", "fc", "head", "head"]))
    if following == "conv":
        blocks.append(ConvPool(5, 1, 1))
    if following == "fc":
        blocks.append(Linear(9))
    blocks.append(Linear(3))
    return Architecture(spec, tuple(blocks))


@st.composite
def narrow_architectures(draw: st.DrawFn) -> Architecture:
    """An architecture of binary convolutions whose maps have pixels of any number of bytes."""
    spec = InputSpec(
        draw(st.integers(1, 2)), draw(st.integers(1, 14)), draw(st.integers(1, 34)), "bits"
    )
    channels = draw(st.sampled_from([1, 8, 16, 17, 33, 48, 64]))
    kernel = draw(st.integers(1, min(3, spec.height, spec.width)))
    first = ConvPool(channels, kernel, kernel, draw(st.integers(1, 2)))
    second = draw(conv_pools(first.output_shape(spec.shape)))
    third = draw(conv_pools(second.output_shape(first.output_shape(spec.shape))))
    return Architecture(spec, (first, second, third, Linear(draw(st.integers(2, 5)))))


@st.composite
def grouped_architectures(draw: st.DrawFn) -> Architecture:
    """An architecture whose second block is a convolution in groups, and whose maps have pixels of
    any number of bytes."""
    kind = draw(st.sampled_from(["uint8", "bits"]))
    spec = InputSpec(1, draw(st.integers(1, 10)), draw(st.integers(1, 36)), kind)
    groups = draw(st.sampled_from([2, 3, 4, 8]))
    channels = groups * draw(st.sampled_from([1, 4, 8, 12, 16, 24]))
    plain = draw(conv_pools((1, spec.height, spec.width)))
    filters = groups * draw(st.sampled_from([1, 4, 8, 12, 16, 32, 40]))
    second = replace(plain, channels=filters, groups=groups)
    return Architecture(spec, (ConvPool(channels, 1, 1), second, Linear(draw(st.integers(2, 5)))))


@st.composite
def linear_architectures(draw: st.DrawFn) -> Architecture:
    """An architecture of fully connected blocks, with a convolution in front in some: their inputs
    are bits in a row, bits by pixels, or integers."""
    kind = draw(st.sampled_from(["bits", "bits", "uint8", "float"]))
    spec = InputSpec(
        draw(st.integers(1, 4)), draw(st.integers(1, 12)), draw(st.integers(1, 12)), kind
    )
    blocks: list[Block] = []
    if draw(st.booleans()):
        blocks.append(ConvPool(draw(st.sampled_from([1, 3, 10, 31, 32, 33, 64])), 1, 1))
    outputs = st.one_of(st.integers(1, 40), st.sampled_from([64, 65, 100]))
    blocks += [Linear(draw(outputs)) for _ in range(draw(st.integers(0, 2)))]
    blocks.append(Linear(draw(st.one_of(st.integers(2, 33), st.sampled_from([64, 65])))))
    return Architecture(spec, tuple(blocks))


def random_checkpoint(architecture: Architecture, seed: int) -> Checkpoint:
    """A network with random weights and BatchNorms: gamma of either sign, and zero in places;
    thresholds mostly within what the sums reach."""
    random = np.random.default_rng(seed)
    blocks = []
    for index, block in enumerate(architecture.blocks):
        shape = weight_shape(architecture, index)
        magnitude = architecture.input.max_magnitude if index == 0 else 1
        spread = magnitude * np.sqrt(fan_in(block, architecture.shapes()[index]))
        gamma = random.normal(size=shape[0])
        gamma[random.random(shape[0]) < 0.1] = 0.0
        norm = BatchNorm(
            gamma=gamma.astype(np.float32),
            beta=random.normal(size=shape[0], scale=0.3).astype(np.float32),
            mean=random.normal(size=shape[0], scale=spread).astype(np.float32),
            variance=(spread**2 * random.random(shape[0])).astype(np.float32),
        )
        weight = np.where(random.random(shape) < 0.5, 1, -1).astype(np.int8)
        blocks.append(CheckpointBlock(weight, norm))
    return Checkpoint(architecture, tuple(blocks))


def random_samples(spec: InputSpec, count: int, seed: int) -> NDArray[np.generic]:
    """Samples (count, channels, height, width): random ones, and one of extremes."""
    random = np.random.default_rng(seed)
    if spec.kind == "float":
        values = random.normal(size=(count, *spec.shape), scale=4.0).astype(np.float32)
        values[0] = random.choice([-1e9, -0.5, 0.0, 0.5, 1e9], size=spec.shape)
        return values
    x = random.integers(0, 256, (count, *spec.shape), dtype=np.uint8)
    x[0] = random.choice([0, 255], size=spec.shape)
    return x
