"""The compiler's stack usage of a whole build, gathered into one file beside the ELF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath

from ebnn.sim.stack_usage import usage_path
from ebnn.toolchain.compiler import whole_or_nothing


def write_stack_usage(folder: Path, objects: Sequence[str], elf: Path) -> None:
    """Write `model.su` beside `model.elf` from what -fstack-usage left in `folder` for `objects`.

    GCC's format, sorted, and without the folders of this machine.
    """
    lines = set()
    for name in objects:
        path = (folder / name).with_suffix(".su")
        if path.is_file():  # GCC writes none for a source without functions
            lines |= {_without_folder(line) for line in path.read_text("utf-8").splitlines()}
    with whole_or_nothing(usage_path(elf)) as unfinished:
        unfinished.write_text("".join(f"{line}\n" for line in sorted(lines)), encoding="utf-8")


def _without_folder(line: str) -> str:
    place, separator, rest = line.partition("\t")
    return PurePath(place).name + separator + rest
