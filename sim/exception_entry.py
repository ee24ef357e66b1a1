"""Taking exceptions and returning from them: stacking, vectors, EXC_RETURN (ARMv7-M ARM B1.5)."""

from __future__ import annotations

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
_BASIC_FRAME_BYTES, _EXTENDED_FRAME_BYTES = 0x20, 0x68
_SPSEL, _FPCA = 2, 4
_XPSR_FRAME_ALIGNED = 1 << 9
_XPSR_IT, _XPSR_T = 0x0600FC00, 1 << 24
_RETURN_TO_THREAD, _RETURN_TO_PSP, _RETURN_BASIC_FRAME = 1 << 3, 1 << 2, 1 << 4
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

    def frame(self) -> tuple[int, int, bool]:
        """Where the next frame goes, its bytes, and whether SP is moved to align it."""
        has_fp = self.saves_fpu()
        frame_bytes = _EXTENDED_FRAME_BYTES if has_fp else _BASIC_FRAME_BYTES
        sp = self._cpu.register(uc.REG_SP)
        aligns = self._is_armv6m or has_fp or bool(self._words.get(CCR, 0) & CCR_STKALIGN)
        realigned = aligns and bool(sp & 4)
        address = sp - frame_bytes & (~7 if aligns else ~3)
        return address & 0xFFFFFFFF, frame_bytes, realigned

    def saves_fpu(self) -> bool:
        """Whether the code that runs has a floating-point context (CONTROL.FPCA)."""
        return (
            self._core.has_fpu
            and bool(self._cpu.register(uc.REG_CONTROL) & _FPCA)
            and bool(self._words.get(FPCCR, 0) & FPCCR_ASPEN)
        )

    def enter(self, number: int, handler: int, return_address: int) -> None:
        """Stack the frame and make `number` active; the caller goes on at `handler`.

        The frame must have been checked to be memory.
        """
        cpu, timing = self._cpu, self._core.timing
        address, frame_bytes, realigned = self.frame()
        is_thread = cpu.register(uc.REG_IPSR) == 0
        uses_psp = is_thread and bool(cpu.register(uc.REG_CONTROL) & _SPSEL)
        xpsr = cpu.register(uc.REG_XPSR) & ~_XPSR_FRAME_ALIGNED
        words = [cpu.register(one) for one in _FRAME_REGISTERS]
        words += [return_address, xpsr | (_XPSR_FRAME_ALIGNED if realigned else 0)]
        cpu.write(address, b"".join(word.to_bytes(4, "little") for word in words))
        cycles = timing.exception_entry
        extended = frame_bytes == _EXTENDED_FRAME_BYTES
        if extended:
            self._words[FPCAR] = address + _BASIC_FRAME_BYTES
            if self._words[FPCCR] & FPCCR_LSPEN:
                self._words[FPCCR] |= FPCCR_LSPACT
            else:
                self._store_fpu()
                cycles += timing.exception_fpu
        cpu.set_register(uc.REG_SP, address)
        cpu.set_register(uc.REG_CONTROL, 0)  # SPSEL 0 and FPCA 0, while still in thread mode
        self._set_running(number, xpsr & ~_XPSR_IT | _XPSR_T)
        cpu.set_register(uc.REG_LR, self._exc_return(is_thread, uses_psp, extended))
        self._activate(number)
        self._counting.add(EXCEPTION, cycles, return_address)

    def chain(self, number: int, exc_return: int, pc: int) -> None:
        """Go from the handler that ends at `pc` to the next without unstacking (tail-chaining)."""
        cpu = self._cpu
        self._set_running(number, cpu.register(uc.REG_XPSR) & ~_XPSR_IT | _XPSR_T)
        cpu.set_register(uc.REG_CONTROL, 0)
        cpu.set_register(uc.REG_LR, exc_return)
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
        cpu = self._cpu
        to_thread = bool(exc_return & _RETURN_TO_THREAD)
        from_psp = bool(exc_return & _RETURN_TO_PSP)
        extended = self._core.has_fpu and not exc_return & _RETURN_BASIC_FRAME
        if exc_return >> 4 & 0xF not in self._return_kinds() or (from_psp and not to_thread):
            raise InvalidReturn(f"EXC_RETURN is {exc_return:#010x}")
        if to_thread and self._exceptions.active:
            raise InvalidReturn("a return to thread mode while another exception is active")
        if not to_thread and not self._exceptions.active:
            raise InvalidReturn("a return to handler mode while no exception is active")
        address = cpu.register(uc.REG_PSP if from_psp else uc.REG_MSP) & ~3
        frame_bytes = _EXTENDED_FRAME_BYTES if extended else _BASIC_FRAME_BYTES
        if not self._is_memory(address, frame_bytes, True):
            raise InvalidReturn(f"the frame at {address:#010x} is not in memory")
        raw = cpu.read(address, _BASIC_FRAME_BYTES)
        words = [int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw), 4)]
        xpsr = words[7]
        if to_thread != (xpsr & 0x1FF == 0):
            raise InvalidReturn(f"the frame's xPSR {xpsr:#010x} is for the other mode")
        cycles = self._core.timing.exception_return
        if extended:
            if self._words[FPCCR] & FPCCR_LSPACT:
                self._words[FPCCR] &= ~FPCCR_LSPACT
            else:
                self._load_fpu(address + _BASIC_FRAME_BYTES)
                cycles += self._core.timing.exception_fpu
        sp = address + frame_bytes
        if xpsr & _XPSR_FRAME_ALIGNED:
            sp |= 4
        cpu.set_register(uc.REG_PSP if from_psp else uc.REG_MSP, sp)
        self._set_running(xpsr & 0x1FF, xpsr)
        control = (_SPSEL if from_psp else 0) | (_FPCA if extended else 0)
        cpu.set_register(uc.REG_CONTROL, control)
        for register, value in zip(_FRAME_REGISTERS, words, strict=False):
            cpu.set_register(register, value)
        self._counting.add(EXCEPTION, cycles, pc)
        return words[6] & ~1

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

    def _set_running(self, number: int, xpsr: int) -> None:
        """Write IPSR and the flags. Unicorn works out the mode anew only when CPSR is written."""
        cpu = self._cpu
        cpu.set_register(uc.REG_XPSR_ALL, xpsr & ~0x1FF | number)
        cpu.set_register(uc.REG_CPSR, cpu.register(uc.REG_CPSR))

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
        cpu = self._cpu
        values = [cpu.register(uc.REG_S0 + index) for index in range(16)]
        values.append(cpu.register(uc.REG_FPSCR))
        cpu.write(self._words[FPCAR], b"".join(one.to_bytes(4, "little") for one in values))

    def _load_fpu(self, address: int) -> None:
        cpu = self._cpu
        raw = cpu.read(address, 17 * 4)
        words = [int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw), 4)]
        for index in range(16):
            cpu.set_register(uc.REG_S0 + index, words[index])
        cpu.set_register(uc.REG_FPSCR, words[16])
