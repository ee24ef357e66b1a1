"""numpy integer reference = the emitted C on this machine, every score and activation bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_networks import (
    architectures,
    planes_architectures,
    random_checkpoint,
    random_samples,
)

from ebnn import reference
from ebnn.activations import decode_trace
from ebnn.architecture import Architecture, InputSpec, parse
from ebnn.emitter import emit
from ebnn.emitter.fast import fast_program
from ebnn.emitter.goal import Goal
from ebnn.host import build_host_model
from ebnn.inputs import encode_input
from ebnn.lowered import LoweredNetwork, lower

SAMPLES = 4
EVERY = {"fast": 1, "reference": 2, "unfused": 4}  # of the networks: the plain loops take less


def assert_same(
    network: LoweredNetwork,
    lowering: str,
    folder: Path,
    kernels: Path,
    goal: Goal | None = None,
) -> None:
    samples = random_samples(network.architecture.input, SAMPLES, seed=1)
    expected = reference.run(network, samples, keep_activations=True)
    program = emit(network, folder, lowering, goal)
    model = build_host_model(network, program, folder, folder / "model", True, [kernels])
    run = model.run(encode_input(samples, network.architecture.input))
    for index, trace in enumerate(run.traces):
        maps = decode_trace(network, program, trace.tobytes())
        for block, got in enumerate(maps):
            wanted = expected.activations[block][index]
            wrong = np.argwhere(got != wanted)
            assert len(wrong) == 0, (
                f"{lowering}: sample {index}, block {block}, first of {len(wrong)} wrong bits at"
                f" (channel, row, column) {tuple(wrong[0])} of {network.architecture}"
            )
    assert run.scores.tolist() == expected.scores.tolist(), lowering
    assert run.predictions.tolist() == expected.predictions.tolist(), lowering


@settings(
    max_examples=200,
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
            assert_same(network, lowering, tmp_path_factory.mktemp(lowering), kernels)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)
@given(architecture=planes_architectures(), seed=st.integers(0, 2**32 - 1))
def test_32_positions_at_a_time_agree_with_numpy_on_every_bit(
    architecture: Architecture,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
    kernels: Path,
) -> None:
    network = lower(random_checkpoint(architecture, seed))
    goal = Goal(variants=("conv_planes",))
    assume("conv_planes.c" in fast_program(network, goal).kernels)
    assert_same(network, "fast", tmp_path_factory.mktemp("planes"), kernels, goal)


@pytest.mark.parametrize("products", [509, 510, 2044])
def test_the_extremes_of_what_a_counter_holds_agree_with_numpy(
    products: int, tmp_path: Path, kernels: Path
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
    goal = Goal(variants=("conv_planes",))
    assert "conv_planes.c" in fast_program(network, goal).kernels
    assert_same(network, "fast", tmp_path, kernels, goal)
