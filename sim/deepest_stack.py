"""Keeps the moment at which the stack was deepest, for the call chain that led there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from . import unicorn_library as uc
from .elf import Elf
from .stack_capture import MOST_STACK_BYTES, Capture, ChainFrame, Context

if TYPE_CHECKING:
    from .stack_frames import StackFrames

_SAVED = range(4, 12)  # r4 to r11, which a function keeps for its caller


class DeepestStack:
    """Listens to an engine with this `state`; calls from outside return to `return_page`.

    Capturing is rare and cheap: SP reaches a new lowest value only so often.
    """

    def __init__(self, cpu: uc.Cpu, elf: Elf, state: Any, return_page: int) -> None:
        self._cpu = cpu
        self._read_registers = cpu.registers_reader(
            [uc.REG_SP, uc.REG_LR, *(uc.REG_R0 + number for number in _SAVED)]
        )
        self._elf = elf
        self._state = state
        self._return_page = return_page
        self._capture: Capture | None = None
        self._caller: Context | None = None
        self._chain: tuple[Capture, list[ChainFrame]] | None = None

    @cached_property
    def frames(self) -> StackFrames:
        """Frame sizes of the image's functions."""
        from .stack_frames import StackFrames  # only for a record: it takes a while to load

        return StackFrames(self._elf, self.read_or_zeros)

    def on_deeper(self, address: int) -> None:
        """Engine: the code at `address` is about to take SP to a new `state.lowest_sp`."""
        context = self.context(address)
        self._capture = Capture(context, int(self._state.lowest_sp), self._stack(context.sp))

    def _stack(self, sp: int) -> bytes:
        size_bytes = max(0, min(int(self._state.stack_top) - sp, MOST_STACK_BYTES))
        return self.read_or_zeros(sp, size_bytes) if size_bytes else b""

    @contextmanager
    def call_from_outside(self, outside: Context) -> Iterator[None]:
        """Around a call from outside, while the firmware itself stands at `outside`."""
        lowest_sp = int(self._state.lowest_sp)
        try:
            yield
        finally:
            if self._state.lowest_sp != lowest_sp:
                self._caller = outside

    def chain(self) -> list[ChainFrame]:
        """The functions on the stack at its peak, the outermost first, and what each held of it.

        Their bytes sum up to the lowest SP; what could not be unwound has no function.
        """
        if self._capture is None:
            return []
        if self._chain is None or self._chain[0] is not self._capture:
            self._chain = self._capture, self._unwind(self._capture)
        return self._chain[1]

    def chain_now(self, pc: int) -> list[ChainFrame]:
        """Likewise, of the functions that are on the stack now, about to go on at `pc`."""
        context = self.context(pc)
        return self._unwind(Capture(context, context.sp, self._stack(context.sp)))

    def _unwind(self, capture: Capture) -> list[ChainFrame]:
        from .call_chain import unwind

        return unwind(
            capture,
            int(self._state.stack_top),
            self._elf,
            self.frames,
            self.read_or_zeros,
            lambda address: self._caller if address == self._return_page else None,
        )

    def context(self, pc: int) -> Context:
        """Where the firmware stands, about to go on at `pc`."""
        sp, lr, *saved = self._read_registers()
        return Context(pc, sp, lr, dict(zip(_SAVED, saved, strict=True)))

    def read_or_zeros(self, address: int, size_bytes: int) -> bytes:
        """Memory as the core sees it; zeros where there is none."""
        try:
            return self._cpu.read(address & 0xFFFFFFFF, size_bytes)
        except uc.UnicornError:
            return bytes(size_bytes)
