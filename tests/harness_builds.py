"""Harness firmware of a small random network, for tests of everything that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from random_networks import random_checkpoint, random_samples

from ebnn import reference
from ebnn.architecture import InputSpec, parse
from ebnn.board.harness_elf import HarnessElf, read_harness
from ebnn.board.protocol import encode_line
from ebnn.firmware import build_harness
from ebnn.harness_sources import HarnessSamples
from ebnn.inputs import encode_input
from ebnn.lowered import LoweredNetwork, lower
from ebnn.sim.board import as_it_leaves_reset
from ebnn.sim.board_uart import load_uart

SMALL = "conv3x3-8 pool2, fc-10"


@dataclass(frozen=True)
class Built:
    """A harness and what it must say."""

    harness: HarnessElf
    expected: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def path(self) -> Path:
        return self.harness.path


def network_of(text: str = SMALL, side: int = 8) -> LoweredNetwork:
    return lower(random_checkpoint(parse(text, InputSpec(1, side, side)), 7))


def samples_for(network: LoweredNetwork, count: int) -> HarnessSamples:
    spec = network.architecture.input
    many = random_samples(spec, 50 * count, seed=3)
    golden = reference.run(network, many).predictions
    # One sample of each class that occurs, as far as they go.
    _, first = np.unique(golden, return_index=True)
    chosen = [*first, *np.setdiff1d(np.arange(len(many)), first)][:count]
    values, golden = many[chosen], golden[chosen]
    labels = np.arange(count, dtype=np.int64) % 10
    return HarnessSamples(encode_input(values, spec), golden, labels)


def build(
    folder: Path,
    board: str,
    output: str = "semihosting",
    count: int = 3,
    network: LoweredNetwork | None = None,
    lowering: str = "fast",
    optimize: str = "-O2",
    ram_bytes: int | None = None,
) -> Built:
    """Build a harness for `board` as it leaves reset, into `folder`."""
    network = network or network_of()
    samples = samples_for(network, count)
    elf = folder / "model.elf"
    build_harness(
        network,
        as_it_leaves_reset(board),
        elf,
        folder / "c",
        samples,
        transport=output,
        uart=load_uart(board),
        lowering=lowering,
        optimize=optimize,
        ram_bytes=ram_bytes,
    )
    return Built(
        read_harness(elf), tuple(map(int, samples.expected)), tuple(map(int, samples.labels))
    )


def report_lines(built: Built, cycles: int = 1000) -> list[bytes]:
    """What a board would send, made up: one intact pass."""
    harness = built.harness
    start = f"ebnn-harness 1 {harness.build_id} {harness.samples} dwt 4 {harness.output} board"
    lines = [start]
    for index, (expected, label) in enumerate(zip(built.expected, built.labels, strict=True)):
        lines.append(f"sample {index} {expected} {expected} {label} {cycles + 4 + index} 400")
    return [encode_line(line) for line in [*lines, f"end {harness.samples}"]]
