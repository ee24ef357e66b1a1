"""A network as firmware for a board: emitted, with the harness around it, compiled and linked."""

from __future__ import annotations

from pathlib import Path

from ebnn.activations import trace_bytes
from ebnn.emitter import emit
from ebnn.emitter.program import Program
from ebnn.lowered import LoweredNetwork
from ebnn.sim.board import Board
from ebnn.toolchain.firmware import TOOLCHAIN_DIR, build_firmware


def build_model(
    network: LoweredNetwork,
    board: Board,
    output: Path,
    sources: Path,
    lowering: str = "fast",
    optimize: str = "-O3",
    ram_bytes: int | None = None,
    trace: bool = False,
    inferences: int = 1,
) -> Program:
    """Emit `network` to the folder `sources` and build it, with the harness, to the ELF `output`.

    `ram_bytes` is what the firmware is linked for, the stack included. `trace` keeps every block's
    activations (toolchain/trace.c). The firmware runs `inferences` of them before it exits.
    """
    program = emit(network, sources, lowering)
    files = [*sorted(sources.glob("*.c")), TOOLCHAIN_DIR / "harness.c"]
    defines = {"EBNN_INFERENCES": str(inferences)}
    if trace:
        files.append(TOOLCHAIN_DIR / "trace.c")
        defines["EBNN_TRACE"] = "1"
        defines["EBNN_TRACE_CAPACITY"] = str(max(1, trace_bytes(program)))
    build_firmware(
        files,
        board,
        output,
        include_dirs=[sources],
        optimize=optimize,
        defines=defines,
        ram_bytes=ram_bytes,
    )
    return program
