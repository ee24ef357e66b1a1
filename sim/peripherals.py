"""The private peripheral bus at 0xE0000000: what firmware reads and sets of the core itself.

DWT's cycle counter and SysTick's current value follow the cycle model. Interrupts are not
delivered; everything not listed reads as zero and ignores writes.
"""

from __future__ import annotations

from collections.abc import Callable

PPB_START, PPB_BYTES = 0xE0000000, 0x100000
DWT_CTRL, DWT_CYCCNT = 0xE0001000, 0xE0001004
SYST_CSR, SYST_RVR, SYST_CVR = 0xE000E010, 0xE000E014, 0xE000E018
CPUID, ICSR, VTOR, AIRCR, CCR, CPACR, DEMCR = (
    0xE000ED00, 0xE000ED04, 0xE000ED08, 0xE000ED0C, 0xE000ED14, 0xE000ED88, 0xE000EDFC,
)  # fmt: skip
CCR_DIV_0_TRP, CCR_UNALIGN_TRP, DEMCR_TRCENA = 1 << 4, 1 << 3, 1 << 24
AIRCR_SYSRESETREQ = 1 << 2
_STORED = frozenset(
    {SYST_CSR, SYST_RVR, CCR, CPACR, DEMCR, DWT_CTRL, VTOR, AIRCR, 0xE000ED10, 0xE000ED18,
     0xE000ED1C, 0xE000ED20, 0xE000ED24, 0xE000EF34}
)  # fmt: skip
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
    """Registers of the core. `changed(address, value)` hears of every word stored."""

    def __init__(
        self, core: str, cycles: Callable[[], int], changed: Callable[[int, int], None]
    ) -> None:
        self._cycles = cycles
        self._changed = changed
        self.words: dict[int, int] = {CPUID: _CPUIDS[core], DWT_CTRL: 0x40000000, CCR: 0x200}
        self._cyccnt_origin = 0  # cycles at which CYCCNT was 0
        self._systick_origin = 0
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
            value = self._word(word) & ~mask | value << shift & mask
        self._store(word, value & 0xFFFFFFFF)

    def _counting(self) -> bool:
        return bool(self.words.get(DEMCR, 0) & DEMCR_TRCENA and self.words[DWT_CTRL] & 1)

    def _word(self, address: int) -> int:
        if address == DWT_CYCCNT:
            if not self._counting():
                return self._cyccnt_stopped
            return (self._cycles() - self._cyccnt_origin) & 0xFFFFFFFF
        if address == SYST_CVR:
            period = (self.words.get(SYST_RVR, 0) & 0xFFFFFF) + 1
            if not self.words.get(SYST_CSR, 0) & 1:
                return 0
            return (period - 1) - (self._cycles() - self._systick_origin) % period
        if address == SYST_CSR:
            csr = self.words.get(SYST_CSR, 0)
            period = (self.words.get(SYST_RVR, 0) & 0xFFFFFF) + 1
            elapsed = csr & 1 and self._cycles() - self._systick_origin >= period
            return csr | (1 << 16 if elapsed else 0)
        return self.words.get(address, 0)

    def _store(self, address: int, value: int) -> None:
        was_counting = self._counting()
        counted = self._word(DWT_CYCCNT)
        if address == DWT_CYCCNT:
            self._cyccnt_origin = self._cycles() - value
            self._cyccnt_stopped = value
        elif address == SYST_CVR:
            self._systick_origin = self._cycles()
        elif address in _STORED:
            if address == SYST_CSR and value & 1 and not self.words.get(SYST_CSR, 0) & 1:
                self._systick_origin = self._cycles()
            self.words[address] = value
            if was_counting and not self._counting():
                self._cyccnt_stopped = counted
            elif self._counting() and not was_counting:
                self._cyccnt_origin = self._cycles() - self._cyccnt_stopped
        self._changed(address, value)
