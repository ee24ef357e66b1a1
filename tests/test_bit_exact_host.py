"""numpy integer reference = the emitted C on this machine, every score and activation bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from agreement import assert_same_on_host
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_networks import (
    architectures,
    examples,
    random_checkpoint,
    word_architectures,
)

from ebnn.architecture import Architecture, InputSpec, parse
from ebnn.emitter.fast import fast_program
from ebnn.emitter.goal import Goal
from ebnn.lowered import lower

EVERY = {"fast": 1, "reference": 2, "unfused": 4}  # of the networks: the plain loops take less
WORD_VARIANTS = ("conv_planes", "conv_sliced", "conv_tables")


@settings(
    max_examples=examples(30),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(architecture=architectures(), seed=st.integers(0, 2**32 - 1))
def test_every_lowering_agrees_with_numpy_on_every_bit(
    architecture: Architecture,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
    kernels: Path,
) -> None:
    network = lower(random_checkpoint(architecture, seed))
    for lowering, every in EVERY.items():
        if seed % every == 0:
            assert_same_on_host(network, lowering, tmp_path_factory.mktemp(lowering), kernels)


@pytest.mark.parametrize("variant", WORD_VARIANTS)
@settings(
    max_examples=examples(8),
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)
@given(architecture=word_architectures(), seed=st.integers(0, 2**32 - 1))
def test_each_kernel_of_maps_in_words_agrees_with_numpy_on_every_bit(
    variant: str,
    architecture: Architecture,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
    kernels: Path,
) -> None:
    network = lower(random_checkpoint(architecture, seed))
    goal = Goal(variants=(variant,))
    assume(f"{variant}.c" in fast_program(network, goal).kernels)
    assert_same_on_host(network, "fast", tmp_path_factory.mktemp(variant), kernels, goal)


@pytest.mark.parametrize("variant", WORD_VARIANTS)
@pytest.mark.parametrize("products", [223, 224, 225, 509, 2044])
def test_the_extremes_of_what_a_counter_holds_agree_with_numpy(
    products: int, variant: str, tmp_path: Path, kernels: Path
) -> None:
    """Maps all +1 against weights all -1, all +1 and mixed, thresholds at either end."""
    architecture = parse(f"conv1x1-{products}, conv1x1-16, fc-2", InputSpec(1, 2, 16))
    network = lower(random_checkpoint(architecture, 1))
    ones = replace(
        network.hidden[0],
        threshold=np.full(products, -255, np.int32),  # sums of one pixel reach it
        flip=np.zeros(products, np.bool_),
    )
    weight = network.hidden[1].weight.copy()
    weight[:8] = np.repeat([-1, 1], 4)[:, None, None, None]
    ends = [-products, -products + 1, products, products + 1]
    threshold = np.array(4 * ends, np.int32)
    extremes = replace(network.hidden[1], weight=weight, threshold=threshold)
    network = replace(network, hidden=(ones, extremes))
    goal = Goal(variants=(variant,))
    assert f"{variant}.c" in fast_program(network, goal).kernels
    assert_same_on_host(network, "fast", tmp_path, kernels, goal)
