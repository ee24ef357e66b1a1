"""conv_planes.c: exact on a Cortex-M, and as long for one input as for any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from random_networks import random_checkpoint, random_samples

from ebnn import reference
from ebnn.architecture import InputSpec, parse
from ebnn.c_kernels import KERNEL_DIR
from ebnn.emitter.variants.lanes import COUNT_PLANES, lanes_of
from ebnn.emitter.variants.planes import lists_of
from ebnn.emulation import EmulatedModel, Firmware
from ebnn.firmware import build_model
from ebnn.inputs import encode_input
from ebnn.lowered import HiddenLayer, LoweredNetwork, lower
from ebnn.sim.board import load_board

SPEC = InputSpec(1, 14, 14)
DEMO_LIKE = "conv3x3-32, conv3x3-32 pool2, fc-4"


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
def test_cycles_do_not_depend_on_the_input_and_scores_are_exact(
    board_name: str, tmp_path: Path
) -> None:
    model = network(DEMO_LIKE)
    board = load_board(board_name)
    elf = tmp_path / "model.elf"
    build_model(model, board, elf, tmp_path / "c", "fast", "-O2")
    machine = EmulatedModel(Firmware(elf, board, None)).machine
    samples = images(4)
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
    assert len(lists_of(layer).taps) < 0.8 * alone


def test_windows_of_more_products_than_a_counter_holds_are_left_to_other_kernels() -> None:
    spec = InputSpec(1, 8, 8)
    assert lanes_of(block("conv1x1-227, conv3x3-16, fc-4", spec)) is not None  # 2043 products
    assert lanes_of(block("conv1x1-228, conv3x3-16, fc-4", spec)) is None
    assert f"EBNN_COUNT_PLANES = {COUNT_PLANES}," in (KERNEL_DIR / "ebnn_kernels.h").read_text()
