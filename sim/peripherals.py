"""The private peripheral bus at 0xE0000000: what firmware reads and sets of the core itself.

DWT's cycle counter and SysTick follow the cycle model; NVIC and the system control block rule the
exceptions (`nvic.py`). Everything not listed reads as zero and ignores writes.
"""

from __future__ import annotations

from collections.abc import Callable

from .exceptions import SYSTICK
from .nvic import Nvic
from .systick import SYST_CALIB, SYST_CSR, SYST_CVR, SYST_RVR, SysTick

PPB_START, PPB_BYTES = 0xE0000000, 0x100000
DWT_CTRL, DWT_CYCCNT = 0xE0001000, 0xE0001004
CPUID, VTOR, SCR, CCR, CPACR, DEMCR, FPCCR, FPCAR, FPDSCR = (
    0xE000ED00, 0xE000ED08, 0xE000ED10, 0xE000ED14, 0xE000ED88, 0xE000EDFC, 0xE000EF34, 0xE000EF38,
    0xE000EF3C,
)  # fmt: skip
SCR_SLEEPONEXIT, SCR_SEVONPEND, CCR_STKALIGN = 1 << 1, 1 << 4, 1 << 9
FPCCR_ASPEN, FPCCR_LSPEN, FPCCR_LSPACT = 1 << 31, 1 << 30, 1
CCR_DIV_0_TRP, CCR_UNALIGN_TRP, DEMCR_TRCENA = 1 << 4, 1 << 3, 1 << 24
_STORED = frozenset({CCR, CPACR, DEMCR, DWT_CTRL, VTOR, SCR, FPCCR, FPCAR, FPDSCR})
_SYSTICK = frozenset({SYST_CSR, SYST_RVR, SYST_CVR, SYST_CALIB})
_CPUIDS = {
    "cortex-m0": 0x410CC200,
    "cortex-m0plus": 0x410CC601,
    "cortex-m3": 0x412FC231,
    "cortex-m4": 0x410FC241,
    "cortex-m4f": 0x410FC241,
    "cortex-m7": 0x411FC272,
    "cortex-m33": 0x410FD214,
}


class Peripherals:
    """Registers of the core.

    Args:
        cycles: cycles up to the access that is under way.
        running: the number of the exception that runs, 0 in thread mode.
        changed: hears of every word stored, and of an exception that SysTick asked for (as a change
            of SYST_CSR).
    """

    def __init__(
        self,
        core: str,
        has_fpu: bool,
        nvic: Nvic,
        systick: SysTick,
        cycles: Callable[[], int],
        running: Callable[[], int],
        changed: Callable[[int, int], None],
    ) -> None:
        self._cycles = cycles
        self._running = running
        self._changed = changed
        self._nvic = nvic
        self._systick = systick
        self.words: dict[int, int] = {CPUID: _CPUIDS[core], DWT_CTRL: 0x40000000, CCR: CCR_STKALIGN}
        if has_fpu:
            self.words[FPCCR] = FPCCR_ASPEN | FPCCR_LSPEN
        self._cyccnt_origin = 0  # cycles at which CYCCNT was 0
        self._cyccnt_stopped = 0  # its value while it does not count

    def read(self, offset: int, size: int) -> int:
        address = PPB_START + offset
        word = self._word(address & ~3)
        return word >> 8 * (address & 3) & ((1 << 8 * size) - 1)

    def write(self, offset: int, size: int, value: int) -> None:
        address = PPB_START + offset
        word = address & ~3
        if size < 4:
            shift = 8 * (address & 3)
            mask = ((1 << 8 * size) - 1) << shift
            kept = 0 if self._nvic.writes_ones(word) else self._word(word) & ~mask
            value = kept | value << shift & mask
        self._store(word, value & 0xFFFFFFFF)

    def _counting(self) -> bool:
        return bool(self.words.get(DEMCR, 0) & DEMCR_TRCENA and self.words[DWT_CTRL] & 1)

    def _word(self, address: int) -> int:
        if address == DWT_CYCCNT:
            if not self._counting():
                return self._cyccnt_stopped
            return (self._cycles() - self._cyccnt_origin) & 0xFFFFFFFF
        if address in _SYSTICK:
            now = self.catch_up()
            return self._systick.read(address, now)
        held = self._nvic.read(address, self._running())
        if held is not None:
            return held
        return self.words.get(address, 0)

    def _store(self, address: int, value: int) -> None:
        was_counting = self._counting()
        counted = self._word(DWT_CYCCNT)
        if address == DWT_CYCCNT:
            self._cyccnt_origin = self._cycles() - value
            self._cyccnt_stopped = value
        elif address in _SYSTICK:
            self._systick.write(address, value, self.catch_up())
        elif self._nvic.write(address, value):
            pass
        elif address in _STORED:
            self.words[address] = value
            if was_counting and not self._counting():
                self._cyccnt_stopped = counted
            elif self._counting() and not was_counting:
                self._cyccnt_origin = self._cycles() - self._cyccnt_stopped
        self._changed(address, value)

    def catch_up(self) -> int:
        """Let SysTick reach the present, which may ask for its exception; the cycles so far."""
        now = self._cycles()
        if self._systick.advance(now):
            self._nvic.exceptions.pending.add(SYSTICK)
            self._changed(SYST_CSR, 0)
        return now
