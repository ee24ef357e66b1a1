"""The fast kernels take the same cycles whatever the input: latency is one figure, not a range."""

from __future__ import annotations

from pathlib import Path

import pytest
from random_networks import random_checkpoint

from ebnn.architecture import InputSpec, parse
from ebnn.emulation import REGION, EmulatedModel, Firmware
from ebnn.firmware import build_model
from ebnn.inputs import encode_input, samples_of
from ebnn.lowered import lower
from ebnn.sim.board import load_board
from ebnn.timing_samples import timing_samples

SPEC = InputSpec(1, 16, 16)


@pytest.mark.parametrize("board_name", ["generic-m4f", "generic-m0plus"])
@pytest.mark.parametrize(
    "architecture",
    [
        "conv3x3-20 pool2, conv3x3-32, conv2x2-40 pool2, fc-40, fc-10",
        "conv5x5-12 stride2 pad1, conv3x3-33 pad1, fc-7",
        "fc-10",
    ],
)
def test_cycles_do_not_depend_on_the_input(
    tmp_path: Path, architecture: str, board_name: str
) -> None:
    network = lower(random_checkpoint(parse(architecture, SPEC), 3))
    board = load_board(board_name)
    elf = tmp_path / "model.elf"
    build_model(network, board, elf, tmp_path / "c")
    model = EmulatedModel(Firmware(elf, board, None))
    scores = model.machine.symbol("ebnn_scores").address
    cycles = set()
    for sample in encode_input(samples_of(timing_samples(SPEC, 40), SPEC), SPEC):
        model.infer(sample, scores)
        cycles.add(model.machine.region(REGION).cycles)
    assert len(cycles) == 1
