"""Running a C compiler: its errors as one clear line, its output whole or not at all."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ebnn.sim.errors import UserError

# ISO C, and one rounding per float operation: what makes results equal on every machine.
LANGUAGE_FLAGS = ("-std=c99", "-ffp-contract=off")
WARNING_FLAGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")

_COMPILE_ERROR = re.compile(
    r"^(?P<file>[^\s:][^:\n]*):(?P<line>\d+):(?:\d+:)? (?:fatal )?error: (?P<message>.*)$",
    re.MULTILINE,
)
_LINK_ERROR = re.compile(
    r"(?P<message>(?:undefined reference|multiple definition|cannot find) .*)$", re.MULTILINE
)


class CompileError(UserError):
    """C that does not compile or link. The compiler's whole output is in `output`."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output
        self.add_note(output)  # shown with --debug


def run_compiler(command: Sequence[str | Path], cwd: Path, subject: str) -> None:
    """Runs a compiler or linker; `subject` names what is being built, for the message.

    Raises `CompileError` with the first error's file, line and text.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            # Messages in English, whatever the user's language: they are parsed here.
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except OSError as error:
        raise UserError(
            f"{command[0]} does not run ({error.strerror}): see `ebnn doctor`"
        ) from error
    if done.returncode != 0:
        raise CompileError(f"{subject}: {first_error(done.stdout)}", done.stdout)


def first_error(output: str) -> str:
    """The first error in what a compiler or linker printed, as one line."""
    found = _COMPILE_ERROR.search(output)
    if found:
        return f"{found['file']}:{found['line']}: {found['message']}"
    found = _LINK_ERROR.search(output)
    if found:
        return found["message"]
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[0] if lines else "the compiler failed without a message"


def define_flags(defines: Mapping[str, str]) -> list[str]:
    """`-DNAME=VALUE` for each, in the order of the names."""
    return [f"-D{name}={value}" for name, value in sorted(defines.items())]


def existing_sources(sources: Sequence[Path]) -> list[Path]:
    """The sources as absolute paths; `UserError` where there is none, or one is not a file."""
    if not sources:
        raise UserError("no C source to compile: give at least one .c file")
    for source in sources:
        if not source.is_file():
            raise UserError(f"{source}: no such C source file")
    return [source.resolve() for source in sources]


@contextmanager
def whole_or_nothing(output: Path) -> Iterator[Path]:
    """A path to write to; what stands there at the end becomes `output` in one step.

    On an error nothing appears at `output`, and what was there before stays.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as folder:
        unfinished = Path(folder) / output.name
        yield unfinished
        unfinished.replace(output)
