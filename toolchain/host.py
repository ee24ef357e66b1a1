"""The same C on this machine: a shared library that Python calls through ctypes."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ebnn.sim.errors import UserError
from ebnn.toolchain.compiler import (
    LANGUAGE_FLAGS,
    WARNING_FLAGS,
    define_flags,
    existing_sources,
    run_compiler,
    whole_or_nothing,
)

CC_VARIABLE = "CC"
CC_NAMES = ("cc", "gcc", "clang")
HOW_TO_GET_CC = "apt-get install gcc libc6-dev"

SHARED_SUFFIX = ".dylib" if sys.platform == "darwin" else ".so"

_FLAGS = (*LANGUAGE_FLAGS, *WARNING_FLAGS, "-O2", "-g", "-fPIC", "-shared")
_SANITIZE_FLAGS = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)


def find_cc() -> Path:
    """The C compiler of this machine: $CC, else cc, gcc or clang on PATH."""
    return Path(_cc_command()[0])


def build_shared(
    sources: Sequence[Path],
    output: Path,
    include_dirs: Sequence[Path] = (),
    defines: Mapping[str, str] | None = None,
    sanitize: bool = False,
) -> Path:
    """Compiles `sources` to a shared library; returns `output`.

    With `sanitize`, out-of-bounds accesses and undefined behaviour end the process with a report;
    the process that loads it must have been started with `sanitizer_environment()`.

    Raises `CompileError` with the first error, `UserError` where compiler or sources are missing.
    """
    command = [*_cc_command(), *_FLAGS, *(_SANITIZE_FLAGS if sanitize else ())]
    command += [f"-I{folder.resolve()}" for folder in include_dirs]
    command += define_flags(defines or {})
    command += [str(source) for source in existing_sources(sources)]
    with whole_or_nothing(output) as library:
        arguments = [*command, "-o", str(library.resolve()), "-lm"]
        run_compiler(arguments, cwd=library.parent, subject="compile for this machine")
    return output


def sanitizer_environment() -> dict[str, str]:
    """Variables that Python must be started with to load a library built with `sanitize`.

    AddressSanitizer has to be the first library of a process. Python itself leaks on purpose at
    its end, so leaks are not reported. `UserError` where the compiler has no such runtime.
    """
    found = subprocess.run(
        [*_cc_command(), "-print-file-name=libasan.so"],
        capture_output=True,
        text=True,
        check=False,
    )
    runtime = Path(found.stdout.strip())
    if not runtime.is_absolute():  # GCC echoes the bare name of a library that it has not
        raise UserError(f"{find_cc()} has no libasan.so: set CC=gcc, or do without sanitize")
    return {"LD_PRELOAD": str(runtime), "ASAN_OPTIONS": "detect_leaks=0"}


def _cc_command() -> list[str]:
    """The compiler and its fixed arguments: $CC may be several words, as in "ccache gcc"."""
    chosen = shlex.split(os.environ.get(CC_VARIABLE, ""))
    if chosen:
        path = shutil.which(chosen[0])
        if path is None:
            raise UserError(
                f"{CC_VARIABLE}={chosen[0]}: no such program; set it to a C compiler, or unset it"
            )
        return [path, *chosen[1:]]
    for name in CC_NAMES:
        path = shutil.which(name)
        if path is not None:
            return [path]
    raise UserError(
        f"no C compiler for this machine ({', '.join(CC_NAMES)}) on PATH: {HOW_TO_GET_CC}"
        f" (or `make setup`), or set {CC_VARIABLE}"
    )
