"""Convolutions of dense bits: exact on a Cortex-M, constant in time, small."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_networks import random_checkpoint, random_samples

from ebnn import reference
from ebnn.architecture import InputSpec, parse
from ebnn.emitter.fast import fast_program
from ebnn.emitter.goal import Goal
from ebnn.emitter.lanes.circuit import Circuit, Signal, reaches
from ebnn.emitter.lanes.plan import Plan, plan_of
from ebnn.emulation import EmulatedModel, Firmware
from ebnn.firmware import build_model
from ebnn.inputs import encode_input
from ebnn.lowered import LoweredNetwork, lower
from ebnn.sim.board import load_board

NETWORK_A = "conv3x3-10 stride2 pool3/2, fc-10"
MNIST = InputSpec(1, 28, 28, "bits")


def network(text: str, spec: InputSpec = MNIST, seed: int = 3) -> LoweredNetwork:
    return lower(random_checkpoint(parse(text, spec), seed))


def plan(text: str, spec: InputSpec = MNIST) -> Plan:
    found = plan_of("block0", network(text, spec).hidden[0], packed=True, scratch_words_max=192)
    assert found is not None
    return found


@pytest.mark.parametrize("board_name", ["generic-m4f", "generic-m0plus"])
@pytest.mark.parametrize(
    ("text", "spec"),
    [
        (NETWORK_A, MNIST),
        ("conv3x3-33 pad1 pool2, conv1x1-3, fc-4", InputSpec(2, 11, 32, "bits")),
        ("conv5x2-9 stride3 pool2/3, fc-5, fc-4", InputSpec(3, 20, 40, "bits")),
    ],
)
def test_cycles_do_not_depend_on_the_input_and_scores_are_exact(
    text: str, spec: InputSpec, board_name: str, tmp_path: Path
) -> None:
    model = network(text, spec)
    assert fast_program(model).steps[0].region == "block0_conv"
    board = load_board(board_name)
    elf = tmp_path / "model.elf"
    build_model(model, board, elf, tmp_path / "c", "fast", "-O2")
    emulated = EmulatedModel(Firmware(elf, board, None))
    samples = random_samples(spec, 6, seed=5)
    samples[1], samples[2] = 0, 255
    expected = reference.run(model, samples)
    scores = emulated.machine.symbol("ebnn_scores")
    cycles = set()
    for index, sample in enumerate(encode_input(samples, spec)):
        emulated.infer(sample, scores.address)
        cycles.add(emulated.machine.region("ebnn_infer").cycles)
        got = np.frombuffer(emulated.machine.read(scores.address, scores.size_bytes), "<i4")
        assert got.tolist() == expected.scores[index].tolist(), index
    assert len(cycles) == 1


@pytest.mark.parametrize("board_name", ["generic-m4f", "generic-m0plus"])
def test_ram_is_within_a_kilobyte_of_the_reference(board_name: str, tmp_path: Path) -> None:
    board = load_board(board_name)
    ram = {}
    for lowering in ("fast", "reference"):
        elf = tmp_path / f"{lowering}.elf"
        build_model(network(NETWORK_A), board, elf, tmp_path / lowering, lowering)
        model = EmulatedModel(Firmware(elf, board, None))
        model.infer(encode_input(random_samples(MNIST, 1, seed=1), MNIST)[0])
        ram[lowering] = model.machine.record().to_dict()["memory"]["ram"]
    assert ram["fast"] <= ram["reference"] + 1024


@pytest.mark.parametrize("count", range(1, 8))
def test_a_circuit_finds_the_lanes_that_reach_a_threshold(count: int) -> None:
    """Every input of `count` signals, some of them inverted, some worth 2, is a lane."""
    chance = random.Random(count)
    lanes = 1 << count
    inputs = {
        f"i{i}": sum(1 << lane for lane in range(lanes) if lane >> i & 1) for i in range(count)
    }
    for least in range(-1, 2 * count + 2):
        for worth_two in (0, count // 2):
            signals = [Signal(name, chance.random() < 0.5) for name in inputs]
            terms = [signals[worth_two:], signals[:worth_two]]
            circuit = Circuit()
            result = reaches(circuit, terms, least, waiting=chance.choice([2, 4]))
            if isinstance(result, bool):
                result = Signal("0", result)
            values = dict(inputs)
            for line in circuit.lines(result):
                name, expression = line.removeprefix("const uint32_t ").rstrip(";").split(" = ")
                values[name] = eval(expression, {}, values) & (1 << lanes) - 1
            got = eval(result.text, {}, values)
            for lane in range(lanes):
                total = sum(
                    (1 + (weight == 1)) * ((values[s.text] >> lane & 1) != s.inverted)
                    for weight, level in enumerate(terms)
                    for s in level
                )
                assert ((got >> lane & 1) != result.inverted) == (total >= least), (least, lane)


def test_all_lanes_of_a_word_are_used_where_the_map_allows() -> None:
    """Network A's 13 x 13 places before pooling: two rows between each other, 7 words."""
    lanes = plan(NETWORK_A).lanes
    assert (lanes.slots, lanes.interleaved, lanes.conv_words(lanes.band_rows)) == (2, 2, 7)
    beside = plan("conv3x3-4, fc-2", InputSpec(1, 10, 10, "bits")).lanes
    assert (beside.slots, beside.interleaved, beside.band_rows) == (3, 1, 3)
    assert len(plan("conv3x3-4, fc-2", InputSpec(1, 5, 64, "bits")).lanes.strips) == 3


@pytest.mark.parametrize(("planes", "scratch_bytes"), [(1, 80), (2, 96), (3, 112)])
def test_little_scratch_does_where_the_papers_figure_is_bounded(
    planes: int, scratch_bytes: int
) -> None:
    """And is not paid for with the many cycles of a window at a time."""
    model = network("conv3x3-32 pool2, conv3x3-32 pool2, fc-10", InputSpec(planes, 28, 28, "bits"))
    step = fast_program(model, Goal(paper_bytes=4096)).steps[0]
    assert step.region == "block0_conv"
    assert step.scratch_bytes == scratch_bytes


def test_packed_maps_have_few_words() -> None:
    program = fast_program(network(NETWORK_A))
    assert program.steps[0].output_bytes == 4 * 12  # 360 bits


def test_large_kernels_are_read_tap_by_tap_and_huge_layers_left_to_other_kernels() -> None:
    spec = InputSpec(3, 12, 12, "bits")
    assert plan("conv3x3-4, fc-2", spec).sums.tabulated
    assert not plan("conv7x7-4, fc-2", spec).sums.tabulated
    assert fast_program(network("conv7x7-4, fc-2", spec)).steps[0].region == "block0_conv"
    huge = fast_program(network("conv7x7-64, fc-2", spec))
    assert huge.steps[0].region == "ebnn_conv_bits"


def test_windows_at_the_edge_count_only_what_is_inside() -> None:
    """A weight of -1 outside the map must not count, although the planes have zeros there."""
    layer = network("conv3x3-2 pad1, fc-2", InputSpec(1, 4, 4, "bits")).hidden[0]
    layer = replace(layer, weight=-np.ones_like(layer.weight), threshold=np.array([0, 9], np.int32))
    found = plan_of("block0", layer, packed=True, scratch_words_max=192)
    assert found is not None
    # At a corner 4 products are inside: 2 of them, and the 5 outside; in the middle 5 of 9.
    assert found.borders.least.tolist() == [7, 10]
