"""What a network takes on a board, and whether that is within the limits: built and run for real.

The weights are random: memory and cycles do not depend on the trained ones, but for the little that
compiling them into code makes (`ebnn.benchmarks.random_network`). Nothing here needs PyTorch.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ebnn.architecture import Architecture
from ebnn.benchmarks import random_network
from ebnn.emitter import arena_bytes, program_of
from ebnn.emitter.chooser import NothingFits
from ebnn.emitter.goal import Goal
from ebnn.emulation import REGION, EmulatedModel, Firmware
from ebnn.firmware import build_model
from ebnn.inputs import encode_input, input_bytes
from ebnn.lowered import LoweredNetwork
from ebnn.sim.board import Board
from ebnn.sim.faults import RamExceeded
from ebnn.sim.memory_use import flash_bytes
from ebnn.toolchain.firmware import BoardTooSmall

_BEYOND = 1e9  # more than any excess that is counted: another objective tells by how much


@dataclass(frozen=True)
class Footprint:
    """Bytes and cycles of one inference, lowered for `objective` (`ebnn.emitter.goal`).

    `cycles` are with the board's flash wait states. `paper_bytes`: parameters and temporaries.
    `host_seconds`, of one inference in the emulator, only help to plan.
    """

    objective: str
    ram_bytes: int
    flash_bytes: int
    paper_bytes: int
    cycles: int
    latency_seconds: float
    host_seconds: float


@dataclass(frozen=True)
class Limits:
    """What a network may take; None where it does not matter."""

    ram_bytes: int | None = None
    flash_bytes: int | None = None
    latency_seconds: float | None = None
    paper_bytes: int | None = None

    def excess(self, taken: Footprint) -> dict[str, float]:
        """By limit's name, how much more than it is taken: 0.1 is a tenth; 0 or less fits."""
        return {
            name: getattr(taken, name) / limit - 1
            for name, limit in asdict(self).items()
            if limit is not None
        }


@dataclass(frozen=True)
class Assessment:
    """`footprint` is None where not even that could be measured; `reason` says why not.

    `excess` as `Limits.excess` gives it; all of it is 0 or less where the network `fits`.
    """

    footprint: Footprint | None
    excess: dict[str, float]
    reason: str | None = None

    @property
    def fits(self) -> bool:
        return self.footprint is not None and self.over == 0

    @property
    def over(self) -> float:
        """The sum of what is more than allowed."""
        return sum(max(0.0, value) for value in self.excess.values())


def assess(
    architecture: Architecture, board: Board, limits: Limits, always_run: bool = False
) -> Assessment:
    """Lower, compile and run `architecture`; the first objective of the lowering that fits is kept,
    or else the one that comes closest.

    Where constants, maps and input alone are more than allowed, which lowering tells, nothing is
    compiled; unless `always_run`.
    """
    network = random_network(str(architecture), architecture.input)
    best: Assessment | None = None
    for goal in goals(board, limits):
        found = _assess(network, board, limits, goal, always_run)
        if found.fits:
            return found
        if best is None or found.over < best.over:
            best = found
        if {name for name, value in found.excess.items() if value > 0} == {"latency_seconds"}:
            break  # no other objective takes fewer cycles
    assert best is not None
    return best


def goals(board: Board, limits: Limits) -> Iterator[Goal]:
    """The ways to lower a network for `board`, the preferred one first: the fewest cycles within
    the paper's figure, then the least flash, which has the smallest constants, and the least RAM
    where that is limited."""
    yield Goal(board.core, "cycles", paper_bytes=limits.paper_bytes)
    yield Goal(board.core, "flash")
    if limits.ram_bytes is not None:
        yield Goal(board.core, "ram")


def _too_large(network: LoweredNetwork, limits: Limits, goal: Goal) -> Assessment | None:
    """Where lowering alone tells; the stack and the code come on top of what is counted here."""
    program = program_of(network, "fast", goal)
    temporaries = arena_bytes(network, program) + input_bytes(network.architecture.input)
    constants = program.parameter_bytes
    least = {
        "ram_bytes": (limits.ram_bytes, temporaries),
        "flash_bytes": (limits.flash_bytes, constants),
        "paper_bytes": (limits.paper_bytes, constants + temporaries),
    }
    excess = {
        name: taken / limit - 1
        for name, (limit, taken) in least.items()
        if limit is not None and taken > limit
    }
    if not excess:
        return None
    texts = [
        f"{_LIMIT_NAMES[name]}: at least {limit_text(name, least[name][1])}" for name in excess
    ]
    return Assessment(None, excess, ", ".join(texts))


def _assess(
    network: LoweredNetwork, board: Board, limits: Limits, goal: Goal, always_run: bool
) -> Assessment:
    with tempfile.TemporaryDirectory(prefix="ebnn-footprint-") as folder:
        try:
            if not always_run and (found := _too_large(network, limits, goal)):
                return found
            taken = _measure(network, board, goal, Path(folder))
        except BoardTooSmall as error:
            memory = board.flash if error.memory == "flash" else board.ram
            share = error.over_by_bytes / memory.size_bytes
            return Assessment(None, {f"{error.memory}_bytes": share}, str(error))
        except RamExceeded as error:
            return Assessment(None, {"ram_bytes": error.over_by / board.ram.size_bytes}, str(error))
        except NothingFits as error:
            return Assessment(None, {"paper_bytes": _BEYOND}, str(error))
    excess = limits.excess(taken)
    over = [name for name, value in excess.items() if value > 0]
    return Assessment(taken, excess, describe_excess(taken, limits) if over else None)


def _measure(network: LoweredNetwork, board: Board, goal: Goal, folder: Path) -> Footprint:
    elf, spec = folder / "model.elf", network.architecture.input
    program = build_model(network, board, elf, folder / "c", goal=goal)
    samples = np.random.default_rng(0).integers(0, 256, (1, *spec.shape), dtype=np.uint8)
    encoded = encode_input(samples, spec)
    clocked = EmulatedModel(Firmware(elf, board, None))
    clocked.infer(encoded[0])
    # All samples of a data set run without wait states: that is what takes time later.
    unclocked = EmulatedModel(Firmware(elf, board.without_wait_states(), None))
    unclocked.infer(encoded[0])  # decodes the code
    began = time.perf_counter()
    unclocked.infer(encoded[0])
    host_seconds = time.perf_counter() - began
    machine = clocked.machine
    use, cycles = machine.ram_use(), machine.region(REGION).cycles
    return Footprint(
        objective=goal.objective,
        ram_bytes=use.total,
        flash_bytes=flash_bytes(machine.elf, board),
        paper_bytes=program.parameter_bytes
        + arena_bytes(network, program)
        + input_bytes(spec)
        + use.stack,
        cycles=cycles,
        latency_seconds=cycles / board.clock_hz,
        host_seconds=host_seconds,
    )


_LIMIT_NAMES = {
    "ram_bytes": "--ram",
    "flash_bytes": "--flash",
    "latency_seconds": "--latency",
    "paper_bytes": "--paper-memory",
}


def limit_text(name: str, value: float) -> str:
    """`200 bytes` of memory, or `20 ms` of latency."""
    return f"{1e3 * value:g} ms" if name == "latency_seconds" else f"{round(value):,} bytes"


def describe_excess(taken: Footprint, limits: Limits) -> str:
    """Which limits do not hold, and what is taken of them."""
    return ", ".join(
        f"{_LIMIT_NAMES[name]}: {limit_text(name, getattr(taken, name))}"
        f" instead of {limit_text(name, limit)}"
        for name, limit in asdict(limits).items()
        if limit is not None and getattr(taken, name) > limit
    )


def facts(found: Assessment) -> dict[str, Any]:
    """As JSON; `from_facts` reads it back."""
    return asdict(found)


def from_facts(found: dict[str, Any]) -> Assessment:
    taken = found["footprint"]
    return Assessment(
        None if taken is None else Footprint(**taken), found["excess"], found["reason"]
    )
