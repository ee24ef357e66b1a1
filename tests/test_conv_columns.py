"""Convolutions with weights in code: exact, as long for any input, and in little RAM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_networks import random_checkpoint, random_samples

from ebnn import reference
from ebnn.activations import decode_trace, trace_bytes
from ebnn.architecture import InputSpec, parse
from ebnn.emitter.fast import fast_program
from ebnn.emitter.layout import input_layout
from ebnn.emitter.variants.column_filters import filters_of, runs_of
from ebnn.emitter.variants.columns import Columns, columns_of
from ebnn.emitter.variants.site import Site
from ebnn.emulation import REGION, EmulatedModel, Firmware
from ebnn.firmware import build_model
from ebnn.inputs import encode_input
from ebnn.lowered import LoweredNetwork, lower
from ebnn.sim.board import load_board

MNIST = InputSpec(1, 28, 28)
NETWORK_A = "conv3x3-10 stride2 pool3/2, fc-10"
SAMPLES = 6


def network(text: str, spec: InputSpec = MNIST, seed: int = 3) -> LoweredNetwork:
    return lower(random_checkpoint(parse(text, spec), seed))


def columns(text: str, spec: InputSpec = MNIST) -> Columns:
    """How the first block is cut, with another convolution behind it."""
    layer = network(f"{text}, fc-2", spec).hidden[0]
    return columns_of(Site(0, layer, input_layout(spec), spec.max_magnitude))


@pytest.mark.parametrize("board_name", ["generic-m4f", "generic-m0plus"])
@pytest.mark.parametrize(
    ("text", "spec"),
    [
        (NETWORK_A, MNIST),
        ("conv3x3-20 pad1 pool2, conv3x3-16, fc-4", InputSpec(1, 12, 14)),
        ("conv3x3-40 pad1 pool3/2, fc-4", InputSpec(3, 30, 9)),  # in bands
        ("conv5x5-18 pool2, fc-4", InputSpec(2, 11, 10, "float")),  # one lane
    ],
)
def test_activations_are_exact_and_cycles_do_not_depend_on_the_input(
    text: str, spec: InputSpec, board_name: str, tmp_path: Path
) -> None:
    model = network(text, spec)
    board = load_board(board_name)
    elf = tmp_path / "model.elf"
    program = build_model(model, board, elf, tmp_path / "c", "fast", "-O2", trace=True)
    assert "columns.h" in program.kernels
    emulated = EmulatedModel(Firmware(elf, board, None))
    trace = emulated.machine.symbol("ebnn_trace_buffer").address
    samples = random_samples(spec, SAMPLES, seed=5)
    expected = reference.run(model, samples, keep_activations=True)
    cycles = set()
    for index, sample in enumerate(encode_input(samples, spec)):
        assert emulated.infer(sample) == expected.predictions[index]
        cycles.add(emulated.machine.region(REGION).cycles)
        kept = emulated.machine.read(trace, trace_bytes(program))
        for block, got in enumerate(decode_trace(model, program, kept)):
            wrong = np.argwhere(got != expected.activations[block][index])
            assert len(wrong) == 0, (index, block, wrong[0].tolist())
    if spec.kind == "uint8":  # quantizing floats takes more or fewer cycles
        assert len(cycles) == 1


def test_network_a_takes_no_more_ram_than_the_reference_and_1_kb(tmp_path: Path) -> None:
    ram = {}
    for lowering in ("fast", "reference"):
        elf = tmp_path / f"{lowering}.elf"
        board = load_board("generic-m4f")
        build_model(network(NETWORK_A), board, elf, tmp_path / lowering, lowering)
        model = EmulatedModel(Firmware(elf, board, None))
        model.infer(np.zeros(784, dtype=np.uint8))
        ram[lowering] = model.machine.record().to_dict()["memory"]["ram"]
    assert ram["fast"] <= ram["reference"] + 1024


def test_pixels_of_few_channels_share_words_where_a_fully_connected_block_follows() -> None:
    assert fast_program(network(NETWORK_A)).steps[0].output_bytes == 4 * 12  # 3 pixels a word
    followed = network("conv3x3-10 stride2 pool3/2, conv1x1-2, fc-2")
    assert fast_program(followed).steps[0].output_bytes == 4 * 36


def test_filters_that_begin_alike_are_neighbours_and_none_is_lost() -> None:
    cut = columns("conv3x3-40")
    layer = network("conv3x3-40, fc-2").hidden[0]
    filters = filters_of(cut, layer)
    groups = runs_of(cut, filters)
    for first, group in zip(range(0, 40, 16), groups, strict=True):
        members = [one for run in group for one in run]
        assert sorted(one.index for one in members) == list(range(40))[first : first + 16]
        for one in members:
            assert set(one.terms) == set(filters[one.index].terms)
        for run in group:
            begins = {(one.terms[0].entry, one.terms[1].entry) for one in run}
            assert len(begins) == 1
    assert sum(len(group) for group in groups) < 40


def test_sums_that_do_not_fit_16_bits_take_a_word_each() -> None:
    spec = InputSpec(1, 16, 16, "float")  # values up to 2047
    assert columns("conv3x3-4", InputSpec(1, 16, 16)).lanes == 2
    assert columns("conv7x7-4", spec).lanes == 1
    layer = network("conv3x3-4, fc-2", spec).hidden[0]
    for threshold, lanes in ((14_343, 2), (14_344, 1), (-14_343, 2), (-14_344, 1)):
        extreme = replace(layer, threshold=np.array([0, 1, threshold, 2], np.int32))
        site = Site(0, extreme, input_layout(spec), spec.max_magnitude)
        assert columns_of(site).lanes == lanes, threshold


def test_tables_are_cut_into_bands_that_fit_the_scratch() -> None:
    assert columns("conv3x3-16 pool2").band == 13  # whole
    tall = columns("conv3x3-16 pool2", InputSpec(1, 200, 28))
    assert tall.band < 99
    assert 4 * tall.scratch_words <= 1024
