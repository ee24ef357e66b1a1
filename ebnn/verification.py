"""One network, one data set, every stage: do they all say the same, within the memory promised?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebnn import reference
from ebnn.emitter import arena_bytes, emit
from ebnn.emitter.goal import Goal
from ebnn.emitter.program import Program
from ebnn.emulation import REGION, EmulatedChunk, Firmware, run_samples
from ebnn.firmware import build_model
from ebnn.host import build_host_model
from ebnn.inputs import encode_input, input_bytes, samples_of
from ebnn.lowered import LoweredNetwork
from ebnn.sim.board import Board
from ebnn.sim.core import core_named
from ebnn.workers import WorkerPool, worker_pool

CLOCKED_SAMPLES = 20
"""Samples that run with the board's flash wait states."""


@dataclass(frozen=True)
class Stage:
    """Predictions int64 (N,) of one stage, held against the labels and the numpy reference."""

    name: str
    predictions: NDArray[np.int64]
    correct: int
    agreeing: int

    @property
    def total(self) -> int:
        return len(self.predictions)


@dataclass(frozen=True)
class EmulatedStage:
    """A stage that ran in the emulator, with its run record.

    The record is of all samples at zero wait states; its `at_clock` is of the first
    `CLOCKED_SAMPLES` with those of the board's flash, null where it has none.
    """

    stage: Stage
    board: Board
    record: dict[str, Any]

    @property
    def latency_seconds(self) -> float:
        """The slowest sample at the board's clock and wait states."""
        at_clock = self.record["at_clock"]
        region = self.record["regions"][REGION]
        cycles = (at_clock or region)["cycles"]["max"]
        return float(cycles / self.board.clock_hz)

    @property
    def paper_bytes(self) -> int:
        """The paper's figure: parameters and temporaries."""
        paper = self.record["paper"]
        return int(paper["parameters"] + paper["temporaries"])


@dataclass(frozen=True)
class EmulatedRun:
    """`predictions` and `cycles` at zero wait states int64 (N,), and the record as above."""

    predictions: NDArray[np.int64]
    cycles: NDArray[np.int64]
    record: dict[str, Any]


@dataclass(frozen=True)
class Verification:
    """What `verify` found; `stages` start with the numpy reference."""

    stages: tuple[Stage, ...]
    emulated: tuple[EmulatedStage, ...]

    @property
    def exact(self) -> bool:
        """Whether every stage agrees with the reference on every sample."""
        return all(stage.agreeing == stage.total for stage in self.stages)


def _emulated_name(board: Board) -> str:
    return _core_title(board.core) + ", emulated"


def _core_title(core: str) -> str:
    return core_named(core).title.removeprefix("Cortex-")


def stage(
    name: str,
    predictions: NDArray[np.int64],
    labels: NDArray[np.integer[Any]],
    golden: NDArray[np.int64],
) -> Stage:
    """Count `predictions` (N,) against the labels and the reference's predictions."""
    return Stage(
        name, predictions, int(np.sum(predictions == labels)), int(np.sum(predictions == golden))
    )


def verify(
    network: LoweredNetwork,
    x: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    boards: Sequence[Board],
    folder: Path,
    ram_bytes: int | None = None,
    lowering: str = "fast",
    optimize: str = "-O3",
    goal: Goal | None = None,
    on_progress: Callable[[str, int], None] = lambda stage, samples: None,
    pool: WorkerPool | None = None,
) -> Verification:
    """Run a data set's samples `x` (N, channels, height, width) through every stage below training.

    Emits and builds into `folder`, with kernels chosen for `goal` on each board's core.
    `on_progress` is called with a stage's name and the number of samples it has just finished. The
    emulator runs in `pool`, or else in as many processes as this machine has cores. Raises what the
    toolchain and the emulator raise: a missing compiler, a budget that does not hold, a fault.
    """
    spec = network.architecture.input
    values = samples_of(x, spec)
    golden = reference.run(network, values).predictions
    stages = [stage("numpy", golden, labels, golden)]
    on_progress(stages[0].name, len(x))
    samples = encode_input(values, spec)
    emitted = {}
    for core in {board.core: None for board in boards}:
        of_core = replace(goal or Goal(), core=core)
        sources = folder / f"{lowering}-{core}-c"
        emitted[core] = _Emitted(of_core, emit(network, sources, lowering, of_core), sources)
    for name, one in _distinct(emitted).items():
        model = build_host_model(
            network, one.program, one.sources, folder / f"{one.goal.core}-host"
        )
        stages.append(stage(name, model.run(samples).predictions, labels, golden))
        on_progress(name, len(x))
    emulated = []
    with ExitStack() as stack:
        if pool is None:
            workers = min(os.cpu_count() or 1, len(boards) * len(x))
            pool = stack.enter_context(worker_pool(workers))
        for board in boards:
            elf = folder / f"{board.name}.elf"
            one = emitted[board.core]
            program = build_model(
                network, board, elf, one.sources, lowering, optimize, ram_bytes, goal=one.goal
            )
            name = _emulated_name(board)
            run = emulate(
                pool, Firmware(elf, board, ram_bytes), samples, partial(on_progress, name)
            )
            record = run.record
            stages.append(stage(name, run.predictions, labels, golden))
            record["paper"] = {
                "parameters": program.parameter_bytes,
                "temporaries": arena_bytes(network, program)
                + input_bytes(spec)
                + record["memory"]["stack"],
            }
            record["inputs"] = {
                "sha256": hashlib.sha256(samples.tobytes()).hexdigest(),
                "samples": len(samples),
            }
            record["predictions"] = [int(label) for label in run.predictions]
            record["accuracy"] = {
                "correct": stages[-1].correct,
                "total": stages[-1].total,
                "agreement": stages[-1].agreeing,
            }
            emulated.append(EmulatedStage(stages[-1], board, record))
    return Verification(tuple(stages), tuple(emulated))


@dataclass(frozen=True)
class _Emitted:
    """A network's C with the kernels chosen for a core, in the folder `sources`."""

    goal: Goal
    program: Program
    sources: Path


def _distinct(emitted: Mapping[str, _Emitted]) -> dict[str, _Emitted]:
    """Those whose C differs, by the name of the stage that runs it on this machine."""
    found: dict[bytes, _Emitted] = {}
    for one in emitted.values():
        text = b"".join(path.read_bytes() for path in sorted(one.sources.glob("*.[ch]")))
        found.setdefault(text, one)
    of_core = len(found) > 1
    return {
        f"host C for {_core_title(one.goal.core)}" if of_core else "host C": one
        for one in found.values()
    }


def emulate(
    pool: WorkerPool,
    firmware: Firmware,
    samples: NDArray[np.uint8],
    on_progress: Callable[[int], None] = lambda samples: None,
) -> EmulatedRun:
    """Run encoded samples (N, input_bytes).

    The record is of all samples at zero wait states, its `at_clock` of the first `CLOCKED_SAMPLES`
    with those of the board's flash. Raises what `Machine.call` raises.
    """
    # Predictions do not depend on the flash's speed, and its wait states take five times as long
    # to simulate: all samples run without them, a few at the board's clock.
    board = firmware.board
    fast = replace(firmware, board=board.without_wait_states())
    chunks = run_samples(pool, fast, samples, on_progress)
    record = merge_records(chunks)
    record["at_clock"] = None
    if board.flash_timing.wait_states:
        few = samples[:CLOCKED_SAMPLES]
        (clocked,) = run_samples(pool, firmware, few)
        record["at_clock"] = {
            "board": board.name,
            "clock_hz": board.clock_hz,
            "wait_states": board.flash_timing.wait_states,
            "model": clocked.record["model"],
            "samples": len(few),
            "cycles": _spread(clocked.cycles),
        }
    return EmulatedRun(
        np.concatenate([chunk.predictions for chunk in chunks]),
        np.concatenate([chunk.cycles for chunk in chunks]),
        record,
    )


def merge_records(chunks: Sequence[EmulatedChunk]) -> dict[str, Any]:
    """One run record of chunks that each started from the same booted machine.

    Cycles, instructions and stalls are summed, without the boot, memory is the most that any chunk
    needed, and the region's figures are over all samples.
    """
    record = dict(chunks[0].record)
    for key in ("cycles", "instructions"):
        record[key] = sum(chunk.record[key] for chunk in chunks)
    causes = sorted({cause for chunk in chunks for cause in chunk.record["stalls"]})
    record["stalls"] = {
        cause: sum(chunk.record["stalls"].get(cause, 0) for chunk in chunks) for cause in causes
    }
    record["memory"] = _peak_memory([chunk.record["memory"] for chunk in chunks])
    region = dict(record["regions"][REGION])
    cycles = np.concatenate([chunk.cycles for chunk in chunks])
    instructions = np.concatenate([chunk.instructions for chunk in chunks])
    region.update(count=len(cycles), cycles=_spread(cycles), instructions=_spread(instructions))
    record["regions"] = {**record["regions"], REGION: region}
    return record


def _peak_memory(memories: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the first chunk that took the stack deepest, with the highest heap of all."""
    deepest = max(memories, key=lambda memory: int(memory["stack"]))
    heap = max(memory["heap"] for memory in memories)
    return {**deepest, "heap": heap, "ram": deepest["static"] + heap + deepest["stack"]}


def _spread(counts: NDArray[np.int64]) -> dict[str, int]:
    """Minimum, lower median, maximum and sum: integers."""
    ordered = np.sort(counts)
    return {
        "min": int(ordered[0]),
        "median": int(ordered[(len(ordered) - 1) // 2]),
        "max": int(ordered[-1]),
        "total": int(ordered.sum()),
    }
