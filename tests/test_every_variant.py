"""Every kernel that can be chosen computes what the numpy reference does, bit for bit: on this
machine under sanitizers, and in the simulator on cores with and without the DSP extension."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from agreement import assert_same_in_simulator, assert_same_on_host
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_networks import (
    architectures,
    dense_architectures,
    examples,
    grouped_architectures,
    integer_architectures,
    linear_architectures,
    random_checkpoint,
    word_architectures,
)

from ebnn.architecture import InputSpec, parse
from ebnn.cost_measurement import trials_of
from ebnn.emitter.fast import fast_program
from ebnn.emitter.goal import Goal
from ebnn.emitter.variants import NAMES
from ebnn.lowered import LoweredNetwork, lower

BOARDS = ("generic-m4f", "generic-m0plus", "generic-m3")

# Few of the networks of all kinds have a block that these serve.
MADE_FOR = {
    **dict.fromkeys(
        ("conv_bits", "conv_planes", "conv_packed"),
        st.one_of(word_architectures(), grouped_architectures()),
    ),
    "conv_columns": integer_architectures(),
    "conv_dense": dense_architectures(),
    "conv_dense_small": dense_architectures(),
    "conv_int": integer_architectures(),
    "conv_sliced_groups": grouped_architectures(),
    "fc": linear_architectures(),
    "fc_lists": linear_architectures(),
}


def is_taken(name: str, network: LoweredNetwork) -> bool:
    program = fast_program(network, Goal(variants=(name,)))
    return any(decision.chosen.variant == name for decision in program.decisions)


@pytest.mark.parametrize("name", NAMES)
@settings(
    max_examples=examples(10),
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_a_kernel_agrees_with_numpy_on_every_bit(
    name: str,
    data: st.DataObject,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
    kernels: Path,
) -> None:
    architecture = data.draw(st.one_of(architectures(), MADE_FOR.get(name, word_architectures())))
    network = lower(random_checkpoint(architecture, seed))
    assume(is_taken(name, network))
    folder = tmp_path_factory.mktemp(name)
    assert_same_on_host(network, "fast", folder, kernels, Goal(variants=(name,)))


@pytest.mark.parametrize("board_name", BOARDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_kernel_agrees_with_numpy_on_every_core(
    name: str, board_name: str, tmp_path: Path
) -> None:
    """Blocks as networks for microcontrollers have them, at -O2 and -O3."""
    goal = Goal("cortex-" + board_name.removeprefix("generic-"), variants=(name,))
    for index, trial in enumerate(trials_of(name, 2, seed=11)):
        architecture = parse(trial.architecture, trial.input)
        network = lower(random_checkpoint(architecture, index))
        folder = tmp_path / str(index)
        folder.mkdir()
        level = ("-O3", "-O2")[index]
        assert_same_in_simulator(network, "fast", folder, board_name, level, goal)


@pytest.mark.parametrize("name", NAMES)
def test_a_kernel_agrees_where_every_threshold_is_at_an_end(
    name: str, tmp_path: Path, kernels: Path
) -> None:
    """Thresholds that every sum reaches, and that only the largest one does."""
    (trial,) = trials_of(name, 1, seed=23)
    network = lower(random_checkpoint(parse(trial.architecture, trial.input), 3))
    hidden = []
    for index, layer in enumerate(network.hidden):
        magnitude = trial.input.max_magnitude if index == 0 else 1
        most = int(layer.weight[0].size) * magnitude
        ends = np.resize([-most, most, 1 - most, 0, 1], len(layer.threshold))
        hidden.append(replace(layer, threshold=ends.astype(np.int32)))
    extremes = replace(network, hidden=tuple(hidden))
    assert_same_on_host(extremes, "fast", tmp_path, kernels, Goal(variants=(name,)))


@pytest.mark.parametrize("board_name", ["generic-m4f", "generic-m0plus"])
@pytest.mark.parametrize(
    ("second", "text", "narrow"),
    [
        ("conv_sliced_narrow", "conv3x3-48 pad1 pool2, conv2x2-36", 3),
        ("conv_sliced_groups", "conv3x3-48 pad1 groups4 pool2, conv2x2-24 groups2", 2),
    ],
)
def test_maps_of_half_words_agree_on_every_core(
    second: str, text: str, narrow: int, board_name: str, tmp_path: Path
) -> None:
    """Written by both convolutions of dense bits, and read at addresses that are no word's."""
    spec = InputSpec(1, 16, 20, "bits")
    network = lower(random_checkpoint(parse(f"conv3x3-16 pool2, {text}, fc-10", spec), 2))
    for first in ("conv_dense", "conv_dense_small"):
        core = "cortex-" + board_name.removeprefix("generic-")
        goal = Goal(core, "ram", variants=(first, second))
        layouts = [step.layout.c_name for step in fast_program(network, goal).steps if step.layout]
        assert layouts[:narrow] == ["EBNN_HALVES", "EBNN_HALVES", "EBNN_DENSE"][:narrow]
        folder = tmp_path / first
        folder.mkdir()
        assert_same_in_simulator(network, "fast", folder, board_name, "-O3", goal)


def test_an_input_of_one_value_serves(tmp_path: Path, kernels: Path) -> None:
    for kind in ("uint8", "bits", "float"):
        network = lower(random_checkpoint(parse("fc-3", InputSpec(1, 1, 1, kind)), 1))
        folder = tmp_path / kind
        folder.mkdir()
        assert_same_on_host(network, "fast", folder, kernels)
