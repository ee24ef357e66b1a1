"""A network's architecture as facts, and as a short string.

`parse("conv3x3-32 pool2, conv3x3-64 stride2 pad1, fc-10", InputSpec(1, 28, 28))` gives an
`Architecture`. Blocks are separated by commas; the words of a block by spaces:

    convKHxKW-N   binary convolution, N output channels, kernels 1 to 7
    strideS padP  of that convolution (1 and 0 when not given)
    groupsG       of its channels: filter n of N reads group n * G // N of the input's (1 when not
                  given); G divides both numbers of channels
    poolK[/S]     max-pooling KxK with stride S (S = K when not given)
    fc-N          fully connected block; the last block is always one, and gives the N classes
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ebnn.sim.errors import UserError

INPUT_KINDS = ("uint8", "float", "bits")
INPUT_FORMS = "uint8, float, bits, or bits of several thresholds such as bits:64,192"
FLOAT_INPUT_MAX = 2047  # a float input is held as an integer in [-2047, 2047]
MAX_EXACT_SUM = 1 << 24  # float32 holds every integer up to this magnitude
MAX_HEAD_SUM = 1 << 22  # beyond, the head's integer scores leave its sums no multiplier
MAX_NUMBER = 65535  # of channels, features, strides and so on


@dataclass(frozen=True)
class InputSpec:
    """What enters the network: `channels` x `height` x `width` values.

    `uint8`: the integers 0..255. `bits`: +1 where the byte is at least a threshold, else -1; with
    several thresholds (a thermometer code) each channel of the data becomes as many, first all
    channels at the first threshold.
    `float`: round(x * 2**fraction_bits) clipped to [-2047, 2047], so that sums stay exact.
    """

    channels: int
    height: int
    width: int
    kind: str = "uint8"
    fraction_bits: int = 8
    thresholds: tuple[int, ...] = (128,)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.channels, self.height, self.width)

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the data."""
        return (self.channels // len(self.thresholds), self.height, self.width)

    @property
    def max_magnitude(self) -> int:
        """Largest absolute value of the integer that enters a sum."""
        return {"uint8": 255, "float": FLOAT_INPUT_MAX, "bits": 1}[self.kind]

    def __str__(self) -> str:
        """The kind as `parse_input` takes it."""
        if self.kind != "bits" or self.thresholds == (128,):
            return self.kind
        return f"{self.kind}:{','.join(map(str, self.thresholds))}"


def input_from(facts: Mapping[str, Any]) -> InputSpec:
    """An input from its fields as files have them: lists for tuples, younger fields left out."""
    return InputSpec(**{**facts, "thresholds": tuple(facts.get("thresholds", (128,)))})


def parse_input(text: str, sample_shape: tuple[int, int, int]) -> InputSpec:
    """The input of samples (channels, height, width) that enter as `text` says: one of
    `INPUT_FORMS`. Raises `UserError`."""
    kind, colon, rest = text.partition(":")
    thresholds = rest.split(",") if colon else ["128"]
    if kind not in INPUT_KINDS or (colon and kind != "bits"):
        raise UserError(f"input {text!r}: give {INPUT_FORMS}")
    values = tuple(int(one) if one.isdecimal() else 0 for one in thresholds)
    if min(values) < 1 or max(values) > 255 or any(a >= b for a, b in pairwise(values)):
        raise UserError(f"input {text!r}: thresholds must rise, from 1 to 255: {INPUT_FORMS}")
    channels, height, width = sample_shape
    return InputSpec(channels * len(values), height, width, kind, thresholds=values)


@dataclass(frozen=True)
class ConvPool:
    """Conv -> MaxPool -> BatchNorm -> sign, fused (paper section 3.2).

    With `groups`, input and output channels are cut into so many runs alike, and a run of filters
    reads the run of channels with the same number.
    """

    channels: int
    kernel_height: int
    kernel_width: int
    stride: int = 1
    padding: int = 0
    pool: int = 1
    pool_stride: int = 1
    groups: int = 1

    def conv_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(channels, height, width) between convolution and pooling."""
        _, height, width = shape
        return (
            self.channels,
            (height + 2 * self.padding - self.kernel_height) // self.stride + 1,
            (width + 2 * self.padding - self.kernel_width) // self.stride + 1,
        )

    def output_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        channels, height, width = self.conv_shape(shape)
        return (
            channels,
            (height - self.pool) // self.pool_stride + 1,
            (width - self.pool) // self.pool_stride + 1,
        )

    def __str__(self) -> str:
        words = [f"conv{self.kernel_height}x{self.kernel_width}-{self.channels}"]
        if self.stride != 1:
            words.append(f"stride{self.stride}")
        if self.padding:
            words.append(f"pad{self.padding}")
        if self.groups != 1:
            words.append(f"groups{self.groups}")
        if self.pool != 1 or self.pool_stride != 1:
            same = self.pool == self.pool_stride
            words.append(f"pool{self.pool}" + ("" if same else f"/{self.pool_stride}"))
        return " ".join(words)


@dataclass(frozen=True)
class Linear:
    """Linear -> BatchNorm -> sign; as the last block Linear -> BatchNorm -> argmax."""

    features: int

    def output_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        return (self.features, 1, 1)

    def __str__(self) -> str:
        return f"fc-{self.features}"


Block = ConvPool | Linear


@dataclass(frozen=True)
class Architecture:
    """An input and the blocks it runs through; the last block is the classifier head."""

    input: InputSpec
    blocks: tuple[Block, ...]

    @property
    def classes(self) -> int:
        head = self.blocks[-1]
        assert isinstance(head, Linear)
        return head.features

    def shapes(self) -> list[tuple[int, int, int]]:
        """(channels, height, width) of the input and of every block's output, in order."""
        shapes = [self.input.shape]
        for block in self.blocks:
            shapes.append(block.output_shape(shapes[-1]))
        return shapes

    def __str__(self) -> str:
        return ", ".join(str(block) for block in self.blocks)


def fan_in(block: Block, shape: tuple[int, int, int]) -> int:
    """Number of products in one pre-activation of `block` on an input of `shape`."""
    channels, height, width = shape
    if isinstance(block, ConvPool):
        return channels // block.groups * block.kernel_height * block.kernel_width
    return channels * height * width


class ArchitectureError(UserError):
    """The architecture string is wrong; the message points at the token."""

    def __init__(self, text: str, position: int, length: int, problem: str) -> None:
        pointer = " " * position + "^" * max(1, length)
        super().__init__(f"architecture: {problem}\n  {text}\n  {pointer}")


_CONV = re.compile(r"conv(\d+)x(\d+)-(\d+)")
_FC = re.compile(r"fc-(\d+)")
_OPTION = re.compile(r"(stride|pad|groups|pool)(\d+)(?:/(\d+))?")


def parse(text: str, input_spec: InputSpec) -> Architecture:
    """Parse an architecture string and check that every shape works out.

    Raises `ArchitectureError`, which points at the bad token.
    """
    if input_spec.kind not in INPUT_KINDS:
        raise UserError(f"input kind {input_spec.kind!r}: give one of {', '.join(INPUT_KINDS)}")
    # One column a character, so that the pointer stands under its token.
    text = "".join(" " if character.isspace() else character for character in text)
    if min(input_spec.shape) < 1 or not -16 <= input_spec.fraction_bits <= 24:
        raise UserError(
            f"input {input_spec.shape} (channels, height, width), {input_spec.fraction_bits}"
            " fraction bits: give extents from 1 and fraction bits from -16 to 24"
        )
    if not text.strip():
        raise ArchitectureError(text, 0, 1, "no blocks; for example 'conv3x3-32 pool2, fc-10'")
    blocks: list[Block] = []
    shape = input_spec.shape
    parts = text.split(",")
    position = 0
    for index, part in enumerate(parts):
        start = position + len(part) - len(part.lstrip())
        length = len(part.strip())
        block = _parse_block(text, part, position)
        if isinstance(block, ConvPool) and blocks and isinstance(blocks[-1], Linear):
            raise ArchitectureError(text, start, length, "a conv block cannot follow an fc block")
        if isinstance(block, ConvPool):
            _check_conv(text, start, length, block, shape)
        magnitude = input_spec.max_magnitude if index == 0 else 1
        if fan_in(block, shape) * magnitude >= MAX_EXACT_SUM:
            raise ArchitectureError(
                text, start, length, f"sums of {fan_in(block, shape)} products exceed 2^24"
            )
        if index == len(parts) - 1 and fan_in(block, shape) * magnitude > MAX_HEAD_SUM:
            problem = f"sums of {fan_in(block, shape)} products are too large for the last block"
            raise ArchitectureError(text, start, length, problem)
        blocks.append(block)
        shape = block.output_shape(shape)
        position += len(part) + 1
    if not isinstance(blocks[-1], Linear):
        raise ArchitectureError(text, start, length, "the last block must be fc-N, N the classes")
    return Architecture(input_spec, tuple(blocks))


def _check_conv(
    text: str, start: int, length: int, block: ConvPool, shape: tuple[int, int, int]
) -> None:
    channels, height, width = shape
    for count, what in ((channels, "channels before it"), (block.channels, "filters")):
        if count % block.groups:
            problem = f"{block.groups} groups do not divide the {count} {what}"
            raise ArchitectureError(text, start, length, problem)
    if block.padding >= min(block.kernel_height, block.kernel_width) and block.padding:
        raise ArchitectureError(text, start, length, "padding must be smaller than the kernel")
    if (
        height + 2 * block.padding < block.kernel_height
        or width + 2 * block.padding < block.kernel_width
    ):
        raise ArchitectureError(
            text, start, length, f"the kernel does not fit the {height}x{width} map before it"
        )
    _, conv_height, conv_width = block.conv_shape(shape)
    if min(conv_height, conv_width) < block.pool:
        raise ArchitectureError(
            text, start, length, f"pool{block.pool} does not fit the {conv_height}x{conv_width} map"
        )


def _parse_block(text: str, part: str, position: int) -> Block:
    words = [(found.group(), position + found.start()) for found in re.finditer(r"\S+", part)]
    if not words:
        raise ArchitectureError(text, position, 1, "an empty block")
    for token, token_at in words:
        for digits in re.finditer(r"\d+", token):
            # Compared by length first: int() refuses thousands of digits.
            if len(digits[0]) > 9 or int(digits[0]) > MAX_NUMBER:
                problem = f"numbers go up to {MAX_NUMBER}"
                raise ArchitectureError(text, token_at, len(token), problem)
    word, at = words[0]
    if found := _FC.fullmatch(word):
        if len(words) > 1:
            bad, bad_at = words[1]
            raise ArchitectureError(text, bad_at, len(bad), f"{bad!r}: fc takes no options")
        if int(found[1]) < 1:
            raise ArchitectureError(text, at, len(word), "at least 1 feature is needed")
        return Linear(int(found[1]))
    found = _CONV.fullmatch(word)
    if not found:
        raise ArchitectureError(
            text, at, len(word), f"{word!r} is no block; blocks are convKxK-N and fc-N"
        )
    height, width, channels = (int(number) for number in found.groups())
    if not (1 <= height <= 7 and 1 <= width <= 7):
        raise ArchitectureError(text, at, len(word), "kernel sizes go from 1 to 7")
    if channels < 1:
        raise ArchitectureError(text, at, len(word), "at least 1 channel is needed")
    values: dict[str, tuple[int, int | None]] = {}
    for option, option_at in words[1:]:
        match = _OPTION.fullmatch(option)
        if not match or (match[3] and match[1] != "pool"):
            problem = (
                f"{option!r} is no option; options are strideS, padP, groupsG and poolK or poolK/S"
            )
            raise ArchitectureError(text, option_at, len(option), problem)
        if match[1] in values:
            raise ArchitectureError(text, option_at, len(option), f"{match[1]} is given twice")
        number, second = int(match[2]), int(match[3]) if match[3] else None
        if (number == 0 and match[1] != "pad") or second == 0:
            raise ArchitectureError(text, option_at, len(option), f"{match[1]} must be at least 1")
        values[match[1]] = (number, second)
    pool, pool_stride = values.get("pool", (1, None))
    return ConvPool(
        channels=channels,
        kernel_height=height,
        kernel_width=width,
        stride=values.get("stride", (1, None))[0],
        padding=values.get("pad", (0, None))[0],
        pool=pool,
        pool_stride=pool if pool_stride is None else pool_stride,
        groups=values.get("groups", (1, None))[0],
    )
