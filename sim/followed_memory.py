"""The accesses of a machine that was asked to follow them: touched bytes, uninitialized reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import engine as stops
from . import unicorn_library as uc
from .board import Board
from .counting import Counting
from .elf import Elf
from .engine_native import find_library
from .errors import UserError
from .faults import Fault, Place
from .memory_use import static_end
from .memory_watch import KNOWN, WRITTEN, MemoryWatch
from .thumb_targets import Read
from .touched import touched
from .uninitialized import UninitializedRead, UninitializedReads

MODES = ("warn", "error")


class FollowedMemory:
    """Follows every access from before the first instruction on; much slower than not to.

    `mode` is None, or one of `MODES`: what loads of never-written RAM are. An error goes to
    `refuse`, and the run stops.
    """

    def __init__(
        self,
        cpu: uc.Cpu,
        elf: Elf,
        board: Board,
        counting: Counting,
        mode: str | None,
        read: Read,
        place_of: Callable[[int], Place],
        refuse: Callable[[Fault], None],
    ) -> None:
        if mode is not None and mode not in MODES:
            raise UserError(f"--uninitialized {mode!r}: choose {' or '.join(MODES)}")
        self._cpu = cpu
        self._elf = elf
        self._board = board
        self._counting = counting
        self._mode = mode
        self._refuse = refuse
        self._static_end = static_end(elf, board)
        self._objects = sorted(
            (one for one in (*elf.symbols.values(), *elf.namesakes) if one.size_bytes),
            key=lambda one: one.address,
        )
        self._reads = UninitializedReads(cpu, elf, read, place_of, self.name_of, self._found)
        self.watch = MemoryWatch(
            cpu,
            board,
            find_library() if counting.engine.name == "native" else None,
            self._failed,
            self._reads.unknown if mode else None,
            self._reads.stored,
        )
        self._reads.watch = self.watch
        cpu.on_host_write = lambda address, size: self.watch.mark(address, size, KNOWN)

    def _failed(self, error: BaseException) -> None:
        self._counting.engine.failure = error
        self._stop()

    def _found(self, report: UninitializedRead) -> None:
        if self._mode == "error":
            self._refuse(report.fault())
            self._stop()

    def _stop(self) -> None:
        if self._counting.state.stop == stops.STOP_NONE:
            self._counting.state.stop = stops.STOP_DECODE  # no further block runs
        self._cpu.stop()

    @property
    def uninitialized(self) -> list[UninitializedRead]:
        """In the order in which the run came to them."""
        return list(self._reads.reports.values())

    def stored_by_core(self, address: int, size_bytes: int) -> None:
        """The core itself stored there: an exception's frame."""
        self.watch.mark(address, size_bytes, WRITTEN)

    def touched(self, ram_end: int) -> dict[str, Any]:
        """See `touched.touched`."""
        engine = self._counting.engine
        executed = [
            (block.address, block.instructions[-1].end - block.address)
            for index, block in enumerate(self._counting.costs.blocks)
            if engine.block(index).count
        ]
        return touched(self._elf, self._board, ram_end, self.watch, executed)

    def name_of(self, address: int) -> str:
        """The variable at `address`, or what that part of RAM is for."""
        for one in self._objects:
            if one.address <= address < one.address + one.size_bytes:
                offset = address - one.address
                return f"{one.name}+{offset}" if offset else one.name
        ram = self._board.ram
        if not ram.address <= address < ram.end:
            return "no variable's"
        if address < self._static_end:
            return "static data"
        return "heap" if address < self._counting.state.heap_break else "stack"
