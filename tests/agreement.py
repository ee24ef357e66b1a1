"""Held against the numpy reference: the emitted C on this machine and in the simulator, every
prediction, score and activation bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from random_networks import random_samples

from ebnn import reference
from ebnn.activations import decode_trace, trace_bytes
from ebnn.emitter import emit
from ebnn.emitter.goal import Goal
from ebnn.emitter.program import Program
from ebnn.emulation import EmulatedModel, Firmware
from ebnn.firmware import build_model
from ebnn.host import build_host_model
from ebnn.inputs import encode_input
from ebnn.lowered import LoweredNetwork
from ebnn.sim.board import load_board


def assert_same_on_host(
    network: LoweredNetwork,
    lowering: str,
    folder: Path,
    kernels: Path,
    goal: Goal | None = None,
    samples: int | NDArray[np.generic] = 4,
) -> None:
    """`samples`: these, or how many random ones. `kernels`: the fixture of that name."""
    inputs = samples
    if isinstance(inputs, int):
        inputs = random_samples(network.architecture.input, inputs, seed=1)
    expected = reference.run(network, inputs, keep_activations=True)
    program = emit(network, folder, lowering, goal)
    model = build_host_model(network, program, folder, folder / "model", True, [kernels])
    run = model.run(encode_input(inputs, network.architecture.input))
    for index, trace in enumerate(run.traces):
        _assert_maps(network, program, trace.tobytes(), expected, index)
    assert run.scores.tolist() == expected.scores.tolist(), lowering
    assert run.predictions.tolist() == expected.predictions.tolist(), lowering


def assert_same_in_simulator(
    network: LoweredNetwork,
    lowering: str,
    folder: Path,
    board_name: str,
    level: str = "-O1",
    goal: Goal | None = None,
    samples: int = 2,
) -> None:
    """And in the same cycles for each sample, where the lowering is `fast`."""
    inputs = random_samples(network.architecture.input, samples, seed=2)
    expected = reference.run(network, inputs, keep_activations=True)
    board = load_board(board_name)
    elf = folder / "model.elf"
    program = build_model(network, board, elf, folder / "c", lowering, level, trace=True, goal=goal)
    model = EmulatedModel(Firmware(elf, board, None))
    # A network of a head alone traces nothing, and the linker drops the buffer.
    trace = model.machine.symbol("ebnn_trace_buffer").address if network.hidden else 0
    traced = trace_bytes(program)
    scores = model.machine.symbol("ebnn_scores")
    cycles = set()
    for index, sample in enumerate(encode_input(inputs, network.architecture.input)):
        predicted = model.infer(sample, scores.address)
        cycles.add(model.machine.region("ebnn_infer").cycles)
        got = np.frombuffer(model.machine.read(scores.address, scores.size_bytes), "<i4")
        maps = model.machine.read(trace, traced) if traced else b""
        _assert_maps(network, program, maps, expected, index)
        assert got.tolist() == expected.scores[index].tolist(), (lowering, network.architecture)
        assert predicted == expected.predictions[index]
    if lowering == "fast" and network.architecture.input.kind != "float":
        assert len(cycles) == 1, (cycles, str(network.architecture))


def _assert_maps(
    network: LoweredNetwork,
    program: Program,
    trace: bytes,
    expected: reference.Evaluation,
    index: int,
) -> None:
    maps: tuple[NDArray[np.int8], ...] = decode_trace(network, program, trace)
    kernels = [call.region for call in program.calls]
    for block, got in enumerate(maps):
        wrong = np.argwhere(got != expected.activations[block][index])
        assert len(wrong) == 0, (
            f"{program.lowering}: sample {index}, block {block} ({kernels[block]}), first of"
            f" {len(wrong)} wrong bits at (channel, row, column) {tuple(wrong[0])} of"
            f" {network.architecture}"
        )
