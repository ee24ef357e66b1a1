"""Builds the run record of a simulated run; record.schema.json says what each key is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from .core import MODEL_VERSION
from .memory_use import flash_bytes
from .published import model_error
from .record import SCHEMA, RunRecord

if TYPE_CHECKING:
    from .machine import Machine


def run_record(machine: Machine) -> RunRecord:
    """What `machine` has run so far, as a record."""
    elf, board, use = machine.elf, machine.board, machine.ram_use()
    timing = board.flash_timing
    error = None  # nothing published was measured with the small multiplier
    if not board.small_multiplier:
        error = model_error(
            machine.core.name, board.store_penalty_cycles, timing.wait_states, board.name
        )
    bound = machine.stack_bound
    return RunRecord(
        {
            "schema": SCHEMA,
            "kind": "sim",
            "elf": {"path": str(elf.path), "sha256": elf.sha256},
            "core": machine.core.name,
            "board": board.name,
            "clock_hz": board.clock_hz,
            "clock_source": board.clock_source,
            "model": {
                "version": MODEL_VERSION,
                "wait_states": timing.wait_states,
                "flash": asdict(timing) if timing.wait_states else None,
                "store_penalty_cycles": board.store_penalty_cycles,
                "small_multiplier": board.small_multiplier,
                "slow_ram": asdict(board.slow_ram) if board.slow_ram else None,
                "error": asdict(error) if error else None,
            },
            "engine": machine.engine_name,
            "cycles": machine.cycles,
            "instructions": machine.instructions,
            "stalls": machine.stalls(),
            "regions": machine.regions(),
            "memory": {
                "flash": flash_bytes(elf, board),
                "static": use.static,
                "heap": use.heap,
                "stack": use.stack,
                "ram": use.total,
                "ram_limit": machine.ram_bytes,
                "deepest_function": machine.deepest_function,
                "call_chain": [asdict(frame) for frame in machine.deepest_stack.chain()],
                "static_stack_bound": bound.total_bytes if bound else None,
                "static_stack_chain": [asdict(frame) for frame in bound.chain] if bound else [],
                "static_stack_unknown": list(bound.unknown) if bound else [],
                "stack_top_moved_from": machine.stack_top_moved_from,
                "uninitialized": [one.record() for one in machine.uninitialized_reads],
                "touched": machine.touched(),
            },
            "fault": machine.fault.record() if machine.fault else None,
            "exit": machine.exit_code,
        }
    )
