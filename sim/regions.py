"""Regions of the code whose activations are measured: functions, and spans between two symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import engine as stops
from . import unicorn_library as uc
from .counting import Counting
from .elf import Elf, Symbol
from .errors import UserError
from .record import RegionRun, spread

if TYPE_CHECKING:
    from .markers import MarkedRegion


class Regions:
    """What `--region` names, counted by the engine (functions) or by `MarkedRegion` (spans)."""

    def __init__(self, elf: Elf, cpu: uc.Cpu, counting: Counting) -> None:
        self._elf = elf
        self._cpu = cpu
        self._counting = counting
        self._engine = counting.engine
        self._functions: dict[str, int] = {}
        self._marked: dict[str, MarkedRegion] = {}

    def watch(self, name: str) -> None:
        """Measure the activations of function `name` from now on; unknown names are ignored.

        `START..END` is the region from one symbol to another, and `name` the one between the
        labels `name_begin` and `name_end` (markers.py). Only before the code has run for the
        first time.
        """
        symbols = self._elf.symbols
        if ".." not in name and (name in symbols or f"{name}_begin" not in symbols):
            if name in symbols:
                self._watch_function(name, symbols[name])
            return
        from .markers import MarkedRegion, marker_symbols

        markers = marker_symbols(self._elf, name)
        if markers is None or name in self._marked or any(m not in symbols for m in markers):
            return
        start, end = (symbols[marker].address & ~1 for marker in markers)
        self._marked[name] = MarkedRegion(self._cpu, self._counting, start, end)

    def _watch_function(self, name: str, symbol: Symbol) -> None:
        if name in self._functions:
            return
        index = self._engine.add_function(stops.FUNCTION_REGION)
        self._functions[name] = index
        self._counting.costs.entries[symbol.address & ~1] = index

    def require(self, name: str) -> None:
        """`UserError` where the image has no such function, or not both markers."""
        from .markers import marker_symbols

        for symbol in marker_symbols(self._elf, name) or (name,):
            self._elf.symbol(symbol)

    def last(self, name: str) -> RegionRun:
        """The last activation of a watched region; `UserError` before it ever returned."""
        marked = self._marked.get(name)
        if marked is not None and marked.last is not None:
            return RegionRun(*marked.last)
        index = self._functions.get(name)
        function = None if index is None else self._engine.function(index)
        if function is None or not function.count:
            raise UserError(f"{self._elf.path}: the region {name!r} has not run")
        return RegionRun(function.last_cycles, function.last_instructions)

    def runs(self, name: str) -> list[RegionRun]:
        """Every activation of a watched function in the order in which they returned, as long as
        the engine keeps them (a million)."""
        index = self._functions.get(name)
        samples = [] if index is None else self._engine.samples(index)
        return [RegionRun(cycles, instructions) for cycles, instructions in samples]

    def records(self) -> dict[str, dict[str, Any]]:
        """The run record's `regions`: those that have returned at least once."""
        found = {}
        for name, index in self._functions.items():
            samples = self._engine.samples(index)
            if samples:
                found[name] = _region_record(int(self._engine.function(index).count), samples)
        for name, marked in self._marked.items():
            if marked.samples:
                found[name] = _region_record(marked.count, marked.samples)
        return found


def _region_record(count: int, samples: list[tuple[int, int]]) -> dict[str, Any]:
    return {
        "count": count,
        "cycles": spread([cycles for cycles, _ in samples]),
        "instructions": spread([instructions for _, instructions in samples]),
    }
