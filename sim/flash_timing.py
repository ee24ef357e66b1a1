"""Flash that is slower than the core: what a board says of it, and the model of it in Python.

The model is flash.c's, line by line; the native engine runs that one.
"""

from __future__ import annotations

from dataclasses import dataclass

_NO_LINE = 0xFFFFFFFF


@dataclass(frozen=True)
class FlashTiming:
    """How a board's flash feeds the core at the board's clock.

    Attributes:
        wait_states: cycles beyond one that a read takes.
        line_bytes: what one read brings: the flash's width. The line that code was fetched from
            last stays in a buffer.
        prefetch: the next line is read while this one runs.
        instruction_cache_lines, instruction_cache_ways: lines of code that are kept, the least
            recently used of a set giving way; 1 where there is only the buffer.
        data_cache_lines, data_cache_ways: the same for loads from flash; no lines where data goes
            through the instruction cache.
    """

    wait_states: int
    line_bytes: int = 4
    prefetch: bool = False
    instruction_cache_lines: int = 1
    instruction_cache_ways: int = 1
    data_cache_lines: int = 1
    data_cache_ways: int = 1

    def line(self, offset: int) -> int:
        """Number of the line that holds the byte `offset` bytes into the flash."""
        return offset // self.line_bytes


NO_WAIT_STATES = FlashTiming(0)


class _Cache:
    def __init__(self, lines: int, ways: int) -> None:
        self._ways = ways
        self._sets = lines // ways
        self._line = [_NO_LINE] * lines
        self._used = [0] * lines
        self._where: dict[int, int] = {}
        self._clock = 0

    def __contains__(self, line: int) -> bool:
        return line in self._where

    def is_held(self, line: int) -> bool:
        slot = self._where.get(line)
        if slot is None:
            return False
        self._clock += 1
        self._used[slot] = self._clock
        return True

    def hold(self, line: int) -> None:
        first = line % self._sets * self._ways
        oldest = min(range(first, first + self._ways), key=lambda slot: self._used[slot])
        if self._line[oldest] != _NO_LINE:
            del self._where[self._line[oldest]]
        self._clock += 1
        self._line[oldest], self._used[oldest] = line, self._clock
        self._where[line] = oldest


class Flash:
    """State of a flash with wait states during a run; all times are cycles of the core."""

    def __init__(self, address: int, size_bytes: int, timing: FlashTiming) -> None:
        self.address, self.end = address, address + size_bytes
        self._timing = timing
        self._lines = size_bytes // timing.line_bytes
        self.current = self._prefetched = _NO_LINE
        self._prefetched_at = 0
        self._instruction = _Cache(timing.instruction_cache_lines, timing.instruction_cache_ways)
        self._data = (
            _Cache(timing.data_cache_lines, timing.data_cache_ways)
            if timing.data_cache_lines
            else self._instruction
        )

    def fetch(self, line: int, now: int) -> int:
        """Wait states of fetching code from `line`, which is not the current one."""
        ready = now
        self.current = line
        if not self._instruction.is_held(line):
            began = self._prefetched_at + 1 if self._prefetched == line else now
            ready = max(now, began + self._timing.wait_states)
            self._instruction.hold(line)
        if self._timing.prefetch and self._prefetched != line + 1:
            self._prefetched = _NO_LINE
            if line + 1 < self._lines and line + 1 not in self._instruction:
                self._prefetched, self._prefetched_at = line + 1, ready
        return ready - now

    def load(self, address: int, size_bytes: int) -> int:
        """Wait states of loading data."""
        waited = 0
        last = self._timing.line(address + size_bytes - 1 - self.address)
        for line in range(self._timing.line(address - self.address), last + 1):
            if not self._data.is_held(line):
                self._data.hold(line)
                waited += self._timing.wait_states
        return waited
