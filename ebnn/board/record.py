"""The run record of a board (sim/record.schema.json, kind `board`), out of a harness's report."""

from __future__ import annotations

from typing import Any

from ebnn.board.collect import Collected
from ebnn.board.harness_elf import HarnessElf
from ebnn.board.protocol import Sample, Start
from ebnn.emulation import REGION
from ebnn.sim.board import Board
from ebnn.sim.memory_use import flash_bytes, static_bytes
from ebnn.sim.record import SCHEMA, spread
from ebnn.sim.refusals import place_of

_ALIGNMENT_BYTES = 8
_SAYS_NO_CYCLES = ("qemu",)
"""QEMU's counters follow time on the host, not the core's cycles."""


def board_record(
    collected: Collected, harness: HarnessElf, board: Board, facts: dict[str, Any]
) -> dict[str, Any]:
    """What the harness of `harness` said on `board`; `facts` is the link's.

    What a board cannot tell (instructions, stalls) is not there; neither are cycles where nothing
    counted them. `clock_hz` is the board's description's, since the harness cannot measure it.
    """
    report = collected.report
    start = report.start
    samples = report.samples
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "board",
        "elf": {"path": str(harness.path), "sha256": harness.elf.sha256},
        "core": board.core,
        "board": board.name,
        "clock_hz": board.clock_hz,
        "clock_source": board.clock_source,
        "probe": facts,
        "harness": {
            "build_id": harness.build_id,
            "built_for": harness.board_name,
            "output": harness.output,
            "counter": start.counter if start else None,
            "counter_cost_cycles": start.cost_cycles if start else None,
            "foreign_lines": collected.foreign_lines,
            "damaged_lines": collected.damaged_lines,
        },
        "regions": {},
        "inputs": {"sha256": harness.inputs_sha256, "samples": harness.samples},
        "predictions": [sample.predicted for sample in samples],
        "fault": None,
        "exit": 0,
    }
    if samples and start:
        if start.counter != "none" and facts["via"] not in _SAYS_NO_CYCLES:
            record["regions"] = {REGION: _region(start, samples)}
            record["cycles_each"] = _cycles(start, samples)
        record["memory"] = _memory(harness, board, samples)
        record["accuracy"] = accuracy(samples)
        if record["accuracy"]["agreement"] != len(samples):
            record["exit"] = 1
    if report.fault is not None:
        record["fault"] = _fault(harness, report.fault.pc)
        record["exit"] = 3
    return record


def accuracy(samples: list[Sample]) -> dict[str, int]:
    """`agreement` is with the numpy reference, `correct` with the labels."""
    return {
        "correct": sum(sample.predicted == sample.label for sample in samples),
        "total": len(samples),
        "agreement": sum(sample.predicted == sample.expected for sample in samples),
    }


def _cycles(start: Start, samples: list[Sample]) -> list[int]:
    return [max(0, sample.cycles - start.cost_cycles) for sample in samples]


def _region(start: Start, samples: list[Sample]) -> dict[str, Any]:
    return {"count": len(samples), "cycles": spread(_cycles(start, samples))}


def _memory(harness: HarnessElf, board: Board, samples: list[Sample]) -> dict[str, Any]:
    """In bytes; static and stack in steps of 8 as in the simulator's record."""
    static = _aligned(static_bytes(harness.elf, board))
    stack = _aligned(max(sample.stack_bytes for sample in samples))
    memory: dict[str, Any] = {
        "flash": flash_bytes(harness.elf, board),
        "static": static,
        "stack": stack,
        "stack_by": "paint",
    }
    if "_sbrk" not in harness.elf.symbols:  # nothing can allocate
        memory |= {"heap": 0, "ram": static + stack}
    return memory


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES


def _fault(harness: HarnessElf, pc: int) -> dict[str, Any]:
    place = place_of(harness.elf, pc)
    return {
        "kind": "hard-fault",
        "address": None,
        "pc": pc,
        "function": place.function,
        "file": place.file,
        "line": place.line,
        "message": f"the core took a HardFault in {place}",
    }
