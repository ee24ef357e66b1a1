"""SysTick: a 24-bit counter of the core's clock that can raise an exception (ARMv7-M ARM B3.3)."""

from __future__ import annotations

from dataclasses import dataclass

SYST_CSR, SYST_RVR, SYST_CVR, SYST_CALIB = 0xE000E010, 0xE000E014, 0xE000E018, 0xE000E01C
_ENABLE, _TICKINT, _CLKSOURCE, _COUNTFLAG = 1, 2, 4, 1 << 16
_MASK = 0xFFFFFF
_CALIB_NO_REFERENCE = 0xC0000000  # NOREF: there is no other clock to count; SKEW: no calibration


@dataclass
class SysTick:
    """Counts down by the model's cycles, which every method is told as `now`.

    The counter goes from 1 to 0 at `zero_at`, which sets COUNTFLAG and, with TICKINT, asks for the
    exception; one cycle later it is the reload value.
    """

    control: int = 0  # ENABLE and TICKINT
    reload: int = 0
    count_flag: bool = False
    zero_at: int | None = None  # cycles; None while it stands
    stopped_at: int = 0  # its value while it stands

    def advance(self, now: int) -> bool:
        """Catch up with `now`; whether the exception was asked for on the way."""
        if self.zero_at is None or now < self.zero_at:
            return False
        self.count_flag = True
        period = self.reload + 1
        if self.reload == 0:
            self.zero_at, self.stopped_at = None, 0
        else:
            self.zero_at += ((now - self.zero_at) // period + 1) * period
        return bool(self.control & _TICKINT)

    def next_exception(self) -> int | None:
        """At how many cycles it will next ask for the exception; None where it won't."""
        return self.zero_at if self.control & _TICKINT else None

    def read(self, address: int, now: int) -> int:
        """The register; `advance` to `now` first. Reading CSR clears COUNTFLAG."""
        if address == SYST_CSR:
            value = self.control | _CLKSOURCE | (_COUNTFLAG if self.count_flag else 0)
            self.count_flag = False
            return value
        if address == SYST_RVR:
            return self.reload
        if address == SYST_CVR:
            return self._value(now)
        return _CALIB_NO_REFERENCE

    def write(self, address: int, value: int, now: int) -> None:
        if address == SYST_CSR:
            was_enabled = self.control & _ENABLE
            self.control = value & (_ENABLE | _TICKINT)
            if self.control & _ENABLE and not was_enabled:
                self._start(now, self.stopped_at)
            elif was_enabled and not self.control & _ENABLE:
                self.stopped_at = self._value(now)
                self.zero_at = None
        elif address == SYST_RVR:
            self.reload = value & _MASK
            if self.control & _ENABLE and self.zero_at is None:
                self._start(now, 0)
        elif address == SYST_CVR:  # any value clears it
            self.count_flag = False
            self.stopped_at = 0
            if self.control & _ENABLE:
                self._start(now, 0)

    def _start(self, now: int, value: int) -> None:
        if value == 0 and self.reload == 0:
            self.zero_at = None
        else:
            self.zero_at = now + (value or self.reload + 1)

    def _value(self, now: int) -> int:
        if self.zero_at is None:
            return self.stopped_at
        left = self.zero_at - now
        return 0 if left == self.reload + 1 else left & _MASK

    def save(self, now: int) -> tuple[object, ...]:
        """Everything that changes, for `restore`; times are kept relative to `now`."""
        due = None if self.zero_at is None else self.zero_at - now
        return self.control, self.reload, self.count_flag, due, self.stopped_at

    def restore(self, saved: tuple[object, ...], now: int) -> None:
        self.control, self.reload, self.count_flag, due, self.stopped_at = saved  # type: ignore[assignment]
        self.zero_at = None if due is None else now + due  # type: ignore[operator]
