"""Cycles of the fast kernels against what they must take, with flash and RAM beside them.

Every workload is a whole network of random weights, run in the simulator at zero wait states:
cycles and bytes depend on the weights' values by a few percent, and not at all on the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ebnn.architecture import ConvPool, InputSpec, fan_in
from ebnn.benchmarks import DEMO_ARCHITECTURE, Figure, random_network
from ebnn.emitter.program import Program
from ebnn.emulation import REGION, EmulatedModel, Firmware
from ebnn.firmware import build_model
from ebnn.inputs import encode_input, samples_of
from ebnn.lowered import LoweredNetwork
from ebnn.sim.board import load_board
from ebnn.timing_samples import timing_samples

_MNIST = InputSpec(1, 28, 28)
_NETWORK_A = "conv3x3-10 stride2 pool3/2, fc-10"
_BOARDS = {"M4": "generic-m4f", "M0+": "generic-m0plus"}
_IMAGES = 1000  # whose cycles must be alike
_LEVEL_RATIO = 1.25  # between the cycles of the builds with -O2 and -O3


@dataclass(frozen=True)
class Workload:
    """`block` is the block that is measured, by its cycles for each product (MAC); None measures
    the whole inference. `bounds`: by core, what it must take and what is aimed for."""

    name: str
    architecture: str
    input: InputSpec
    bounds: Mapping[str, tuple[float, float]]
    block: int | None = None
    with_reference: bool = False


WORKLOADS = (
    Workload(
        "network A",
        _NETWORK_A,
        _MNIST,
        {"M4": (14_000, 12_000), "M0+": (36_000, 30_000)},
        with_reference=True,
    ),
    Workload(
        "network A, 1-bit input",
        _NETWORK_A,
        replace(_MNIST, kind="bits"),
        {"M4": (9_400, 7_000), "M0+": (16_700, 13_000)},
        with_reference=True,
    ),
    Workload(
        "binary conv3x3 32 -> 32 with pool2, 14x14",
        "conv1x1-32, conv3x3-32 pool2, fc-10",
        InputSpec(1, 16, 16),
        {"M4": (0.19, 0.15), "M0+": (0.33, 0.27)},
        block=1,
    ),
    Workload(
        "binary conv3x3 64 -> 64 with pool2, 14x14",
        "conv1x1-64, conv3x3-64 pool2, fc-10",
        InputSpec(1, 16, 16),
        {"M4": (0.19, 0.15), "M0+": (0.33, 0.27)},
        block=1,
    ),
    Workload(
        "binary conv3x3 64 -> 64 in 4 groups with pool2, 14x14",
        "conv1x1-64, conv3x3-64 groups4 pool2, fc-10",
        InputSpec(1, 16, 16),
        {},
        block=1,
    ),
    Workload(
        "binary conv3x3 32 -> 32 with padding and pool2, 14x14",
        "conv1x1-32, conv3x3-32 pad1 pool2, fc-10",
        InputSpec(1, 14, 14),
        {"M4": (0.19, 0.15), "M0+": (0.33, 0.27)},
        block=1,
    ),
    Workload(
        "first layer u8 conv3x3 -> 16 with pool2, 28x28",
        "conv3x3-16 pool2, fc-10",
        _MNIST,
        {"M4": (0.85, 0.6)},
        block=0,
    ),
    Workload(
        "first layer u8 conv3x3 -> 16 with padding and pool2, 28x28",
        "conv3x3-16 pad1 pool2, fc-10",
        _MNIST,
        {"M4": (0.85, 0.6)},
        block=0,
    ),
    Workload(
        "fc 2048 -> 256",
        "fc-256, fc-10",
        InputSpec(2, 32, 32, "bits"),
        {"M4": (0.16, 0.13)},
        block=0,
    ),
    Workload("fc 1024 -> 10", "fc-10", InputSpec(1, 32, 32, "bits"), {"M4": (0.40, 0.30)}, block=0),
    Workload(
        "demo",
        DEMO_ARCHITECTURE,
        _MNIST,
        {"M4": (600_000, 400_000), "M0+": (1_100_000, 800_000)},
        with_reference=True,
    ),
)


def kernels(folder: Path) -> list[Figure]:
    """Every workload on an M4 and an M0+, built with -O3 and -O2."""
    figures = []
    for index, workload in enumerate(WORKLOADS):
        network = random_network(workload.architecture, workload.input)
        for core, board_name in _BOARDS.items():
            figures += _measure(workload, network, core, board_name, folder / f"{index}-{core}")
    return figures


def _measure(
    workload: Workload, network: LoweredNetwork, core: str, board_name: str, folder: Path
) -> list[Figure]:
    name = f"{workload.name}, {core}"
    runs = {level: _run(workload, network, board_name, folder, level) for level in ("-O3", "-O2")}
    cycles, spread, flash, ram = runs["-O3"]
    must, aim = workload.bounds.get(core, (None, None))
    if workload.block is None:
        figures = [Figure(name, cycles, "cycles", must=must, aim=aim)]
        title = f"{name}: most - least over {_IMAGES:,} images"
        figures.append(Figure(title, spread, "cycles", must=0))
    else:
        products = _products(network, workload.block)
        per_product = round(cycles / products, 4)
        figures = [Figure(name, per_product, "cycles/MAC", must=must, aim=aim)]
    levels = sorted(run[0] for run in runs.values())
    ratio = round(levels[1] / levels[0], 3)
    figures += [
        Figure(f"{name}: -O2 against -O3", ratio, "ratio of cycles", must=_LEVEL_RATIO),
        Figure(f"{name}: flash", flash, "bytes"),
        Figure(f"{name}: RAM", ram, "bytes"),
    ]
    if workload.with_reference:
        cycles, _, flash, ram = _run(workload, network, board_name, folder, "-O3", "reference")
        figures += [
            Figure(f"{name}: reference lowering", cycles, "cycles"),
            Figure(f"{name}: reference lowering, flash", flash, "bytes"),
            Figure(f"{name}: reference lowering, RAM", ram, "bytes"),
        ]
    return figures


def _run(
    workload: Workload,
    network: LoweredNetwork,
    board_name: str,
    folder: Path,
    level: str,
    lowering: str = "fast",
) -> tuple[int, int, int, int]:
    """Most cycles of the images, how many fewer the least take, bytes of flash, bytes of RAM."""
    board = load_board(board_name)
    elf = folder / f"model{level}-{lowering}.elf"
    elf.parent.mkdir(parents=True, exist_ok=True)
    program = build_model(network, board, elf, folder / f"c{level}-{lowering}", lowering, level)
    region = _region(program, workload.block)
    model = EmulatedModel(Firmware(elf, board, None), regions=(REGION, region))
    is_checked = workload.block is None and lowering == "fast" and level == "-O3"
    images = timing_samples(workload.input, _IMAGES if is_checked else 1)
    cycles = []
    for sample in encode_input(samples_of(images, workload.input), workload.input):
        model.infer(sample)
        cycles.append(model.machine.region(region).cycles)
    memory = model.machine.record().to_dict()["memory"]
    return max(cycles), max(cycles) - min(cycles), memory["flash"], memory["ram"]


def _region(program: Program, block: int | None) -> str:
    return REGION if block is None else program.calls[block].region


def _products(network: LoweredNetwork, index: int) -> int:
    """Multiplications with a weight that a block stands for: one for each filter and each place of
    its window, whatever of the pooling they end up in."""
    layer = network.hidden[index] if index < len(network.hidden) else network.head
    block = layer.block
    products = fan_in(block, layer.in_shape) * layer.weight.shape[0]
    if isinstance(block, ConvPool):
        _, height, width = block.conv_shape(layer.in_shape)
        products *= height * width
    return int(products)
