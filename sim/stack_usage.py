"""What the compiler says of each function's stack: the file that -fstack-usage leaves, `*.su`.

Each line is `file:line:column:function`, bytes and qualifier, separated by tabs (GCC manual,
"Static Stack Usage Analysis"). The qualifier is `static`, `dynamic` (an alloca: no bound) or
`dynamic,bounded`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError

_LARGEST_FILE_BYTES = 16 << 20
_QUALIFIERS = ("static", "dynamic", "dynamic,bounded")
_CLONE_NUMBER = re.compile(r"\.\d+$")


@dataclass(frozen=True)
class StackUsage:
    """Bytes of one function's frame; `is_bounded` is False where they are only the least."""

    frame_bytes: int
    is_bounded: bool


def usage_path(elf_path: Path) -> Path:
    """Where the stack usage of an image's functions lies: `model.su` for `model.elf`."""
    return elf_path.with_suffix(".su")


def read_usage(elf_path: Path) -> dict[str, StackUsage] | None:
    """By function; None where there is no such file. `UserError` where it is not what GCC writes.

    Of equal names, as two files' static functions may have, the larger counts.
    """
    path = usage_path(elf_path)
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    found: dict[str, StackUsage] = {}
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split("\t")
        if len(fields) != 3 or not fields[1].isdecimal() or fields[2] not in _QUALIFIERS:
            raise UserError(f"{path}:{number}: not a line of GCC's -fstack-usage: build again")
        name = fields[0].rsplit(":", 1)[-1]
        usage = StackUsage(int(fields[1]), fields[2] != "dynamic")
        known = found.get(name)
        if known is None or (usage.is_bounded, -usage.frame_bytes) < (
            known.is_bounded,
            -known.frame_bytes,
        ):
            found[name] = usage
    return found


def usage_of(function: str, usage: dict[str, StackUsage]) -> StackUsage | None:
    """Of a symbol: GCC leaves the number of a clone out, `f.constprop` is `f.constprop.0`."""
    return usage.get(function) or usage.get(_CLONE_NUMBER.sub("", function))
