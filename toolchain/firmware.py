"""From C sources to firmware for a board: one call, the same bytes every time."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ebnn.sim.board import Board
from ebnn.sim.errors import UserError
from ebnn.toolchain.boot_stage import boot_stage_source, write_checksum
from ebnn.toolchain.compiler import (
    LANGUAGE_FLAGS,
    WARNING_FLAGS,
    CompileError,
    define_flags,
    existing_sources,
    run_compiler,
    whole_or_nothing,
)
from ebnn.toolchain.gcc import core_flags, find_gcc
from ebnn.toolchain.linker import FLASH_REGION, linker_script, usable_ram_bytes
from ebnn.toolchain.stack_usage import write_stack_usage

TOOLCHAIN_DIR = Path(__file__).resolve().parent
"""Holds startup.c, syscalls.c and semihosting.c, and is on the include path of every build."""

_OWN_SOURCES = tuple(TOOLCHAIN_DIR / name for name in ("startup.c", "syscalls.c", "semihosting.c"))
# Small, and a copying loop must stay a loop: a call of memcpy would bring newlib's into all ELFs.
_OWN_FLAGS = ("-Os", "-fno-tree-loop-distribute-patterns")

_COMPILE_FLAGS = (
    *LANGUAGE_FLAGS,
    *WARNING_FLAGS,
    "-g",
    "-fno-common",
    "-ffunction-sections",
    "-fdata-sections",
    "-fstack-usage",
    "--specs=nano.specs",
)
_LINK_FLAGS = (
    "--specs=nano.specs",
    "-nostartfiles",
    "-Wl,--gc-sections",
    "-Wl,--build-id=none",
)
_OVERFLOW = re.compile(r"region `(?P<region>\w+)' overflowed by (?P<bytes>\d+) bytes?")


class BoardTooSmall(UserError):
    """Code and data exceed the board's flash, or its RAM before any heap and stack."""

    exit_code = 1  # a budget that does not hold, as when the emulator meets the limit

    def __init__(self, message: str, memory: str, over_by_bytes: int) -> None:
        super().__init__(message)
        self.memory = memory
        self.over_by_bytes = over_by_bytes


def build_firmware(
    sources: Sequence[Path],
    board: Board,
    output: Path,
    include_dirs: Sequence[Path] = (),
    optimize: str = "-O2",
    defines: Mapping[str, str] | None = None,
    ram_bytes: int | None = None,
    extra_flags: Sequence[str] = (),
    build_dir: Path | None = None,
    library_dir: Path | None = None,
) -> Path:
    """Compiles and links `sources` with start-up code for `board`; returns `output`, an ELF.

    The sources define `int main(void)`; its return value ends the run through semihosting, and
    `#include "semihosting.h"` gives them text output. `ram_bytes` limits the RAM that is linked
    for, the stack included. `extra_flags` go to the compiler and the linker. In `build_dir`,
    where given, stay the objects, stack usage of each function (.su), linker script and map. The
    stack usage of all of them goes beside the ELF: `model.su`, from which the simulator bounds the
    stack. Sources in `library_dir` include only what lies beside them, see no `defines`, and are
    compiled once in a process for the same flags, as the start-up code is. Where the board has a
    boot stage, it is built and linked in front of the vector table.

    The bytes depend on the sources, the board, the flags and the compiler, not on any folder.

    Raises `BoardTooSmall` where it does not fit, `CompileError` with the first error where it
    does not compile, `UserError` where compiler or sources are missing.
    """
    gcc = find_gcc()
    sources = existing_sources(sources)
    include_dirs = [folder.resolve() for folder in include_dirs]
    boot_stage = boot_stage_source(board)
    own_sources = [*_OWN_SOURCES, boot_stage] if boot_stage else _OWN_SOURCES
    flags = (*core_flags(board.core), *_COMPILE_FLAGS)
    includes = [f"-I{folder}" for folder in (*include_dirs, TOOLCHAIN_DIR)]
    asked = (optimize, *define_flags(defines or {}), *extra_flags)
    own_flags = (*flags, f"-I{TOOLCHAIN_DIR}", *_OWN_FLAGS)
    theirs = dict.fromkeys((*(source.parent for source in sources), *include_dirs), ".")
    own = ((TOOLCHAIN_DIR, "toolchain"),)
    jobs = [
        _Job(source, (*flags, optimize, *extra_flags), ((source.parent, "."),), is_fixed=True)
        if source.parent == library_dir
        else _Job(source, (*flags, *includes, *asked), (*theirs.items(), *own), is_fixed=False)
        for source in sources
    ]
    jobs += [
        _Job(source, own_flags, own, is_fixed=source.parent == TOOLCHAIN_DIR)
        for source in own_sources
    ]
    with _build_folder(build_dir) as folder:
        objects = _compile_all(gcc.path, jobs, folder, board.name)
        script = folder / "board.ld"
        script.write_text(linker_script(board, ram_bytes), encoding="utf-8")
        with whole_or_nothing(output) as elf:
            command: list[str | Path] = [
                gcc.path,
                *core_flags(board.core),
                *_LINK_FLAGS,
                optimize,
                *extra_flags,
                *objects,
                "-lm",
                f"-Wl,-T,{script.name},-Map,firmware.map",
                "-o",
                elf.resolve(),
            ]
            try:
                run_compiler(command, cwd=folder, subject=f"link for {board.name}")
            except CompileError as error:
                raise _too_small(error, board, ram_bytes) or error from None
            write_checksum(elf, board)
        write_stack_usage(folder, objects, output)
    return output


@dataclass(frozen=True)
class _Job:
    """A source to compile; `maps` are the folders that it comes from, and what stands for them.

    `is_fixed`: neither it nor what it includes changes while this process runs.
    """

    source: Path
    flags: tuple[str, ...]
    maps: tuple[tuple[Path, str], ...]
    is_fixed: bool


def _compile_all(gcc: Path, jobs: Sequence[_Job], folder: Path, subject: str) -> list[str]:
    """Object file names in the order of the jobs; the first failing job's error is raised."""

    def compile_one(index: int, job: _Job) -> str:
        # Numbered, because two folders may hold sources of one name.
        output = folder / f"{index:02}-{job.source.stem}.o"
        if job.is_fixed:
            for suffix, content in _compiled_once(gcc, job, subject):
                output.with_suffix(suffix).write_bytes(content)
        else:
            _compile(gcc, job, output, subject)
        return output.name

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        running = [pool.submit(compile_one, index, job) for index, job in enumerate(jobs)]
        return [job.result() for job in running]


@cache
def _compiled_once(gcc: Path, job: _Job, subject: str) -> tuple[tuple[str, bytes], ...]:
    """(suffix, content) of the object and its stack usage. A search, or a network on several
    boards, asks for the same kernels and start-up code again and again."""
    with tempfile.TemporaryDirectory(prefix="ebnn-build-") as name:
        folder = Path(name).resolve()
        _compile(gcc, job, folder / "fixed.o", subject)
        return tuple((path.suffix, path.read_bytes()) for path in sorted(folder.iterdir()))


def _compile(gcc: Path, job: _Job, output: Path, subject: str) -> None:
    # GCC takes the last map that fits, so that the longest, most exact ones come last.
    maps = {output.parent: ".", **dict(job.maps)}
    ordered = sorted(maps.items(), key=lambda entry: (len(entry[0].parts), str(entry[0])))
    flags = [*job.flags, *(f"-ffile-prefix-map={folder}={name}" for folder, name in ordered)]
    if job.source.suffix == ".S":  # its debug information is the assembler's, which has own maps
        flags += [f"-Wa,--debug-prefix-map={folder}={name}" for folder, name in ordered]
    command: list[str | Path] = [gcc, *flags, "-c", job.source, "-o", output.name]
    run_compiler(command, cwd=output.parent, subject=f"compile for {subject}")


@contextmanager
def _build_folder(build_dir: Path | None) -> Iterator[Path]:
    if build_dir is not None:
        build_dir.mkdir(parents=True, exist_ok=True)
        yield build_dir.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="ebnn-build-") as folder:
        yield Path(folder).resolve()


def _too_small(error: CompileError, board: Board, ram_bytes: int | None) -> BoardTooSmall | None:
    found = _OVERFLOW.search(error.output)
    if found is None:
        return None
    over_by_bytes = int(found["bytes"])
    if found["region"] == FLASH_REGION:
        message = (
            f"code and constants are {over_by_bytes:,} bytes more than the"
            f" {board.flash.size_bytes:,} bytes of flash of {board.name}:"
            " shrink the model, build with -Os, or choose a board with more flash"
        )
        return BoardTooSmall(message, "flash", over_by_bytes)
    limit = usable_ram_bytes(board, ram_bytes)
    whose = f"of {board.name}" if ram_bytes is None else "of the RAM limit"
    message = (
        f"static data (.data + .bss), before any heap and stack, is {over_by_bytes:,} bytes more"
        f" than the {limit:,} bytes {whose}: give more RAM or shrink the buffers"
    )
    return BoardTooSmall(message, "ram", over_by_bytes)
