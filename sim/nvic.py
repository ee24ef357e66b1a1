"""The registers through which firmware rules exceptions: NVIC and system control block.

ARMv7-M ARM B3.2 and B3.4; ARMv6-M has the subset B3.2 and B3.4 of its own manual. What a register
does not hold reads as zero, and writing to it is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .exceptions import (
    BUS_FAULT,
    DEBUG_MONITOR,
    FIRST_INTERRUPT,
    MEM_MANAGE,
    NMI,
    PENDSV,
    SVCALL,
    SYSTICK,
    USAGE_FAULT,
    Exceptions,
)

ICTR, ICSR, AIRCR, SHCSR, CFSR, HFSR, MMFAR, BFAR = (
    0xE000E004, 0xE000ED04, 0xE000ED0C, 0xE000ED24, 0xE000ED28, 0xE000ED2C, 0xE000ED34, 0xE000ED38,
)  # fmt: skip
STIR = 0xE000EF00
_ISER, _ICER, _ISPR, _ICPR, _IABR, _IPR = (
    0xE000E100, 0xE000E180, 0xE000E200, 0xE000E280, 0xE000E300, 0xE000E400,
)  # fmt: skip
_IPR_END, _SHPR, _SHPR_END = 0xE000E4F0, 0xE000ED18, 0xE000ED24
_AIRCR_KEY_WRITE, _AIRCR_KEY_READ, _SYSRESETREQ = 0x05FA, 0xFA05, 1 << 2
_WITH_PRIORITY = frozenset(
    {MEM_MANAGE, BUS_FAULT, USAGE_FAULT, SVCALL, DEBUG_MONITOR, PENDSV, SYSTICK}
)
_V6M_WITH_PRIORITY = frozenset({SVCALL, PENDSV, SYSTICK})
_SHCSR_ENABLE = {16: MEM_MANAGE, 17: BUS_FAULT, 18: USAGE_FAULT}
_SHCSR_ACTIVE = {
    0: MEM_MANAGE, 1: BUS_FAULT, 3: USAGE_FAULT, 7: SVCALL, 8: DEBUG_MONITOR, 10: PENDSV,
    11: SYSTICK,
}  # fmt: skip
_SHCSR_PENDING = {12: USAGE_FAULT, 13: MEM_MANAGE, 14: BUS_FAULT, 15: SVCALL}
_ICSR_SET = {31: NMI, 28: PENDSV, 26: SYSTICK}
_ICSR_CLEAR = {27: PENDSV, 25: SYSTICK}


@dataclass
class Nvic:
    """A view of `exceptions`, and the fault status registers.

    `running()` is the number of the exception that runs, 0 in thread mode. `reset_requested` is set
    when the firmware asks for a reset.
    """

    exceptions: Exceptions
    is_armv6m: bool
    cfsr: int = 0
    hfsr: int = 0
    mmfar: int = 0
    bfar: int = 0
    reset_requested: bool = field(default=False)

    @staticmethod
    def writes_ones(address: int) -> bool:
        """Whether only the bits written count, so that a byte's write leaves the others alone."""
        return _ISER <= address < _IABR or address in (ICSR, CFSR, HFSR, STIR)

    def read(self, address: int, running: int) -> int | None:
        """The register's value; None where it is none of these. `running` is IPSR."""
        exceptions = self.exceptions
        if _ISER <= address < _IPR:
            held = exceptions.enabled if address < _ISPR else exceptions.pending
            return self._bits(exceptions.active if address >= _IABR else held, address)
        if _IPR <= address < _IPR_END:
            first = FIRST_INTERRUPT + address - _IPR
            return sum(exceptions.priority(first + lane) << 8 * lane for lane in range(4))
        if _SHPR <= address < _SHPR_END:
            first = 4 + address - _SHPR
            return sum(exceptions.priority(first + lane) << 8 * lane for lane in range(4))
        if address == ICSR:
            return self._icsr(running)
        if address == AIRCR:
            return _AIRCR_KEY_READ << 16 | exceptions.priority_grouping << 8
        if address == ICTR:
            return (exceptions.interrupts + 31) // 32 - 1
        if self.is_armv6m:
            return None
        if address == SHCSR:
            return (
                _pick(_SHCSR_ENABLE, exceptions.enabled_faults)
                | _pick(_SHCSR_ACTIVE, exceptions.active)
                | _pick(_SHCSR_PENDING, exceptions.pending)
            )
        return {CFSR: self.cfsr, HFSR: self.hfsr, MMFAR: self.mmfar, BFAR: self.bfar}.get(address)

    def write(self, address: int, value: int) -> bool:
        """Store a word; False where the address is none of these registers."""
        exceptions = self.exceptions
        if _ISER <= address < _IPR:
            self._set_or_clear(address, value)
        elif _IPR <= address < _IPR_END:
            self._set_priorities(FIRST_INTERRUPT + address - _IPR, value)
        elif _SHPR <= address < _SHPR_END:
            self._set_priorities(4 + address - _SHPR, value)
        elif address == ICSR:
            exceptions.pending |= {n for bit, n in _ICSR_SET.items() if value >> bit & 1}
            exceptions.pending -= {n for bit, n in _ICSR_CLEAR.items() if value >> bit & 1}
        elif address == AIRCR:
            if value >> 16 == _AIRCR_KEY_WRITE:
                if not self.is_armv6m:
                    exceptions.priority_grouping = value >> 8 & 7
                self.reset_requested |= bool(value & _SYSRESETREQ)
        elif self.is_armv6m:
            return False
        elif address == SHCSR:
            exceptions.enabled_faults = {n for bit, n in _SHCSR_ENABLE.items() if value >> bit & 1}
            for bit, number in _SHCSR_PENDING.items():
                (exceptions.pending.add if value >> bit & 1 else exceptions.pending.discard)(number)
        elif address == STIR:
            if value & 0x1FF < exceptions.interrupts:
                exceptions.pending.add(FIRST_INTERRUPT + (value & 0x1FF))
        elif address == CFSR:
            self.cfsr &= ~value
        elif address == HFSR:
            self.hfsr &= ~value
        else:
            return False
        return True

    def _bits(self, numbers: set[int], address: int) -> int:
        first = FIRST_INTERRUPT + (address & 0x7F) * 8
        return sum(1 << n - first for n in numbers if first <= n < first + 32)

    def _set_or_clear(self, address: int, value: int) -> None:
        first = FIRST_INTERRUPT + (address & 0x7F) * 8
        end = FIRST_INTERRUPT + self.exceptions.interrupts
        numbers = {first + bit for bit in range(32) if value >> bit & 1 and first + bit < end}
        if address < _ICER:
            self.exceptions.enabled |= numbers
        elif address < _ISPR:
            self.exceptions.enabled -= numbers
        elif address < _ICPR:
            self.exceptions.pending |= numbers
        elif address < _IABR:
            self.exceptions.pending -= numbers

    def _set_priorities(self, first: int, value: int) -> None:
        known = _V6M_WITH_PRIORITY if self.is_armv6m else _WITH_PRIORITY
        for lane in range(4):
            number = first + lane
            interrupt = number - FIRST_INTERRUPT
            if number in known or 0 <= interrupt < self.exceptions.interrupts:
                self.exceptions.set_priority(number, value >> 8 * lane & 0xFF)

    def _icsr(self, running: int) -> int:
        exceptions = self.exceptions
        ready = [one for one in exceptions.pending if exceptions.is_enabled(one)]
        value = running
        if ready:
            value |= min(ready, key=lambda one: (exceptions.priority(one), one)) << 12
        if not exceptions.active - {running}:
            value |= 1 << 11  # RETTOBASE
        if any(one >= FIRST_INTERRUPT for one in exceptions.pending):
            value |= 1 << 22  # ISRPENDING
        return value | _pick(_ICSR_SET, exceptions.pending)

    def save(self) -> tuple[int, ...]:
        return self.cfsr, self.hfsr, self.mmfar, self.bfar

    def restore(self, saved: tuple[int, ...]) -> None:
        self.cfsr, self.hfsr, self.mmfar, self.bfar = saved


def _pick(bits: dict[int, int], numbers: set[int]) -> int:
    return sum(1 << bit for bit, number in bits.items() if number in numbers)
