"""Instructions that Unicorn leaves undone or that decide about exceptions: MRS, MSR, CPS, hints.

Unicorn runs the stack pointers and PRIMASK by itself; those instructions are only looked at while
an exception waits or unprivileged code runs. BASEPRI, FAULTMASK, CONTROL and the hints never reach
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from . import unicorn_library as uc
from .exceptions import Exceptions

_MSP, _PSP, _PRIMASK, _BASEPRI, _BASEPRI_MAX, _FAULTMASK, _CONTROL = 8, 9, 16, 17, 18, 19, 20
_NATIVE = {_MSP: uc.REG_MSP, _PSP: uc.REG_PSP, _PRIMASK: uc.REG_PRIMASK}
_OURS = frozenset({_BASEPRI, _BASEPRI_MAX, _FAULTMASK, _CONTROL})
_NPRIV, _SPSEL, _FPCA = 1, 2, 4


class Operation(Enum):
    """What such an instruction does."""

    READ = "mrs"
    WRITE = "msr"
    CHANGE = "cps"
    YIELD = "yield"
    WAIT_FOR_EVENT = "wfe"
    WAIT_FOR_INTERRUPT = "wfi"
    SEND_EVENT = "sev"


@dataclass(frozen=True)
class SystemInstruction:
    """One of them, decoded.

    `always` says that Unicorn must never run it. `special` is SYSm, the number of the special
    register; `register` the core's. For CPS: `special` has bit 0 for FAULTMASK and bit 1 for
    PRIMASK, `value` is what they become.
    """

    operation: Operation
    always: bool
    size: int = 2
    special: int = 0
    register: int = 0
    value: int = 0


_HINTS = {
    1: Operation.YIELD,
    2: Operation.WAIT_FOR_EVENT,
    3: Operation.WAIT_FOR_INTERRUPT,
    4: Operation.SEND_EVENT,
}


@lru_cache(maxsize=256)
def system_instruction(code: bytes) -> SystemInstruction | None:
    """The instruction that `code` (2 or 4 bytes) is; None for all others."""
    first = int.from_bytes(code[:2], "little")
    if first & 0xFFE8 == 0xB660:
        which = first & 3
        return SystemInstruction(
            Operation.CHANGE, bool(which & 1), special=which, value=first >> 4 & 1
        )
    if first & 0xFF0F == 0xBF00:
        hint = _HINTS.get(first >> 4 & 15)
        return None if hint is None else SystemInstruction(hint, True)
    if len(code) < 4:
        return None
    second = int.from_bytes(code[2:4], "little")
    special = second & 0xFF
    if first & 0xFFE0 == 0xF3E0 and second & 0xD000 == 0x8000 and _is_special(special):
        return SystemInstruction(
            Operation.READ, special in _OURS, 4, special, register=second >> 8 & 15
        )
    if first & 0xFFE0 == 0xF380 and second & 0xD000 == 0x8000 and _is_special(special):
        return SystemInstruction(Operation.WRITE, special in _OURS, 4, special, register=first & 15)
    if first == 0xF3AF and second & 0xFF00 == 0x8000:
        hint = _HINTS.get(second & 0xFF)
        return None if hint is None else SystemInstruction(hint, True, 4)
    return None


def is_load_exclusive(code: bytes) -> bool:
    """Whether `code` starts with LDREX, LDREXB or LDREXH."""
    first = int.from_bytes(code[:2], "little")
    return first & 0xFFF0 == 0xE850 or (first & 0xFFF0 == 0xE8D0 and code[2] & 0xE0 == 0x40)


def _is_special(special: int) -> bool:
    return special in _NATIVE or special in _OURS


class SystemRegisters:
    """The special registers of `cpu`, of which `exceptions` holds those that Unicorn lacks."""

    def __init__(self, cpu: uc.Cpu, exceptions: Exceptions, has_main_extension: bool) -> None:
        self._cpu = cpu
        self._exceptions = exceptions
        self._has_main_extension = has_main_extension

    @property
    def running(self) -> int:
        """IPSR: the number of the exception that runs, 0 in thread mode."""
        return self._cpu.register(uc.REG_IPSR)

    @property
    def primask(self) -> int:
        return self._cpu.register(uc.REG_PRIMASK)

    @property
    def is_privileged(self) -> bool:
        return not self._exceptions.unprivileged or self.running != 0

    def carry_out(self, instruction: SystemInstruction) -> None:
        """Do an MRS, MSR or CPS (ARMv7-M ARM B5.2); PC is the caller's business."""
        if instruction.operation is Operation.READ:
            self._cpu.set_register(
                uc.CORE_REGISTERS[instruction.register], self._read(instruction.special)
            )
        elif not self.is_privileged:
            return
        elif instruction.operation is Operation.WRITE:
            value = self._cpu.register(uc.CORE_REGISTERS[instruction.register])
            self._write(instruction.special, value)
        elif instruction.operation is Operation.CHANGE:
            if instruction.special & 2:
                self._cpu.set_register(uc.REG_PRIMASK, instruction.value)
            if instruction.special & 1:
                self._write(_FAULTMASK, instruction.value)

    def _read(self, special: int) -> int:
        if special == _CONTROL:
            return self._cpu.register(uc.REG_CONTROL) & ~_NPRIV | self._exceptions.unprivileged
        if not self.is_privileged:
            return 0
        if special in _NATIVE:
            return self._cpu.register(_NATIVE[special])
        exceptions = self._exceptions
        return exceptions.faultmask if special == _FAULTMASK else exceptions.basepri

    def _write(self, special: int, value: int) -> None:
        exceptions = self._exceptions
        if special in _NATIVE:
            self._cpu.set_register(_NATIVE[special], value & 1 if special == _PRIMASK else value)
        elif special == _CONTROL:
            self._cpu.set_register(uc.REG_CONTROL, value & (_SPSEL | _FPCA))
            exceptions.unprivileged = bool(value & _NPRIV)
        elif not self._has_main_extension:
            return
        elif special == _FAULTMASK:
            if exceptions.execution_priority(0) > -1 or not value & 1:
                exceptions.faultmask = value & 1
        else:
            basepri = value & 0xFF & ~(0xFF >> exceptions.priority_bits)
            if special == _BASEPRI or (
                basepri and (basepri < exceptions.basepri or not exceptions.basepri)
            ):
                exceptions.basepri = basepri
