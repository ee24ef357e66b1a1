"""The most stack that firmware can take from reset on, without running it.

Each function's frame comes from the compiler (`stack_usage.py`) or, where it has not said, from the
code (`stack_frames.py`); who calls whom always comes from the code. Exceptions are left out: what a
handler takes comes on top.
"""

from __future__ import annotations

from dataclasses import dataclass

from .elf import Elf
from .stack_frames import Call, StackFrames
from .stack_usage import StackUsage, usage_of

_DEEPEST_CALLS = 400
_MOST_REASONS = 20
_VECTORS = 16


@dataclass(frozen=True)
class BoundFrame:
    """A function of the deepest chain; `source` is `compiler` or `code`."""

    function: str
    frame_bytes: int
    source: str


@dataclass(frozen=True)
class StackBound:
    """`total_bytes`, in steps of 8 as the peak is, is None where `unknown` says why."""

    total_bytes: int | None
    chain: tuple[BoundFrame, ...]
    unknown: tuple[str, ...]


def stack_bound(
    elf: Elf, frames: StackFrames, usage: dict[str, StackUsage], start: int, vector_table: int
) -> StackBound:
    """The bound from the function at `start` on."""
    search = _Search(elf, frames, usage, vector_table)
    chain = search.deepest(start)
    search.judge_register_calls()
    unknown = tuple(dict.fromkeys(search.unknown))[:_MOST_REASONS]
    if unknown:
        return StackBound(None, (), unknown)
    return StackBound(_total(chain) + 7 & ~7, chain, ())


class _Search:
    def __init__(
        self, elf: Elf, frames: StackFrames, usage: dict[str, StackUsage], vector_table: int
    ) -> None:
        self._elf = elf
        self._frames = frames
        self._usage = usage
        self._starts = {function.address for function in elf.functions}
        self._vector_table = vector_table
        self._register_calls: list[str] = []
        self._constants: set[int] = set()
        self._known: dict[int, tuple[BoundFrame, ...]] = {}
        self._open: list[int] = []
        self.unknown: list[str] = []

    def deepest(self, start: int) -> tuple[BoundFrame, ...]:
        """Frames of the deepest chain from `start` on; `unknown` gathers what stands against it."""
        known = self._known.get(start)
        if known is not None:
            return known
        if start in self._open:
            cycle = [*self._open[self._open.index(start) :], start]
            self.unknown.append("recursion: " + " > ".join(self._name(at) for at in cycle))
            return ()
        if self._elf.function_at(start) is None:
            caller = f"{self._name(self._open[-1])} calls" if self._open else "reset leads to"
            self.unknown.append(f"{caller} {start:#010x}, which is in no function")
            return ()
        if len(self._open) == _DEEPEST_CALLS:
            self.unknown.append(f"more than {_DEEPEST_CALLS} calls inside each other")
            return ()
        self._open.append(start)
        own = self._frame(start)
        deepest: tuple[BoundFrame, ...] = (own,)
        self._constants |= self._frames.function(start).constants
        for call in self._frames.function(start).calls:
            below = self._below(call, own)
            if _total(below) > _total(deepest):
                deepest = below
        self._open.pop()
        self._known[start] = deepest
        return deepest

    def _below(self, call: Call, own: BoundFrame) -> tuple[BoundFrame, ...]:
        """The chain through one call. A tail call leaves only what it has not given back."""
        if call.target is None:
            self._register_calls.append(own.function)
            return (own,)
        held = own
        if call.is_tail and call.depth_bytes is not None:
            held = BoundFrame(own.function, call.depth_bytes, own.source)
        return (held, *self.deepest(call.target))

    def judge_register_calls(self) -> None:
        """They lead nowhere where no function's address is anywhere to be loaded: start-up code's
        loop over constructors, when there are none."""
        if self._register_calls and (
            any(constant - 1 in self._starts for constant in self._constants)
            or _has_function_pointers(self._elf, self._starts, self._vector_table)
        ):
            self.unknown += [f"{name} calls through a register" for name in self._register_calls]

    def _frame(self, start: int) -> BoundFrame:
        name = self._name(start)
        walked = self._frames.function(start)
        if not walked.complete:
            self.unknown.append(f"{name}: too much code to follow")
        said = usage_of(name, self._usage)
        if said is not None and (walked.unknown_depth or walked.deepest_bytes <= said.frame_bytes):
            if not said.is_bounded:
                self.unknown.append(f"{name} takes stack by an amount known only when it runs")
            return BoundFrame(name, said.frame_bytes, "compiler")
        if walked.unknown_depth:
            self.unknown.append(f"{name} sets SP to a value known only when it runs")
        return BoundFrame(name, walked.deepest_bytes, "code")

    def _name(self, address: int) -> str:
        function = self._elf.function_at(address)
        return function.name if function else f"{address:#010x}"


def _total(chain: tuple[BoundFrame, ...]) -> int:
    return sum(frame.frame_bytes for frame in chain)


def _has_function_pointers(elf: Elf, starts: set[int], vector_table: int) -> bool:
    """Whether any word of the image, but for the vector table, is the address of a function."""
    section = next((s for s in elf.sections if s.address == vector_table), None)
    of_its_own = section is not None and not section.executable
    table_end = section.end if section and of_its_own else vector_table + 4 * _VECTORS
    table = range(vector_table, table_end)
    for segment in elf.segments:
        data = segment.data
        for offset in range(-segment.load_address % 4, len(data) - 3, 4):
            if data[offset] & 1 and segment.load_address + offset not in table:
                word = int.from_bytes(data[offset : offset + 4], "little")
                if word - 1 in starts:
                    return True
    return False
