"""The architecture string: what it says comes back, and an error points at its token."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from random_networks import architectures

from ebnn.architecture import (
    Architecture,
    ArchitectureError,
    ConvPool,
    InputSpec,
    Linear,
    parse,
    parse_input,
)
from ebnn.inputs import encode_input, samples_of
from ebnn.sim.errors import UserError

MNIST = InputSpec(1, 28, 28)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(architecture=architectures())
def test_what_an_architecture_prints_parses_to_itself(architecture: Architecture) -> None:
    assert parse(str(architecture), architecture.input) == architecture


def test_every_word_means_what_the_manual_says() -> None:
    text = "conv3x5-8 stride2 pad1 pool3/2 ,  conv1x1-4 groups4 pool2,fc-7, fc-10"
    architecture = parse(text, MNIST)
    assert architecture.blocks == (
        ConvPool(8, 3, 5, stride=2, padding=1, pool=3, pool_stride=2),
        ConvPool(4, 1, 1, pool=2, pool_stride=2, groups=4),
        Linear(7),
        Linear(10),
    )
    assert architecture.shapes() == [(1, 28, 28), (8, 6, 6), (4, 3, 3), (7, 1, 1), (10, 1, 1)]
    assert architecture.classes == 10


@pytest.mark.parametrize(
    ("text", "token", "problem"),
    [
        ("", "", "no blocks"),
        ("conv3x3-32, fc-10,", "", "an empty block"),
        ("conv3x3-32 pool2, cnv3x3-32, fc-10", "cnv3x3-32", "is no block"),
        ("conv3x3, fc-10", "conv3x3", "is no block"),
        ("conv8x3-32, fc-10", "conv8x3-32", "kernel sizes go from 1 to 7"),
        ("conv3x0-32, fc-10", "conv3x0-32", "kernel sizes go from 1 to 7"),
        ("conv3x3-0, fc-10", "conv3x3-0", "at least 1 channel"),
        ("conv3x3-8 pool2, fc-0", "fc-0", "at least 1 feature"),
        ("conv3x3-8 pol2, fc-10", "pol2", "is no option"),
        ("conv3x3-8 stride2/2, fc-10", "stride2/2", "is no option"),
        ("conv3x3-8 pool2 pad1 pool3, fc-10", "pool3", "pool is given twice"),
        ("conv3x3-8 stride0, fc-10", "stride0", "stride must be at least 1"),
        ("conv3x3-8 pool2/0, fc-10", "pool2/0", "pool must be at least 1"),
        ("conv3x3-8 groups0, fc-10", "groups0", "groups must be at least 1"),
        ("conv3x3-8 groups2, fc-10", "conv3x3-8 groups2", "do not divide the 1 channels before"),
        ("conv3x3-8, conv3x3-6 groups4, fc-10", "conv3x3-6 groups4", "divide the 6 filters"),
        ("conv3x3-8, fc-10 pool2", "pool2", "fc takes no options"),
        ("conv3x3-8 pad3, fc-10", "conv3x3-8 pad3", "padding must be smaller than the kernel"),
        ("conv3x3-8 pool9,conv7x7-8, fc-10", "conv7x7-8", "kernel does not fit the 2x2 map"),
        ("conv3x3-8 pool27, fc-10", "conv3x3-8 pool27", "pool27 does not fit the 26x26 map"),
        ("fc-10,   conv3x3-8 , fc-10", "conv3x3-8", "a conv block cannot follow an fc block"),
        ("fc-10, conv3x3-8", "conv3x3-8", "a conv block cannot follow an fc block"),
        ("fc-10, cnv3", "cnv3", "is no block"),
        ("conv3x3-8 pool2, conv3x3-8", "conv3x3-8", "the last block must be fc-N"),
        ("conv3x3-65536, fc-10", "conv3x3-65536", "numbers go up to 65535"),
        ("conv3x3-8\tstride" + "9" * 5000 + ", fc-10", "stride" + "9" * 5000, "numbers go up"),
        ("conv3x3-8,\tfc-10\tx", "x", "fc takes no options"),
    ],
)
def test_an_error_points_at_the_bad_token(text: str, token: str, problem: str) -> None:
    with pytest.raises(ArchitectureError, match=problem) as caught:
        parse(text, MNIST)
    _, shown, pointer = str(caught.value).split("\n")
    assert shown[2:] == text.replace("\t", " ")
    start, length = pointer.index("^"), pointer.count("^")
    assert shown[start : start + length] == token if token else length == 1
    if token == "conv3x3-8" and text.count(token) == 2:
        assert start == 2 + text.rindex(token)


def test_sums_that_would_not_stay_exact_are_refused() -> None:
    with pytest.raises(ArchitectureError, match=r"sums of \d+ products exceed 2\^24"):
        parse("fc-10, fc-10", InputSpec(1, 260, 260))
    with pytest.raises(ArchitectureError, match="too large for the last block"):
        parse("fc-10", InputSpec(1, 150, 150))
    parse("fc-10", InputSpec(1, 128, 128))


def test_impossible_inputs_are_refused() -> None:
    for spec in (InputSpec(0, 8, 8), InputSpec(1, 8, 8, "float", 99), InputSpec(1, 8, 8, "int")):
        with pytest.raises(UserError, match="input"):
            parse("fc-10", spec)


@pytest.mark.parametrize("text", ["uint8", "float", "bits", "bits:64,192", "bits:1,128,255"])
def test_an_inputs_text_comes_back(text: str) -> None:
    spec = parse_input(text, (2, 3, 5))
    assert str(spec) == text and spec.sample_shape == (2, 3, 5)
    assert spec.channels == 2 * len(spec.thresholds)


@pytest.mark.parametrize(
    "text", ["int8", "bits:", "bits:0,64", "bits:64,64", "bits:192,64", "bits:9,256", "uint8:7"]
)
def test_inputs_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=rf"^input '{text}': .*bits:64,192$"):
        parse_input(text, (1, 8, 8))


def test_a_bit_for_each_threshold_is_what_the_firmware_reads() -> None:
    """As `model.h` says: all channels at the first threshold, then all at the second."""
    x = np.array([[[[63, 64]], [[191, 192]]]], np.uint8)  # two channels, one row
    spec = parse_input("bits:64,192", (2, 1, 2))
    (encoded,) = encode_input(samples_of(x, spec), spec)
    assert list(np.unpackbits(encoded, bitorder="little")[:8]) == [0, 1, 1, 1, 0, 0, 0, 1]
