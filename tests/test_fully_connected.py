"""Fully connected layers: each kernel exact for every shape, and in the same time for any input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from agreement import assert_same_on_host
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from random_networks import examples, linear_architectures, random_checkpoint, random_samples

from ebnn import reference
from ebnn.architecture import Architecture, InputSpec, parse
from ebnn.emitter.goal import Goal
from ebnn.emitter.variants import HEADS
from ebnn.emitter.variants.lookups import PART_INPUTS, runs_of
from ebnn.emulation import REGION, EmulatedModel, Firmware
from ebnn.firmware import build_model
from ebnn.inputs import encode_input, samples_of
from ebnn.lowered import LoweredNetwork, lower
from ebnn.sim.board import load_board

HEAD_NAMES = [variant.name for variant in HEADS]


def network(text: str, spec: InputSpec, seed: int = 3) -> LoweredNetwork:
    return lower(random_checkpoint(parse(text, spec), seed))


@settings(
    max_examples=examples(40),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    architecture=linear_architectures(),
    seed=st.integers(0, 2**32 - 1),
    hidden=st.sampled_from(["fc", "fc_lists"]),
    head=st.sampled_from(HEAD_NAMES),
)
def test_every_kernel_agrees_with_numpy_on_every_bit_and_score(
    architecture: Architecture,
    seed: int,
    hidden: str,
    head: str,
    tmp_path_factory: pytest.TempPathFactory,
    kernels: Path,
) -> None:
    model = lower(random_checkpoint(architecture, seed))
    goal = Goal(variants=(hidden, head))
    assert_same_on_host(model, "fast", tmp_path_factory.mktemp("fc"), kernels, goal)


@pytest.mark.parametrize("hidden", ["fc", "fc_lists"])
@pytest.mark.parametrize("inputs", [2, 63, 64, 255, 257, 512, 2048])
def test_thresholds_at_either_end_agree_with_numpy(
    hidden: str,
    inputs: int,
    tmp_path: Path,
    kernels: Path,
) -> None:
    """Weights all +1, all -1 and mixed; maps all +1, all -1, and either by one."""
    model = network("fc-40, fc-2", InputSpec(1, 1, inputs, "bits"))
    layer = model.hidden[0]
    weight = layer.weight.copy()
    weight[:16] = np.repeat([-1, 1], 8)[:, None]
    ends = [-inputs - 1, -inputs, -inputs + 1, -1, 0, inputs, inputs + 1, 1]
    threshold = np.array(5 * ends, np.int32)
    model = replace(model, hidden=(replace(layer, weight=weight, threshold=threshold),))
    flat = np.zeros((4, 1, 1, inputs), np.uint8)
    flat[1:3] = 255
    flat[2, ..., inputs // 2] = 0
    flat[3, ..., inputs // 3] = 255
    goal = Goal(variants=(hidden, "head"))
    assert_same_on_host(model, "fast", tmp_path, kernels, goal, flat)


def images(spec: InputSpec) -> NDArray[np.uint8]:
    """Random ones, from almost all -1 to almost all +1, and those that would steer a branch."""
    random = np.random.default_rng(6)
    samples = random.integers(0, 256, (12, *spec.shape), dtype=np.uint8)
    for index, share in enumerate((0.0, 0.01, 0.3, 0.5, 0.7, 0.99, 1.0)):
        samples[index] = np.where(random.random(spec.shape) < share, 255, 0)
    samples[7] = np.arange(samples[7].size).reshape(spec.shape) < samples[7].size // 2
    samples[7] *= 255
    samples[8] = 255 - samples[7]
    return samples


@pytest.mark.parametrize(
    ("hidden", "head", "shape"),
    [
        ("fc_lists", "head", (2, 32, 32)),  # a list of 8 chunks
        ("fc_lists", "head_lookup3", (3, 13, 19)),  # of 3, and a begun word
        ("fc", "head_lookup6", (3, 13, 19)),
    ],
)
@pytest.mark.parametrize("board_name", ["generic-m4f", "generic-m0plus"])
@pytest.mark.parametrize("flags", [[], ["-DEBNN_PORTABLE"]])  # the C that assembly stands for
def test_cycles_do_not_depend_on_the_input_and_scores_are_exact(
    flags: list[str],
    board_name: str,
    hidden: str,
    head: str,
    shape: tuple[int, int, int],
    tmp_path: Path,
) -> None:
    spec = InputSpec(*shape, "bits")
    model = network("fc-40, fc-12, fc-21", spec)
    board = load_board(board_name)
    elf = tmp_path / "model.elf"
    goal = Goal(board.core, variants=(hidden, head))
    build_model(model, board, elf, tmp_path / "c", "fast", "-O2", goal=goal, flags=flags)
    emulated = EmulatedModel(Firmware(elf, board, None))
    samples = images(spec)
    expected = reference.run(model, samples)
    scores = emulated.machine.symbol("ebnn_scores")
    cycles = set()
    for index, sample in enumerate(encode_input(samples_of(samples, spec), spec)):
        assert emulated.infer(sample, scores.address) == expected.predictions[index]
        cycles.add(emulated.machine.region(REGION).cycles)
        got = np.frombuffer(emulated.machine.read(scores.address, scores.size_bytes), "<i4")
        assert got.tolist() == expected.scores[index].tolist(), index
    assert len(cycles) == 1


@pytest.mark.parametrize("head", ["head", "head_lookup4"])
def test_of_equal_scores_the_lowest_class_wins(
    head: str,
    tmp_path: Path,
    kernels: Path,
) -> None:
    model = network("fc-13", InputSpec(1, 4, 9, "bits"))
    equal = [2, 7, 12]
    layer = model.head
    weight, multiplier, offset = layer.weight.copy(), layer.multiplier.copy(), layer.offset.copy()
    weight[equal], multiplier[equal], offset[equal] = weight[2], multiplier[2], 1 << 22
    model = replace(model, head=replace(layer, weight=weight, multiplier=multiplier, offset=offset))
    samples = random_samples(model.architecture.input, 3, seed=1)
    assert reference.run(model, samples).predictions.tolist() == [2, 2, 2]
    goal = Goal(variants=("fc", head))
    assert_same_on_host(model, "fast", tmp_path, kernels, goal)


@pytest.mark.parametrize("bits", [3, 4, 5, 6])
def test_a_part_of_a_head_by_lookup_has_what_its_fields_hold(bits: int) -> None:
    used_words = [0xFFFFFFFF] * 40 + [0] + [0x3FF] * 30 + [0x80000001, 0xFF00FF]
    runs = runs_of(used_words, bits)
    inputs = 0
    for run in runs:
        assert all(sum(one.inputs for one in part) <= PART_INPUTS for part in run.parts)
        inputs += run.repeat * sum(lookup.inputs for lookup in run.lookups)
    assert inputs == sum(used.bit_count() for used in used_words)


@pytest.mark.parametrize(
    ("kind", "lowering"),
    [("uint8", "fast"), ("bits", "fast"), ("bits", "reference"), ("bits", "unfused")],
)
def test_more_inputs_than_16_bits_count_are_exact(
    kind: str, lowering: str, tmp_path: Path, kernels: Path
) -> None:
    height, width = (257, 256) if kind == "bits" else (257, 64)
    text = "fc-2" if kind == "bits" else "conv1x1-4, fc-2"
    model = network(text, InputSpec(1, height, width, kind))
    assert model.head.weight.shape[1] == 65792
    assert_same_on_host(model, lowering, tmp_path, kernels, samples=2)
