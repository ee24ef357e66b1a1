"""Convolutions whose channels are cut into groups: exact in every kernel that serves them, and
cheaper than without. Random ones are in test_every_variant.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from agreement import assert_same_in_simulator, assert_same_on_host
from random_networks import random_checkpoint

from ebnn.architecture import InputSpec, parse
from ebnn.cost_measurement import Trial, run_trial
from ebnn.emitter.fast import fast_program
from ebnn.emitter.goal import Goal
from ebnn.emitter.variants.packed_planes import packed_of
from ebnn.layers import BinaryConv2d
from ebnn.lowered import lower

SERVING = ("conv_bits", "conv_planes", "conv_packed", "conv_sliced_groups")
SPEC = InputSpec(1, 11, 11)
# Groups that lie across words, several to a word and in whole words, and one channel each.
ACROSS = "conv1x1-96, conv3x3-33 groups3 stride2 pad1 pool2/1, fc-3"
SHARED = "conv1x1-16, conv3x3-48 groups2 pool2, conv3x3-24 groups4, fc-3"
WHOLE = "conv1x1-64, conv2x2-128 groups2 pool2, fc-3"
DEPTHWISE = "conv1x1-33, conv3x3-66 groups33 pad1, fc-3"


@pytest.mark.parametrize("board_name", ["generic-m4f", "generic-m0plus"])
@pytest.mark.parametrize("text", [ACROSS, SHARED, WHOLE, DEPTHWISE])
def test_every_kernel_that_serves_groups_is_exact_on_a_core(
    text: str, board_name: str, tmp_path: Path
) -> None:
    network = lower(random_checkpoint(parse(text, SPEC), 3))
    for variant in SERVING:
        folder = tmp_path / variant
        folder.mkdir()
        goal = Goal("cortex-" + board_name.removeprefix("generic-"), variants=(variant,))
        taken = [each.chosen.variant for each in fast_program(network, goal).decisions]
        if variant == "conv_sliced_groups" and text in (ACROSS, DEPTHWISE):
            assert variant not in taken  # groups of 11 and of 2 filters fill no bytes
            continue
        assert variant in taken
        assert_same_in_simulator(network, "fast", folder, board_name, "-O3", goal)


@pytest.mark.parametrize("kind", ["uint8", "float", "bits"])
def test_an_image_in_groups_of_colours_is_exact_in_every_lowering(
    kind: str, tmp_path: Path, kernels: Path
) -> None:
    spec = InputSpec(6, 7, 9, kind)
    network = lower(random_checkpoint(parse("conv3x3-9 groups3 pad1 pool2, fc-4", spec), 5))
    for lowering in ("fast", "reference", "unfused"):
        assert_same_on_host(network, lowering, tmp_path / lowering, kernels)
    assert_same_in_simulator(network, "fast", tmp_path, "generic-m0plus")


def test_four_groups_take_half_the_cycles_and_a_quarter_of_the_weights(tmp_path: Path) -> None:
    cycles, weight_bytes = [], []
    for words in ("", " groups4"):
        text = f"conv1x1-64, conv3x3-64{words} pool2, fc-2"
        trial = Trial(text, InputSpec(1, 12, 12), 1)
        cycles.append(run_trial(trial, "conv_planes", "cortex-m4f", tmp_path).cycles)
        layer = lower(random_checkpoint(parse(text, trial.input), 1)).hidden[1]
        weight_bytes.append(packed_of(layer).words.nbytes)
    assert cycles[1] < 0.5 * cycles[0]
    assert weight_bytes == [64 * 64 * 9 // 8, 64 * 16 * 9 // 8]


def test_a_layer_wants_groups_that_divide_its_channels() -> None:
    assert BinaryConv2d(6, 4, 3, groups=2)(torch.ones(1, 6, 3, 3)).shape == (1, 4, 1, 1)
    for channels in ((5, 4), (4, 5)):
        with pytest.raises(ValueError, match="2 groups"):
            BinaryConv2d(*channels, 3, groups=2)
