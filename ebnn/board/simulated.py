"""The harness in the simulator: the same ELF, the same lines, and a record to compare with."""

from __future__ import annotations

import io
from typing import Any

from ebnn.board.collect import Collected, NotCollected
from ebnn.board.harness_elf import HarnessElf
from ebnn.board.protocol import ReportReader
from ebnn.board.record import accuracy
from ebnn.sim import Machine
from ebnn.sim.board import Board

_BX_LR = b"\x70\x47"
_SEMIHOSTED = {
    "output_open": _BX_LR,
    # movs r1, r0; movs r0, #SYS_WRITE0; bkpt 0xab; bx lr
    "output_line": b"\x01\x00\x04\x20\xab\xbe" + _BX_LR,
    "output_again": b"\x00\x20" + _BX_LR,  # movs r0, #0; bx lr: 4 bytes, as functions are aligned
}


def simulate(
    harness: HarnessElf,
    board: Board,
    engine: str = "auto",
    timeout_seconds: float | None = None,
    output: io.StringIO | None = None,
) -> tuple[Collected, Machine]:
    """Run the harness to its end, for at most `timeout_seconds` of host time; what it says is
    written to `output` as it says it.

    The simulator has no UART and no probe. In a harness for those the functions of
    toolchain/harness_output.h are overwritten with ones for semihosting; none of them is called
    between the readings of the cycle counter.

    Raises:
        NotCollected: it ended without a report. What `Machine.run` raises.
    """
    output = output or io.StringIO()
    machine = Machine(
        harness.path, board=board, output=output, engine=engine, timeout_seconds=timeout_seconds
    )
    if harness.output != "semihosting":
        for name, code in _SEMIHOSTED.items():
            machine.write(machine.symbol(name).address & ~1, code)
    machine.run()
    received = output.getvalue().encode()
    reader = ReportReader()
    reader.feed(received)
    if not reader.is_over:
        raise NotCollected(f"{harness.path}, simulated: {reader.why_incomplete()}", received)
    collected = Collected(reader.report, received, reader.foreign_lines, reader.damaged_lines)
    return collected, machine


def simulated_record(collected: Collected, machine: Machine, harness: HarnessElf) -> dict[str, Any]:
    """The simulator's own record of that run, with the predictions that the harness reported."""
    record = machine.record().to_dict()
    samples = collected.report.samples
    record["inputs"] = {"sha256": harness.inputs_sha256, "samples": harness.samples}
    record["predictions"] = [sample.predicted for sample in samples]
    record["accuracy"] = accuracy(samples)
    return record
