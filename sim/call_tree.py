"""The calling-context tree of a profiled run: which functions ran, called through whom.

Followed while the firmware runs, by `call_tree.c` or `call_tree_python.py`; the rules are
explained there.
"""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from .elf import Elf, Symbol
from .errors import printable

NO_FUNCTION = 0
NO_CODE = 0xFFFFFFFF
OVERFLOW = 1
"""Index of the node that what has too long a chain of callers hangs from."""
MAX_NODES = 1 << 14
MAX_NODE_DEPTH = 128
MAX_OPEN_CALLS = 1 << 20


@dataclass(frozen=True)
class CallNode:
    """A function as called through one chain of callers; node 0, the root, is the outside.

    `function` is a number in the `FunctionTable`, or `NO_FUNCTION`; `cycles` are its own.
    """

    parent: int
    function: int
    address: int
    calls: int
    cycles: int


class CallTree(Protocol):
    """What follows calls beside an engine."""

    def enter(self, interrupts: bool) -> int:
        """Code is entered from outside: a call by Python, or an exception, which interrupts what
        runs. The number that `leave` needs."""
        ...

    def leave(self, depth: int) -> None:
        """It has ended; what `enter` came upon goes on."""
        ...

    def nodes(self, cycles: int) -> list[CallNode]:
        """Every node so far, parents first, when the run's count stands at `cycles`."""
        ...


class FunctionTable:
    """Functions as profiles know them, numbered from 1: sorted ranges that do not overlap.

    Labels without a type inside of a function that has one and a size belong to that function.
    """

    def __init__(self, elf: Elf) -> None:
        functions: list[Symbol] = []
        typed_end = 0
        for symbol in elf.functions:
            if functions and symbol.address == functions[-1].address:
                continue  # another name of the same code
            if symbol.is_function and symbol.size_bytes:
                typed_end = max(typed_end, symbol.address + symbol.size_bytes)
            elif not symbol.is_function and symbol.address < typed_end:
                continue
            functions.append(symbol)
        limits = [(s.address, s.end) for s in elf.sections if s.executable]
        count = Counter(symbol.name for symbol in functions)
        self.names = [
            "",
            *(
                printable(one.name) + (f"@{one.address:#x}" if count[one.name] > 1 else "")
                for one in functions
            ),
        ]
        self._starts = [symbol.address for symbol in functions]
        self.ranges: list[tuple[int, int]] = []
        for index, symbol in enumerate(functions):
            following = functions[index + 1].address if index + 1 < len(functions) else 1 << 32
            section_end = next((e for s, e in limits if s <= symbol.address < e), 0xFFFFFFFF)
            end = symbol.address + symbol.size_bytes if symbol.size_bytes else section_end
            self.ranges.append((symbol.address, min(end, following, 0xFFFFFFFF)))

    def number_at(self, address: int) -> int:
        """Number of the function whose code holds `address`, or `NO_FUNCTION`."""
        number = bisect.bisect_right(self._starts, address)
        if number and address < self.ranges[number - 1][1]:
            return number
        return NO_FUNCTION

    def name(self, function: int, address: int) -> str:
        """What to call a function; one without a symbol after the address that it begins at."""
        return self.names[function] if function else f"{address:#010x}"
