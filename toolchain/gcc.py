"""Finding arm-none-eabi-gcc, and its flags for each core."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ebnn.sim.errors import UserError

GCC_NAME = "arm-none-eabi-gcc"
GCC_VARIABLE = "EBNN_ARM_GCC"
DEBIAN_PACKAGES = ("gcc-arm-none-eabi", "libnewlib-arm-none-eabi")
HOW_TO_GET_GCC = "apt-get install " + " ".join(DEBIAN_PACKAGES)

USUAL_PLACES = (
    "/usr/bin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
    "/opt/*arm-none-eabi*/bin",
    "/Applications/ArmGNUToolchain/*/arm-none-eabi/bin",
)
"""Folders looked into after PATH: where packages and Arm's own archives put the compiler."""

# The single-precision FPU is the part that every Cortex-M7 and M33 with an FPU has.
_FPV4 = ("-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
_FPV5 = ("-mfloat-abi=hard", "-mfpu=fpv5-sp-d16")
_SOFT = ("-mfloat-abi=soft",)

CORE_FLAGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cortex-m0": ("-mcpu=cortex-m0", *_SOFT),
        "cortex-m0plus": ("-mcpu=cortex-m0plus", *_SOFT),
        "cortex-m3": ("-mcpu=cortex-m3", *_SOFT),
        "cortex-m4": ("-mcpu=cortex-m4", *_SOFT),
        "cortex-m4f": ("-mcpu=cortex-m4", *_FPV4),
        "cortex-m7": ("-mcpu=cortex-m7", *_FPV5),
        "cortex-m33": ("-mcpu=cortex-m33", *_FPV5),
    }
)


@dataclass(frozen=True)
class ArmGcc:
    """An arm-none-eabi-gcc that was run and has newlib."""

    path: Path
    version: str


def find_gcc() -> ArmGcc:
    """The compiler named by $EBNN_ARM_GCC, else the first on PATH or in a usual place.

    Raises `UserError`, with the command that installs it, where there is none, it does not
    run, or it lacks newlib.
    """
    chosen = os.environ.get(GCC_VARIABLE)
    if chosen:
        path = shutil.which(chosen)
        if path is None:
            raise UserError(
                f"{GCC_VARIABLE}={chosen}: no such program; point it at {GCC_NAME} or unset it"
            )
        return _probe(Path(path))
    path = shutil.which(GCC_NAME) or _in_usual_places()
    if path is None:
        raise UserError(
            f"{GCC_NAME} not found on PATH nor in the usual places: {HOW_TO_GET_GCC}"
            f" (or `make setup`), or set {GCC_VARIABLE} to it"
        )
    return _probe(Path(path))


def core_flags(core: str) -> list[str]:
    """The compiler's and linker's flags that say which core the code is for."""
    try:
        return ["-mthumb", *CORE_FLAGS[core]]
    except KeyError:
        raise UserError(f"unknown core {core!r}: choose one of {', '.join(CORE_FLAGS)}") from None


def _in_usual_places() -> str | None:
    for place in USUAL_PLACES:
        for folder in sorted(Path("/").glob(place.lstrip("/"))):
            path = shutil.which(GCC_NAME, path=str(folder))
            if path is not None:
                return path
    return None


@functools.cache
def _probe(path: Path) -> ArmGcc:
    """Runs the compiler: its version, and whether it finds newlib's headers and specs."""
    version = _run(path, "-dumpfullversion")
    if version.returncode != 0 or not re.fullmatch(r"[\d.]+\s*", version.stdout):
        raise UserError(f"{path} does not answer as GCC does: {HOW_TO_GET_GCC}")
    # stdint.h is the compiler's own; only string.h and nano.specs prove that newlib is there.
    headers = "#include <stdint.h>\n#include <string.h>\n"
    if _run(path, "--specs=nano.specs", "-E", "-x", "c", "-", stdin=headers).returncode != 0:
        raise UserError(f"{path} has no newlib (the C library for bare metal): {HOW_TO_GET_GCC}")
    return ArmGcc(path, version.stdout.strip())


def _run(path: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [path, *arguments], input=stdin, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise UserError(
            f"{path} does not run ({error.strerror}): {HOW_TO_GET_GCC}, or set {GCC_VARIABLE}"
        ) from error
