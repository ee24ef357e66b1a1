"""Taking exceptions and returning from them: stacking, vectors, EXC_RETURN (ARMv7-M ARM B1.5)."""

from __future__ import annotations

import struct
from collections.abc import Callable

from . import unicorn_library as uc
from .core import Core
from .counting import Counting
from .exceptions import NMI, Exceptions, exception_name
from .peripherals import (
    CCR,
    CCR_STKALIGN,
    FPCAR,
    FPCCR,
    FPCCR_ASPEN,
    FPCCR_LSPACT,
    FPCCR_LSPEN,
    VTOR,
)

EXCEPTION = "exception"  # the cause of stalls
BASIC_FRAME_BYTES, _EXTENDED_FRAME_BYTES = 0x20, 0x68
_SPSEL, _FPCA = 2, 4
_XPSR_FRAME_ALIGNED = 1 << 9
_XPSR_IT, _XPSR_T, _CPSR_T = 0x0600FC00, 1 << 24, 1 << 5
_XPSR_IN_CPSR = 0xF80F0000 | _XPSR_IT  # the flags, GE and the IT state lie at the same bits
_RETURN_TO_THREAD, _RETURN_TO_PSP, _RETURN_BASIC_FRAME = 1 << 3, 1 << 2, 1 << 4
_XPSR_EXCEPTION = 0x1FF
_FRAME = struct.Struct("<8I")
_FPU_CONTEXT = struct.Struct("<17I")  # s0 to s15, FPSCR
_FRAME_REGISTERS = (*range(uc.REG_R0, uc.REG_R0 + 4), uc.REG_R0 + 12, uc.REG_LR)


class InvalidReturn(Exception):
    """The value or the frame that a handler returned with is not a possible one."""


class ExceptionEntry:
    """Moves the core between thread code and handlers, and charges the cycles.

    Args:
        words: the stored registers of the private peripheral bus.
        vector_table: where it is until VTOR is written.
        is_memory: whether so many bytes at an address are memory of the board.
    """

    def __init__(
        self,
        cpu: uc.Cpu,
        core: Core,
        exceptions: Exceptions,
        counting: Counting,
        words: dict[int, int],
        is_memory: Callable[[int, int, bool], bool],
    ) -> None:
        self.vector_table = 0
        self._cpu = cpu
        self._core = core
        self._exceptions = exceptions
        self._counting = counting
        self._words = words
        self._is_memory = is_memory
        self._is_armv6m = core.architecture == "armv6-m"
        self._cpsr = cpu.register(uc.REG_CPSR) & ~_XPSR_IN_CPSR | _CPSR_T  # what never changes
        self._interrupted = uc.RegisterSet(
            cpu, (*_FRAME_REGISTERS, uc.REG_SP, uc.REG_XPSR, uc.REG_CONTROL)
        )
        # SPSEL and FPCA are cleared while still in thread mode. Unicorn works out the mode anew
        # only when CPSR is written.
        mode = uc.REG_XPSR_ALL, uc.REG_CPSR
        self._entered = uc.RegisterSet(cpu, (uc.REG_SP, uc.REG_CONTROL, *mode, uc.REG_LR))
        self._fpu = uc.RegisterSet(cpu, (*range(uc.REG_S0, uc.REG_S0 + 16), uc.REG_FPSCR))
        self._stacks = uc.RegisterSet(cpu, (uc.REG_MSP, uc.REG_PSP))
        self._returned = uc.RegisterSet(
            cpu, (uc.REG_MSP, uc.REG_PSP, *mode, uc.REG_CONTROL, *_FRAME_REGISTERS)
        )

    def handler(self, number: int) -> int:
        """What the vector table holds for `number`.

        Raises:
            ValueError: not the address of a handler; the message says what it is.
        """
        table = self.vector_table
        if self._words.get(VTOR) and self._core.name != "cortex-m0":
            table = self._words[VTOR] & ~0x7F
        at = table + 4 * number
        if not self._is_memory(at, 4, True):
            raise ValueError(f"the vector table at {table:#010x} is not in memory")
        vector = int.from_bytes(self._cpu.read(at, 4), "little")
        if not vector & 1 or not self._is_memory(vector & ~1, 2, True):
            raise ValueError(f"its vector at {at:#010x} holds {vector:#010x}, no Thumb code")
        return vector & ~1

    def enter(
        self,
        number: int,
        handler: int,
        return_address: int,
        check_frame: Callable[[int, int], None],
    ) -> None:
        """Stack the frame and make `number` active; the caller goes on at `handler`.

        `check_frame` raises where so many bytes at an address can be no frame.
        """
        *words, sp, xpsr, control = self._interrupted.read()
        fpccr = self._words.get(FPCCR, 0)
        extended = self._core.has_fpu and bool(control & _FPCA and fpccr & FPCCR_ASPEN)
        frame_bytes = _EXTENDED_FRAME_BYTES if extended else BASIC_FRAME_BYTES
        aligns = self._is_armv6m or extended or self._words.get(CCR, 0) & CCR_STKALIGN
        address = sp - frame_bytes & (0xFFFFFFF8 if aligns else 0xFFFFFFFC)
        check_frame(address, frame_bytes)
        is_thread = xpsr & _XPSR_EXCEPTION == 0
        uses_psp = is_thread and bool(control & _SPSEL)
        xpsr &= ~_XPSR_FRAME_ALIGNED
        words += [return_address, xpsr | (_XPSR_FRAME_ALIGNED if aligns and sp & 4 else 0)]
        self._cpu.write(address, _FRAME.pack(*words))
        cycles = self._core.timing.exception_entry
        if extended:
            self._words[FPCAR] = address + BASIC_FRAME_BYTES
            if fpccr & FPCCR_LSPEN:
                self._words[FPCCR] = fpccr | FPCCR_LSPACT
            else:
                self._store_fpu()
                cycles += self._core.timing.exception_fpu
        self._entered.write(
            address,
            0,
            *self._mode(number, xpsr & ~_XPSR_IT),
            self._exc_return(is_thread, uses_psp, extended),
        )
        self._activate(number)
        self._counting.add(EXCEPTION, cycles, return_address)

    def chain(self, number: int, exc_return: int, pc: int) -> None:
        """Go from the handler that ends at `pc` to the next without unstacking (tail-chaining)."""
        cpu = self._cpu
        mode = self._mode(number, cpu.register(uc.REG_XPSR) & ~_XPSR_IT)
        self._entered.write(cpu.register(uc.REG_SP), 0, *mode, exc_return)
        self._activate(number)
        self._counting.add(EXCEPTION, self._core.timing.tail_chain, pc)

    def leave(self) -> int:
        """The exception that runs is done: no longer active; its number."""
        exceptions = self._exceptions
        number = self._cpu.register(uc.REG_IPSR)
        if number not in exceptions.active:
            raise InvalidReturn(f"{exception_name(number)} is not active")
        exceptions.active.discard(number)
        if number != NMI:
            exceptions.faultmask = 0
        exceptions.event = True
        return number

    def unstack(self, exc_return: int, pc: int) -> int:
        """The handler ends at `pc`: restore what the frame holds; the address to go on at.

        Raises:
            InvalidReturn: such a return cannot be; the state is that of before.
        """
        to_thread = bool(exc_return & _RETURN_TO_THREAD)
        from_psp = bool(exc_return & _RETURN_TO_PSP)
        extended = self._core.has_fpu and not exc_return & _RETURN_BASIC_FRAME
        if exc_return >> 4 & 0xF not in self._return_kinds() or (from_psp and not to_thread):
            raise InvalidReturn(f"EXC_RETURN is {exc_return:#010x}")
        if to_thread and self._exceptions.active:
            raise InvalidReturn("a return to thread mode while another exception is active")
        if not to_thread and not self._exceptions.active:
            raise InvalidReturn("a return to handler mode while no exception is active")
        msp, psp = self._stacks.read()
        address = (psp if from_psp else msp) & ~3
        frame_bytes = _EXTENDED_FRAME_BYTES if extended else BASIC_FRAME_BYTES
        if not self._is_memory(address, frame_bytes, True):
            raise InvalidReturn(f"the frame at {address:#010x} is not in memory")
        *words, return_address, xpsr = _FRAME.unpack(self._cpu.read(address, BASIC_FRAME_BYTES))
        if to_thread != (xpsr & _XPSR_EXCEPTION == 0):
            raise InvalidReturn(f"the frame's xPSR {xpsr:#010x} is for the other mode")
        cycles = self._core.timing.exception_return
        if extended:
            if self._words[FPCCR] & FPCCR_LSPACT:
                self._words[FPCCR] &= ~FPCCR_LSPACT
            else:
                self._load_fpu(address + BASIC_FRAME_BYTES)
                cycles += self._core.timing.exception_fpu
        sp = address + frame_bytes
        if xpsr & _XPSR_FRAME_ALIGNED:
            sp |= 4
        msp, psp = (msp, sp) if from_psp else (sp, psp)
        control = (_SPSEL if from_psp else 0) | (_FPCA if extended else 0)
        mode = self._mode(xpsr & _XPSR_EXCEPTION, xpsr)
        self._returned.write(msp, psp, *mode, control, *words)
        self._counting.add(EXCEPTION, cycles, pc)
        return int(return_address) & ~1

    def save_fpu_lazily(self, pc: int) -> None:
        """The handler uses the FPU at `pc`: only now is the interrupted code's context stored."""
        self._store_fpu()
        self._words[FPCCR] &= ~FPCCR_LSPACT
        self._counting.add(EXCEPTION, self._core.timing.exception_fpu, pc)

    @property
    def fpu_is_unsaved(self) -> bool:
        """Whether room for a floating-point context is reserved but not filled (FPCCR.LSPACT)."""
        return bool(self._words.get(FPCCR, 0) & FPCCR_LSPACT)

    def _activate(self, number: int) -> None:
        self._exceptions.pending.discard(number)
        self._exceptions.active.add(number)
        self._exceptions.event = True

    def _mode(self, number: int, xpsr: int) -> tuple[int, int]:
        """xPSR and CPSR for Unicorn, with the flags and IT state of `xpsr`."""
        xpsr = xpsr & ~_XPSR_EXCEPTION | _XPSR_T | number
        return xpsr, self._cpsr | xpsr & _XPSR_IN_CPSR

    def _exc_return(self, is_thread: bool, uses_psp: bool, extended: bool) -> int:
        value = 0xFFFFFFE1
        if self._core.architecture == "armv8-m.main":  # without the security extension
            value = 0xFFFFFFA0
        value |= _RETURN_TO_THREAD if is_thread else 0
        value |= _RETURN_TO_PSP if uses_psp else 0
        return value | (0 if extended else _RETURN_BASIC_FRAME)

    def _return_kinds(self) -> tuple[int, ...]:
        """Bits 7 to 4 that EXC_RETURN may have."""
        if self._core.architecture == "armv8-m.main":
            return (0xA, 0xB, 0xE, 0xF)
        return (0xE, 0xF) if self._core.has_fpu else (0xF,)

    def _store_fpu(self) -> None:
        self._cpu.write(self._words[FPCAR], _FPU_CONTEXT.pack(*self._fpu.read()))

    def _load_fpu(self, address: int) -> None:
        self._fpu.write(*_FPU_CONTEXT.unpack(self._cpu.read(address, _FPU_CONTEXT.size)))
