"""Folding BatchNorm into integers, and the lowered model as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from random_networks import architectures, random_checkpoint, random_samples

from ebnn import lowered, reference, tensor_files
from ebnn.architecture import Architecture, InputSpec, parse
from ebnn.lowered import lower
from ebnn.normalization import HEAD_SCORE_MAX, BatchNorm, fold_threshold, head_grid
from ebnn.sim.errors import UserError


def norm_of(gamma: float, beta: float, mean: float, variance: float = 1.0) -> BatchNorm:
    arrays = [np.array([value], dtype=np.float32) for value in (gamma, beta, mean, variance)]
    return BatchNorm(arrays[0], arrays[1], arrays[2], arrays[3], epsilon=1e-5)


def bits(norm: BatchNorm, max_magnitude: int) -> list[bool]:
    """What the folded comparison says of every integer that can occur."""
    folded = fold_threshold(norm, max_magnitude)
    x = np.arange(-max_magnitude, max_magnitude + 1)
    return list((x >= folded.threshold[0]) != folded.flip[0])


FLOATS = st.floats(-50, 50, width=32)


@settings(max_examples=300, derandomize=True)
@given(gamma=FLOATS, beta=FLOATS, mean=FLOATS, variance=st.floats(0, 1000, width=32))
def test_the_threshold_says_what_the_batchnorm_says_at_every_integer(
    gamma: float, beta: float, mean: float, variance: float
) -> None:
    norm = norm_of(gamma, beta, mean, variance)
    x = np.arange(-40, 41, dtype=np.float32)[:, None]
    assert bits(norm, 40) == list(norm.evaluate(x)[:, 0] >= 0)


def test_negative_gamma_flips_the_threshold() -> None:
    assert bits(norm_of(-1.0, 0.0, 2.5), 4) == [True] * 7 + [False] * 2


def test_zero_gamma_gives_the_sign_of_beta_everywhere() -> None:
    assert all(bits(norm_of(0.0, 0.1, 3.0), 4))
    assert not any(bits(norm_of(0.0, -0.1, 3.0), 4))
    assert all(bits(norm_of(0.0, 0.0, 3.0), 4)), "sign(0) is +1"


def test_a_batchnorm_that_is_zero_at_an_integer_counts_it_as_positive() -> None:
    assert bits(norm_of(1.0, 0.0, 2.0), 3) == [False] * 5 + [True] * 2
    assert bits(norm_of(-1.0, 0.0, 2.0), 3) == [True] * 6 + [False]


@settings(max_examples=200, derandomize=True)
@given(
    gamma=st.lists(FLOATS, min_size=3, max_size=3),
    beta=st.lists(FLOATS, min_size=3, max_size=3),
    max_magnitude=st.integers(1, 5000),
)
def test_head_scores_fit_23_bits_and_follow_the_batchnorm(
    gamma: list[float], beta: list[float], max_magnitude: int
) -> None:
    norm = BatchNorm(
        np.array(gamma, dtype=np.float32),
        np.array(beta, dtype=np.float32),
        np.zeros(3, dtype=np.float32),
        np.ones(3, dtype=np.float32),
    )
    grid = head_grid(norm, max_magnitude)
    for x in (-max_magnitude, 0, max_magnitude):
        scores = x * grid.multiplier.astype(np.int64) + grid.offset
        assert np.abs(scores).max() <= HEAD_SCORE_MAX
        exact = norm.scale().astype(float) * x + norm.beta
        half_units = (max_magnitude + 1) / 2 + 1e-3 * max_magnitude
        assert np.abs(scores - np.ldexp(exact, grid.shift)).max() <= half_units


def test_a_lowered_model_survives_its_file_and_equal_models_give_equal_bytes(
    tmp_path: Path,
) -> None:
    architecture = parse("conv3x3-20 pool2, fc-33, fc-7", InputSpec(2, 9, 8, "bits"))
    network = lower(random_checkpoint(architecture, 5))
    for name in ("first", "second"):
        lowered.save(network, tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    again = lowered.load(tmp_path / "first")
    assert again.digest() == network.digest()
    x = random_samples(architecture.input, 5, 1)
    assert np.array_equal(reference.run(again, x).scores, reference.run(network, x).scores)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("0.flip", None, "tensor '0.flip' is missing"),
        ("9.flip", np.zeros(3, np.bool_), "unknown tensor '9.flip'"),
        ("1.weight", np.full(5, 255, np.uint8), "'1.weight' has bits behind the last weight"),
        ("0.mean", np.full(5, np.nan, np.float32), "'0.mean' holds values that are not finite"),
    ],
)
def test_a_damaged_lowered_model_is_refused_with_the_reason(
    tmp_path: Path, name: str, value: NDArray[np.generic] | None, complaint: str
) -> None:
    path = tmp_path / "model.lowered"
    network = lower(random_checkpoint(parse("fc-5, fc-7", InputSpec(1, 3, 4, "bits")), 5))
    lowered.save(network, path)
    tensors, metadata = tensor_files.read(path, "lowered model", lowered.FORMAT, "ebnn lower")
    if value is None:
        del tensors[name]
    else:
        tensors[name] = value
    tensor_files.write(path, tensors, metadata)
    with pytest.raises(UserError, match=complaint) as caught:
        lowered.load(path)
    assert "write it again with `ebnn lower`" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "does not exist"), (b"", "not a readable"), (b"\x7fELF" * 99, "not a readable")],
)
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    path = tmp_path / "model.lowered"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=complaint) as caught:
        lowered.load(path)
    assert "\n" not in str(caught.value)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(architecture=architectures(), seed=st.integers(0, 999))
def test_digest_changes_with_one_weight(architecture: Architecture, seed: int) -> None:
    checkpoint = random_checkpoint(architecture, seed)
    before = lower(checkpoint).digest()
    checkpoint.blocks[0].weight.flat[0] *= -1
    assert lower(checkpoint).digest() != before
