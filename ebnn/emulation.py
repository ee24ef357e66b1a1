"""Samples through the firmware's `ebnn_infer` in the emulator, on all cores of this machine.

Samples go in chunks; each chunk starts from the same booted machine, so that what is measured
does not depend on how many processes share the work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebnn.sim import Machine
from ebnn.sim.board import Board

REGION = "ebnn_infer"
INPUT_SYMBOL = "ebnn_input"
CHUNK_SAMPLES = 250


@dataclass(frozen=True)
class EmulatedChunk:
    """Of one chunk of samples: `predictions`, `cycles`, `instructions` int64 (N,), and the record
    of the machine after them: its cycles, instructions and stalls are of this chunk."""

    predictions: NDArray[np.int64]
    cycles: NDArray[np.int64]
    instructions: NDArray[np.int64]
    record: dict[str, Any]


@dataclass(frozen=True)
class Firmware:
    """What a worker needs to run an ELF: it crosses to another process."""

    elf: Path
    board: Board
    ram_bytes: int | None


class EmulatedModel:
    """A booted firmware that classifies samples, one `ebnn_infer` call each."""

    def __init__(self, firmware: Firmware, regions: Sequence[str] = (REGION,)) -> None:
        self.machine = Machine(
            firmware.elf, board=firmware.board, ram_bytes=firmware.ram_bytes, regions=regions
        )
        self.machine.run_until("main")
        self._booted = self.machine.snapshot()
        self._input = self.machine.symbol(INPUT_SYMBOL).address

    def infer(self, sample: NDArray[np.uint8], scores_address: int = 0) -> int:
        """Class of one encoded sample (`ebnn.inputs`); scores are written unless the address is 0.

        Raises what `Machine.call` raises.
        """
        self.machine.write(self._input, sample.tobytes())
        predicted: int = self.machine.call(REGION, self._input, scores_address)
        return predicted

    def run(self, samples: NDArray[np.uint8]) -> EmulatedChunk:
        """Classify encoded samples (N, input_bytes), from the booted state."""
        machine = self.machine
        machine.restore(self._booted)
        before = machine.cycles, machine.instructions, machine.stalls()
        predictions, cycles, instructions = [], [], []
        for sample in samples:
            predictions.append(self.infer(sample))
            region = machine.region(REGION)
            cycles.append(region.cycles)
            instructions.append(region.instructions)
        record = machine.record().to_dict()
        # Counts of this chunk alone: how many a process has run before is chance.
        record["cycles"] -= before[0]
        record["instructions"] -= before[1]
        record["stalls"] = {
            cause: count
            for cause in record["stalls"]
            if (count := record["stalls"][cause] - before[2].get(cause, 0))
        }
        return EmulatedChunk(
            np.array(predictions, dtype=np.int64),
            np.array(cycles, dtype=np.int64),
            np.array(instructions, dtype=np.int64),
            record,
        )


_models: dict[Firmware, EmulatedModel] = {}


def _run_chunk(firmware: Firmware, samples: NDArray[np.uint8]) -> EmulatedChunk:
    """In a worker: boots a firmware once, however many chunks of it come."""
    if firmware not in _models:
        _models[firmware] = EmulatedModel(firmware)
    return _models[firmware].run(samples)


@contextmanager
def worker_pool(workers: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """Processes for `run_samples`; as many as this machine has cores, unless told."""
    # Spawned, not forked: torch's and the emulator's threads do not survive a fork.
    with ProcessPoolExecutor(workers or os.cpu_count() or 1, get_context("spawn")) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def run_samples(
    pool: ProcessPoolExecutor,
    firmware: Firmware,
    samples: NDArray[np.uint8],
    on_progress: Callable[[int], None] = lambda samples: None,
) -> list[EmulatedChunk]:
    """Run encoded samples (N, input_bytes); the chunks come back in the samples' order.

    `on_progress` is called with the number of samples that were finished since the last call.
    """
    chunks = [samples[at : at + CHUNK_SAMPLES] for at in range(0, len(samples), CHUNK_SAMPLES)]
    running = [pool.submit(_run_chunk, firmware, chunk) for chunk in chunks]
    results = []
    for future in running:
        results.append(future.result())
        on_progress(len(results[-1].predictions))
    return results
