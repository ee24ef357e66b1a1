"""The same C on this machine: a program that runs here, watched by sanitizers where that is asked
for: EBNN_SANITIZE=1 builds with AddressSanitizer and UndefinedBehaviorSanitizer, which end the
program with a report at the first access out of bounds or undefined behaviour."""

from __future__ import annotations

import os
import shlex
import shutil
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

SANITIZE_VARIABLE = "EBNN_SANITIZE"
_PLAIN_FLAGS = ("-O2", "-g")
# "undefined" has alignment, shifts, pointer overflow and bounds in it, but no float conversions.
_SANITIZE_FLAGS = (
    "-O1",
    "-g1",
    "-fsanitize=address,undefined,float-cast-overflow",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)


def find_cc() -> Path:
    """The C compiler of this machine: $CC, else cc, gcc or clang on PATH."""
    return Path(cc_command()[0])


def build_program(
    sources: Sequence[Path],
    output: Path,
    include_dirs: Sequence[Path] = (),
    defines: Mapping[str, str] | None = None,
) -> Path:
    """Compile and link `sources`, C or objects, to a program; returns `output`.

    Raises `CompileError` with the first error, `UserError` where compiler or sources are missing.
    """
    return _build(sources, output, include_dirs, defines or {}, ["-lm"])


def build_object(sources: Sequence[Path], output: Path) -> Path:
    """Compile `sources` to one object, for `build_program`; returns `output`. Raises the same."""
    return _build(sources, output, (), {}, ["-r", "-nostdlib"])


def _build(
    sources: Sequence[Path],
    output: Path,
    include_dirs: Sequence[Path],
    defines: Mapping[str, str],
    link_flags: Sequence[str],
) -> Path:
    sanitizes = os.environ.get(SANITIZE_VARIABLE, "0") != "0"
    command = [*cc_command(), *LANGUAGE_FLAGS, *WARNING_FLAGS]
    command += _SANITIZE_FLAGS if sanitizes else _PLAIN_FLAGS
    command += [f"-I{folder.resolve()}" for folder in include_dirs]
    command += define_flags(defines)
    command += [str(source) for source in existing_sources(sources)]
    with whole_or_nothing(output) as unfinished:
        arguments = [*command, "-o", str(unfinished.resolve()), *link_flags]
        run_compiler(arguments, cwd=unfinished.parent, subject="compile for this machine")
    return output


def cc_command() -> list[str]:
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
