"""numpy integer reference = the same C in the emulated Cortex-M, every score and activation bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_networks import architectures, random_checkpoint, random_samples

from ebnn import reference
from ebnn.activations import decode_trace, trace_bytes
from ebnn.architecture import Architecture
from ebnn.emulation import EmulatedModel, Firmware
from ebnn.firmware import build_model
from ebnn.inputs import encode_input
from ebnn.lowered import lower
from ebnn.sim.board import load_board

SAMPLES = 2


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # each case is two builds: shrinking would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(architecture=architectures(max_side=9), seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("board_name", ["generic-m4f", "generic-m0plus"])
def test_emulated_c_agrees_with_numpy_on_every_bit(
    architecture: Architecture, seed: int, board_name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    network = lower(random_checkpoint(architecture, seed))
    samples = random_samples(architecture.input, SAMPLES, seed=2)
    expected = reference.run(network, samples, keep_activations=True)
    board = load_board(board_name)
    for lowering in ("fast", "reference"):
        folder: Path = tmp_path_factory.mktemp(lowering)
        elf = folder / "model.elf"
        program = build_model(network, board, elf, folder / "c", lowering, "-O1", trace=True)
        model = EmulatedModel(Firmware(elf, board, None))
        # A network of a head alone traces nothing, and the linker drops the buffer.
        trace = model.machine.symbol("ebnn_trace_buffer").address if network.hidden else 0
        traced = trace_bytes(program)
        scores = model.machine.symbol("ebnn_scores")
        for index, sample in enumerate(encode_input(samples, architecture.input)):
            predicted = model.infer(sample, scores.address)
            got = np.frombuffer(model.machine.read(scores.address, scores.size_bytes), "<i4")
            maps = decode_trace(
                network, program, model.machine.read(trace, traced) if traced else b""
            )
            for block, activations in enumerate(maps):
                wrong = np.argwhere(activations != expected.activations[block][index])
                assert len(wrong) == 0, (lowering, str(architecture), block, wrong[0].tolist())
            assert got.tolist() == expected.scores[index].tolist(), (lowering, str(architecture))
            assert predicted == expected.predictions[index]
