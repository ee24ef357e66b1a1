"""Samples through the firmware's `ebnn_infer` in the emulator, on all cores or on a cluster.

Samples go in chunks; each chunk starts from the same booted machine, so that what is measured
does not depend on how many processes share the work.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebnn.sim import Machine
from ebnn.sim.board import Board
from ebnn.sim.stack_usage import usage_path
from ebnn.workers import WorkerPool

REGION = "ebnn_infer"
INPUT_SYMBOL = "ebnn_input"
CHUNK_SAMPLES = 250
_KEPT_MODELS = 8  # booted machines of a worker, which may live long


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
    """What a worker needs to run an ELF: it crosses to another process.

    `files`, by name, go along to a machine that does not see the ELF's path.
    """

    elf: Path
    board: Board
    ram_bytes: int | None
    files: tuple[tuple[str, bytes], ...] = ()

    def packed(self) -> Firmware:
        """With the ELF, and the compiler's stack usage that may lie beside it, as `files`."""
        paths = [path for path in (self.elf, usage_path(self.elf)) if path.exists()]
        return replace(self, files=tuple((path.name, path.read_bytes()) for path in paths))


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
        if len(_models) >= _KEPT_MODELS:
            _models.clear()
        with tempfile.TemporaryDirectory(prefix="ebnn-firmware-") as folder:
            for name, content in firmware.files:
                (Path(folder) / name).write_bytes(content)
            elf = Path(folder) / firmware.elf.name if firmware.files else firmware.elf
            _models[firmware] = EmulatedModel(replace(firmware, elf=elf))
    chunk = _models[firmware].run(samples)
    chunk.record["elf"]["path"] = str(firmware.elf)
    return chunk


def run_samples(
    pool: WorkerPool,
    firmware: Firmware,
    samples: NDArray[np.uint8],
    on_progress: Callable[[int], None] = lambda samples: None,
) -> list[EmulatedChunk]:
    """Run encoded samples (N, input_bytes); the chunks come back in the samples' order.

    `on_progress` is called with the number of samples that were finished since the last call.
    """
    chunks = [samples[at : at + CHUNK_SAMPLES] for at in range(0, len(samples), CHUNK_SAMPLES)]
    sent = firmware if pool.shares_files else firmware.packed()
    running = [pool.submit(_run_chunk, sent, chunk) for chunk in chunks]
    results = []
    for future in running:
        results.append(future.result())
        on_progress(len(results[-1].predictions))
    return results
