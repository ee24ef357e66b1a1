"""Benchmarks: deterministic figures (cycles, bytes) and ratios, each with what it must meet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ebnn.architecture import ConvPool, InputSpec, parse
from ebnn.checkpoint import Checkpoint, CheckpointBlock, weight_shape
from ebnn.emitter import LOWERINGS, arena_bytes
from ebnn.emulation import REGION, EmulatedModel, Firmware
from ebnn.firmware import build_model
from ebnn.inputs import encode_input, input_bytes
from ebnn.lowered import LoweredNetwork, lower
from ebnn.normalization import BatchNorm
from ebnn.sim.board import load_board

DEMO_ARCHITECTURE = "conv3x3-32 pool2, conv3x3-32 pool2, conv3x3-64, fc-10"


@dataclass(frozen=True)
class Figure:
    """One line of a benchmark; `must` and `aim` are bounds, None where there is none.

    `at_least` says that a larger value is better. `machine` is what cycles were counted on: core,
    board and `model` as in a run record.
    """

    name: str
    value: float
    unit: str
    must: float | None = None
    aim: float | None = None
    at_least: bool = False
    machine: dict[str, Any] | None = None

    @property
    def ok(self) -> bool:
        if self.must is None:
            return True
        return self.value >= self.must if self.at_least else self.value <= self.must

    def to_dict(self) -> dict[str, object]:
        facts = ("name", "value", "unit", "must", "aim", "ok")
        found = {name: getattr(self, name) for name in facts}
        return found if self.machine is None else {**found, "machine": self.machine}


def random_network(architecture_text: str, spec: InputSpec, seed: int = 0) -> LoweredNetwork:
    """A network of random weights and thresholds: where either is compiled into code, cycles and
    bytes depend on them a little, and on thresholds that are all alike more than they should."""
    architecture = parse(architecture_text, spec)
    random = np.random.default_rng(seed)
    blocks = []
    for index in range(len(architecture.blocks)):
        shape = weight_shape(architecture, index)
        ones = np.ones(shape[0], dtype=np.float32)
        # As far apart as the means of sums over inputs that are half of the largest on average.
        magnitude = spec.max_magnitude if index == 0 else 1
        spread = 0.5 * magnitude * np.sqrt(np.prod(shape[1:]))
        mean = random.normal(size=shape[0], scale=spread).astype(np.float32)
        norm = BatchNorm(gamma=ones, beta=0 * ones, mean=mean, variance=ones)
        weight = random.choice(np.array([-1, 1], dtype=np.int8), size=shape)
        blocks.append(CheckpointBlock(weight, norm))
    return lower(Checkpoint(architecture, tuple(blocks)))


def lowerings(folder: Path) -> list[Figure]:
    """The demo's network in its three lowerings: bytes of temporaries, and cycles on an M4F.

    A map between blocks takes 32 times less as bits than as floats: the paper's factor.
    """
    spec = InputSpec(1, 28, 28)
    network = random_network(DEMO_ARCHITECTURE, spec)
    board = load_board("generic-m4f")
    image = np.random.default_rng(1).integers(0, 256, (1, *spec.shape), dtype=np.uint8)
    (sample,) = encode_input(image, spec)
    figures = []
    maps: dict[str, list[int]] = {}
    for lowering in LOWERINGS:
        elf = folder / f"{lowering}.elf"
        program = build_model(network, board, elf, folder / lowering, lowering)
        model = EmulatedModel(Firmware(elf, board, None))
        model.infer(sample)
        record = model.machine.record().to_dict()
        memory = record["memory"]
        machine = {key: record[key] for key in ("core", "board", "model")}
        static = arena_bytes(network, program) + input_bytes(spec)
        maps[lowering] = [step.output_bytes for step in program.steps if step.block is not None]
        figures += [
            Figure(f"{lowering}: parameters", program.parameter_bytes, "bytes"),
            Figure(f"{lowering}: temporaries", static + memory["stack"], "bytes"),
            Figure(
                f"{lowering}: inference, M4F",
                model.machine.region(REGION).cycles,
                "cycles",
                machine=machine,
            ),
        ]
    for layer, floats, bits in zip(network.hidden, maps["unfused"], maps["reference"], strict=True):
        assert isinstance(layer.block, ConvPool)
        name = f"map of {layer.block}: unfused / reference"
        figures.append(Figure(name, floats / bits, "ratio", must=32.0, at_least=True))
    return figures
