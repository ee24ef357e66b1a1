"""Regions between two places of the code, wherever they are: labels cost the firmware nothing.

`START..END` names two symbols; a plain NAME stands for the labels NAME_begin and NAME_end, as
toolchain/region.h sets them. A region counts from the arrival at its start to the arrival at its
end; arrivals at the start in between do not restart it.
"""

from __future__ import annotations

from typing import Any

from . import engine as stops
from .counting import Counting
from .elf import Elf
from .unicorn_library import BLOCK_CALLBACK, HOOK_CODE, Cpu

_SEPARATOR = ".."
_MOST_SAMPLES = 1 << 20


def marker_symbols(elf: Elf, name: str) -> tuple[str, str] | None:
    """The symbols that bound the region `name`; None where it is to be a function's span."""
    start, separator, end = name.partition(_SEPARATOR)
    if separator:
        return start, end
    labels = f"{name}_begin", f"{name}_end"
    if name not in elf.symbols and all(label in elf.symbols for label in labels):
        return labels
    return None


class MarkedRegion:
    """Measures every span from `start` to `end`, addresses of instructions.

    Hooks two instructions: only before they have run for the first time.
    """

    def __init__(self, cpu: Cpu, counting: Counting, start: int, end: int) -> None:
        self._counting = counting
        self.count = 0
        self.samples: list[tuple[int, int]] = []  # cycles and instructions
        self.last: tuple[int, int] | None = None
        self._opened: tuple[int, int] | None = None
        self._rest: dict[tuple[int, int], tuple[int, int]] = {}
        for address, arrive in ((start, self._begin), (end, self._finish)):
            cpu.hook(HOOK_CODE, BLOCK_CALLBACK(self._hook(arrive)), None, address, address)

    def _hook(self, arrive: Any) -> Any:
        def call(_uc: Any, address: int, _size: int, _user: Any) -> None:
            try:
                if self._counting.state.stop == stops.STOP_NONE:
                    arrive(*self._now(address))
            except BaseException as error:  # nothing may pass through Unicorn's frames
                self._counting.engine.failure = error

        return call

    def _now(self, pc: int) -> tuple[int, int]:
        """Cycles and instructions up to, and without, the instruction at `pc`: the engine has
        counted the whole block that holds it."""
        counting = self._counting
        key = counting.engine.current(), pc
        rest = self._rest.get(key)
        if rest is None:
            block = counting.current_block()
            assert block is not None
            behind = sum(one.address >= pc for one in block.instructions)
            # From its first instruction on a block is counted whole, as for functions.
            cycles = int(counting.engine.block(key[0]).cycles)
            if pc != block.address:
                cycles -= block.cycles_before(counting.core, counting.timing, pc)
            rest = self._rest[key] = cycles, behind
        return counting.cycles - rest[0], counting.instructions - rest[1]

    def _begin(self, cycles: int, instructions: int) -> None:
        if self._opened is None:
            self._opened = cycles, instructions

    def _finish(self, cycles: int, instructions: int) -> None:
        if self._opened is None:
            return
        self.last = cycles - self._opened[0], instructions - self._opened[1]
        self._opened = None
        self.count += 1
        if len(self.samples) < _MOST_SAMPLES:
            self.samples.append(self.last)
