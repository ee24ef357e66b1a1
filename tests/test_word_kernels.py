"""Binary convolutions of maps in words: exact on a Cortex-M, and as long for one input as for any
other, by each of the kernels that serve them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from random_networks import random_checkpoint, random_samples

from ebnn import reference
from ebnn.architecture import InputSpec, parse
from ebnn.c_kernels import KERNEL_DIR
from ebnn.emitter.fast import fast_program
from ebnn.emitter.goal import Goal
from ebnn.emitter.variants.edges import edges_of
from ebnn.emitter.variants.lanes import COUNT_PLANES, lanes_of
from ebnn.emitter.variants.packed_planes import packed_of
from ebnn.emitter.variants.planes import BLOCK_PLANES, lists_of
from ebnn.emulation import EmulatedModel, Firmware
from ebnn.firmware import build_model
from ebnn.inputs import encode_input
from ebnn.lowered import HiddenLayer, LoweredNetwork, lower
from ebnn.sim.board import load_board

SPEC = InputSpec(1, 14, 14)
DEMO_LIKE = "conv3x3-32, conv3x3-32 pool2, fc-4"
# Strides, padding on which lanes of several classes meet, and planes of two blocks.
OTHERS = "conv1x1-80, conv3x3-33 stride2 pad1, conv5x4-40 pad2 pool2/1, fc-4"


def network(text: str, spec: InputSpec = SPEC, seed: int = 3) -> LoweredNetwork:
    return lower(random_checkpoint(parse(text, spec), seed))


def images(count: int) -> NDArray[np.generic]:
    """Random images, and flat, striped and chequered ones."""
    samples = random_samples(SPEC, count + 4, seed=5)
    row, column = np.mgrid[: SPEC.height, : SPEC.width]
    for index, image in enumerate(
        (0 * row, 0 * row + 255, row % 2 * 255, (row + column) % 2 * 255)
    ):
        samples[index, 0] = image
    return samples


@pytest.mark.parametrize("board_name", ["generic-m4f", "generic-m0plus"])
@pytest.mark.parametrize("architecture", [DEMO_LIKE, OTHERS])
@pytest.mark.parametrize(
    ("variant", "flags"),
    [
        ("conv_planes", []),
        ("conv_planes", ["-DEBNN_PORTABLE"]),  # the C that the assembly stands for
        ("conv_packed", []),
        ("conv_packed", ["-DEBNN_PORTABLE"]),
        ("conv_sliced", []),
        ("conv_tables", []),
    ],
)
def test_cycles_do_not_depend_on_the_input_and_scores_are_exact(
    variant: str, flags: list[str], architecture: str, board_name: str, tmp_path: Path
) -> None:
    model, board = network(architecture), load_board(board_name)
    elf = tmp_path / "model.elf"
    goal = Goal(board.core, variants=(variant,))
    program = build_model(model, board, elf, tmp_path / "c", "fast", "-O2", flags=flags, goal=goal)
    assert f"{variant}.c" in program.kernels
    machine = EmulatedModel(Firmware(elf, board, None)).machine
    samples = images(2)
    expected = reference.run(model, samples)
    scores = machine.symbol("ebnn_scores")
    cycles = set()
    for index, sample in enumerate(encode_input(samples, SPEC)):
        machine.write(machine.symbol("ebnn_input").address, sample.tobytes())
        before = machine.cycles
        machine.call("ebnn_infer", machine.symbol("ebnn_input").address, scores.address)
        cycles.add(machine.cycles - before)
        got = np.frombuffer(machine.read(scores.address, scores.size_bytes), "<i4")
        assert got.tolist() == expected.scores[index].tolist(), index
    assert len(cycles) == 1


def block(text: str, spec: InputSpec = SPEC) -> HiddenLayer:
    """The second block of a network, with the first one in front of it."""
    return network(text, spec).hidden[1]


def test_filters_that_agree_are_counted_together() -> None:
    layer = block(DEMO_LIKE)
    alone = int((layer.weight > 0).sum())
    assert 4 * lists_of(layer).quads < 0.8 * alone


def test_packed_weights_take_a_bit_each_whatever_the_channels() -> None:
    layer = block("conv1x1-48, conv3x3-64, fc-4")
    assert packed_of(layer).words.nbytes == layer.weight.size // 8


def test_lanes_outside_the_map_are_shared_by_two_rows() -> None:
    unpadded = lanes_of(block("conv1x1-32, conv3x3-32, fc-4"))
    padded = lanes_of(block("conv1x1-32, conv3x3-32 pad1, fc-4"))
    assert unpadded is not None and padded is not None
    assert (unpadded.pitch, len(unpadded.spans)) == (14, 6)  # 12 rows of 12, two a span
    assert (padded.pitch, len(padded.spans)) == (15, 7)  # 14 rows of 14, two a span


def test_positions_that_hang_over_the_map_alike_share_a_margin() -> None:
    edges = edges_of(block("conv1x1-32, conv5x5-32 pad2, fc-4"))
    assert (edges.row_classes, edges.column_classes) == (5, 5)
    assert [edges.row_class(row) for row in (0, 1, 2, 7, 11, 12, 13)] == [0, 1, 2, 2, 2, 3, 4]


def test_windows_of_more_products_than_a_counter_holds_are_left_to_other_kernels() -> None:
    spec = InputSpec(1, 8, 8)
    assert lanes_of(block("conv1x1-227, conv3x3-16, fc-4", spec)) is not None  # 2043 products
    assert lanes_of(block("conv1x1-228, conv3x3-16, fc-4", spec)) is None
    large = network("conv1x1-228, conv3x3-16, fc-4", spec)
    goal = Goal(variants=("conv_planes",))
    assert "conv_planes.c" not in fast_program(large, goal).kernels
    header = (KERNEL_DIR / "ebnn_kernels.h").read_text()
    assert f"EBNN_COUNT_PLANES = {COUNT_PLANES}," in header
    assert f"EBNN_BLOCK_PLANES = {BLOCK_PLANES} " in header
