"""A network as firmware for a board: emitted, with the harness around it, compiled and linked."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ebnn.activations import trace_bytes
from ebnn.c_kernels import KERNEL_DIR
from ebnn.emitter import emit
from ebnn.emitter.chooser import NothingFits
from ebnn.emitter.goal import Goal
from ebnn.emitter.program import Program
from ebnn.harness_sources import HarnessSamples, write_samples, write_uart_setup
from ebnn.lowered import LoweredNetwork
from ebnn.sim.board import Board
from ebnn.sim.board_uart import Uart
from ebnn.sim.elf import Elf
from ebnn.sim.errors import UserError
from ebnn.sim.memory_use import flash_bytes
from ebnn.toolchain.firmware import TOOLCHAIN_DIR, build_firmware

HARNESS_TRANSPORTS = ("semihosting", "rtt", "uart")
_HARNESS_SOURCES = ("board_harness.c", "cycle_counter.c", "cycle_span.S", "stack_paint.c")
# The id tells which build a board runs. Functions begin on words with -Os too: else the call into
# ebnn_infer could cost another cycle than the call that its cost is taken from.
_HARNESS_FLAGS = ("-Wl,--build-id=sha1", "-falign-functions=4")


def goal_within_flash(
    goal: Goal, flash_limit_bytes: int, board: Board, build: Callable[[Goal, Path], Program]
) -> Goal:
    """`goal` with as much flash for the kernels as leaves the whole ELF at `flash_limit_bytes`.

    `build` builds the ELF at a path, for a goal; it is called until what was linked fits. Raises
    `NothingFits` where the smallest kernels do not.
    """
    with tempfile.TemporaryDirectory(prefix="ebnn-flash-") as folder:
        elf = Path(folder) / "trial.elf"
        while True:
            program = build(goal, elf)
            taken_bytes = flash_bytes(Elf(elf), board)
            if taken_bytes <= flash_limit_bytes:
                return goal
            over_bytes = taken_bytes - flash_limit_bytes
            if not program.decisions:
                raise NothingFits(
                    f"the firmware takes {taken_bytes:,} bytes of flash, {over_bytes:,} more than"
                    f" allowed, and the lowering {program.lowering!r} has no other kernels"
                )
            kernels = program.predicted_flash_bytes - over_bytes
            goal = replace(goal, flash_bytes=kernels)


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
    flags: Sequence[str] = (),
    goal: Goal | None = None,
    build_dir: Path | None = None,
) -> Program:
    """Emit `network` to the folder `sources` and build it, with the harness, to the ELF `output`.

    The kernels are chosen for `goal`, or for the fewest cycles on the board's core.

    `ram_bytes` is what the firmware is linked for, the stack included. `trace` keeps every block's
    activations (toolchain/trace.c). The firmware runs `inferences` of them before it exits. `flags`
    go to the compiler and the linker. Objects stay in `build_dir`, where given.
    """
    program = emit(network, sources, lowering, goal or Goal(board.core))
    files = [*_sources(sources), TOOLCHAIN_DIR / "harness.c"]
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
        extra_flags=flags,
        build_dir=build_dir,
        library_dir=KERNEL_DIR,
    )
    return program


def build_harness(
    network: LoweredNetwork,
    board: Board,
    output: Path,
    sources: Path,
    samples: HarnessSamples,
    transport: str = "semihosting",
    uart: Uart | None = None,
    lowering: str = "fast",
    optimize: str = "-O3",
    ram_bytes: int | None = None,
    goal: Goal | None = None,
) -> Program:
    """Like `build_model`, but the firmware carries `samples` and reports each inference.

    `transport` is one of `HARNESS_TRANSPORTS`; `uart` needs the board's `uart`. What is generated
    for the harness goes to the folder `harness` in `sources`.
    """
    program = emit(network, sources, lowering, goal or Goal(board.core))
    folder = sources / "harness"
    built_for = f"{transport} {board.name}"
    files = _sources(sources)
    files += [TOOLCHAIN_DIR / name for name in (*_HARNESS_SOURCES, f"output_{transport}.c")]
    files.append(write_samples(samples, built_for, folder))
    if transport == "uart":
        if uart is None:
            raise UserError(
                f"{board.name}: its description has no [uart] table:"
                " use --output semihosting or rtt"
            )
        files.append(write_uart_setup(uart, folder))
    build_firmware(
        files,
        board,
        output,
        include_dirs=[sources, folder],
        optimize=optimize,
        ram_bytes=ram_bytes,
        extra_flags=_HARNESS_FLAGS,
        library_dir=KERNEL_DIR,
    )
    return program


def _sources(emitted: Path) -> list[Path]:
    """What was just emitted to a folder, the kernels where they were copied from."""
    originals = {path.name: path for path in KERNEL_DIR.glob("*.c")}
    return [originals.get(path.name, path) for path in sorted(emitted.glob("*.c"))]
