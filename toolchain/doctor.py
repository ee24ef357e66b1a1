"""What this machine has of what the project needs, what for, and how to get the rest."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

from ebnn.sim.errors import UserError
from ebnn.toolchain.gcc import GCC_NAME, HOW_TO_GET_GCC, find_gcc
from ebnn.toolchain.host import HOW_TO_GET_CC, find_cc

_OLDEST_PYTHON = (3, 11)
_CORE_PACKAGES = {
    "numpy": "lowering",
    "safetensors": "checkpoints",
    "rich": "tables and progress",
    "platformdirs": "the data cache",
    "unicorn": "the emulator",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for. `version` is None where it is missing."""

    name: str
    needed_for: str
    required: bool
    version: str | None
    how_to_get: str

    @property
    def found(self) -> bool:
        return self.version is not None


def examine() -> list[Finding]:
    """Looks for everything, importing nothing heavy; `required` is what the core use needs.

    The core use is: lower a checkpoint, build it, run it in the emulator.
    """
    return [
        _python(),
        *(_package(name, use, required=True) for name, use in _CORE_PACKAGES.items()),
        _arm_gcc(),
        _native_engine(),
        _host_cc(),
        _package("torch", "training", required=False, extra="train"),
        _package("capstone", "annotated listings", required=False, extra="annotate"),
        _package("scikit-learn", "the data set digits", required=False, extra="train"),
        _package("pyocd", "boards behind a debug probe", required=False, extra="board"),
        _package("pyserial", "boards with a serial port", required=False, extra="board"),
        _program(
            "qemu-system-arm", "a second opinion on firmware", "apt-get install qemu-system-arm"
        ),
        _program(
            "gdb-multiarch", "boards behind a GDB server", "apt-get install gdb-multiarch", "gdb"
        ),
    ]


def _python() -> Finding:
    new_enough = sys.version_info >= _OLDEST_PYTHON
    return Finding(
        name="python",
        needed_for="everything",
        required=True,
        version=platform.python_version() if new_enough else None,
        how_to_get="apt-get install python3 (3.11 or later)",
    )


def _package(name: str, needed_for: str, required: bool, extra: str | None = None) -> Finding:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = None
    how = f"pip install {name}" if extra is None else f"pip install 'ebnn[{extra}]'"
    return Finding(name, needed_for, required, version, how)


def _arm_gcc() -> Finding:
    try:
        version, how = find_gcc().version, HOW_TO_GET_GCC
    except UserError as error:
        version, how = None, str(error)
    return Finding(f"{GCC_NAME}, newlib", "building firmware", True, version, how)


def _host_cc() -> Finding:
    how = HOW_TO_GET_CC
    try:
        version = _version_of(str(find_cc()))
    except UserError as error:
        version, how = None, str(error)
    return Finding("host C compiler", "running the C here; the native engine", False, version, how)


def _native_engine() -> Finding:
    from ebnn.sim.engine_native import find_library

    return Finding(
        name="native engine",
        needed_for="speed; without it the same counts, slower",
        required=False,
        version="built" if find_library() is not None else None,
        how_to_get="a host C compiler, then pip install the package again",
    )


def _program(name: str, needed_for: str, how_to_get: str, *other_names: str) -> Finding:
    for candidate in (name, *other_names):
        path = shutil.which(candidate)
        if path is not None:
            return Finding(candidate, needed_for, False, _version_of(path), how_to_get)
    return Finding(name, needed_for, False, None, how_to_get)


def _version_of(path: str) -> str | None:
    """The first number like 12.2.0 that `--version` prints; None where it does not run."""
    try:
        done = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # The number in brackets is the packager's: "gdb (Debian 13.1-3) 13.1".
    lines = re.sub(r"\([^)]*\)", "", done.stdout).splitlines()
    number = re.search(r"\d+(\.\d+)+", lines[0]) if lines else None
    return number.group() if number else "found"
