"""The emitted C on this machine: compiled to a program that reads inputs and writes results."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebnn.activations import trace_bytes
from ebnn.emitter.program import Program
from ebnn.lowered import LoweredNetwork
from ebnn.sim.errors import UserError
from ebnn.toolchain.firmware import TOOLCHAIN_DIR
from ebnn.toolchain.host import build_program


@dataclass(frozen=True)
class HostRun:
    """Of N samples: `predictions` int64 (N,), `scores` int32 (N, classes), and `traces` uint8
    (N, `trace_bytes`), no bytes of a model built without trace."""

    predictions: NDArray[np.int64]
    scores: NDArray[np.int32]
    traces: NDArray[np.uint8]


class HostProgramFailed(UserError):
    """The program ended otherwise than it should; `report` is what it wrote: the sanitizers'."""

    exit_code = 3  # as where firmware faults

    def __init__(self, program: Path, status: int, report: str) -> None:
        lines = [line for line in report.splitlines() if "ERROR:" in line or "error:" in line]
        what = lines[0].strip() if lines else "no report"
        super().__init__(f"{program}: the model ended with status {status} on this machine: {what}")
        self.report = report
        self.add_note(report)  # shown with --debug


@dataclass(frozen=True)
class HostModel:
    """An emitted model as a program of this machine."""

    program: Path
    classes: int
    traced_bytes: int

    def run(self, samples: NDArray[np.uint8]) -> HostRun:
        """Classify encoded samples (N, input_bytes) (`ebnn.inputs`).

        Raises `HostProgramFailed` where a sanitizer, or the machine, ended the program.
        """
        done = subprocess.run(
            [self.program.resolve()], input=samples.tobytes(), capture_output=True, check=False
        )
        record_bytes = self.traced_bytes + 4 + 4 * self.classes
        if done.returncode != 0 or len(done.stdout) != len(samples) * record_bytes:
            report = done.stderr.decode(errors="replace")
            raise HostProgramFailed(self.program, done.returncode, report)
        records = np.frombuffer(done.stdout, np.uint8).reshape(len(samples), record_bytes)
        results = records[:, self.traced_bytes :].copy().view(np.int32)
        return HostRun(
            predictions=results[:, 0].astype(np.int64),
            scores=results[:, 1:],
            traces=records[:, : self.traced_bytes],
        )


def build_host_model(
    network: LoweredNetwork,
    program: Program,
    folder: Path,
    output: Path,
    trace: bool = False,
    kernels: Sequence[Path] = (),
) -> HostModel:
    """Compile what `emit` wrote to `folder` for this machine. `trace` keeps every block's
    activations; `kernels` are objects to take instead of the folder's kernels."""
    sources = [folder / "model.c", *kernels] if kernels else sorted(folder.glob("*.c"))
    sources.append(TOOLCHAIN_DIR / "host_harness.c")
    build_program(
        sources, output, include_dirs=[folder], defines={"EBNN_TRACE": "1"} if trace else {}
    )
    traced_bytes = trace_bytes(program) if trace else 0
    return HostModel(output, network.architecture.classes, traced_bytes)
