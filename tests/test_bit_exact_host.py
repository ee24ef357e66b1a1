"""numpy integer reference = the emitted C on this machine, every score and activation bit."""

from __future__ import annotations

import ctypes
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
from ebnn.activations import decode_trace, trace_bytes
from ebnn.architecture import Architecture, InputSpec, parse
from ebnn.c_kernels import KERNEL_DIR
from ebnn.emitter import LOWERINGS, emit
from ebnn.emitter.fast import fast_program
from ebnn.emitter.goal import Goal
from ebnn.host import HostModel
from ebnn.inputs import encode_input
from ebnn.lowered import LoweredNetwork, lower
from ebnn.toolchain.firmware import TOOLCHAIN_DIR
from ebnn.toolchain.host import build_shared

SAMPLES = 4


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """All kernels and the trace, compiled once; a model's own file finds them when loaded."""
    output = tmp_path_factory.mktemp("kernels") / "kernels.so"
    build_shared([*sorted(KERNEL_DIR.glob("*.c")), TOOLCHAIN_DIR / "trace.c"], output)
    return ctypes.CDLL(str(output), mode=ctypes.RTLD_GLOBAL)


def assert_same(
    network: LoweredNetwork,
    lowering: str,
    folder: Path,
    kernels: ctypes.CDLL,
    goal: Goal | None = None,
) -> None:
    samples = random_samples(network.architecture.input, SAMPLES, seed=1)
    expected = reference.run(network, samples, keep_activations=True)
    program = emit(network, folder, lowering, goal)
    output = folder / "model.so"
    build_shared([folder / "model.c"], output, [folder], defines={"EBNN_TRACE": "1"})
    model = HostModel(ctypes.CDLL(str(output)), network.architecture.classes)
    tracer = HostModel(kernels, network.architecture.classes)
    for index, sample in enumerate(encode_input(samples, network.architecture.input)):
        predicted, scores = model.infer(sample)
        maps = decode_trace(network, program, tracer.trace(trace_bytes(program)))
        for block, got in enumerate(maps):
            wanted = expected.activations[block][index]
            wrong = np.argwhere(got != wanted)
            assert len(wrong) == 0, (
                f"{lowering}: sample {index}, block {block}, first of {len(wrong)} wrong bits at"
                f" (channel, row, column) {tuple(wrong[0])} of {network.architecture}"
            )
        assert scores.tolist() == expected.scores[index].tolist(), (lowering, index)
        assert predicted == expected.predictions[index], (lowering, index)


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(architecture=architectures(), seed=st.integers(0, 2**32 - 1))
def test_fast_and_reference_c_agree_with_numpy_on_every_bit(
    architecture: Architecture,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
    kernels: ctypes.CDLL,
) -> None:
    network = lower(random_checkpoint(architecture, seed))
    for lowering in LOWERINGS:
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
    kernels: ctypes.CDLL,
) -> None:
    network = lower(random_checkpoint(architecture, seed))
    goal = Goal(variants=("conv_planes",))
    assume("conv_planes.c" in fast_program(network, goal).kernels)
    assert_same(network, "fast", tmp_path_factory.mktemp("planes"), kernels, goal)


@pytest.mark.parametrize("products", [509, 510, 2044])
def test_the_extremes_of_what_a_counter_holds_agree_with_numpy(
    products: int, tmp_path: Path, kernels: ctypes.CDLL
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
