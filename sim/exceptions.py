"""Which exception the core takes next: what is pending, active and enabled, at what priority.

The rules are the ARMv7-M Architecture Reference Manual's (B1.5); ARMv6-M knows fewer of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

RESET, NMI, HARD_FAULT, MEM_MANAGE, BUS_FAULT, USAGE_FAULT = 1, 2, 3, 4, 5, 6
SVCALL, DEBUG_MONITOR, PENDSV, SYSTICK, FIRST_INTERRUPT = 11, 12, 14, 15, 16
THREAD_PRIORITY = 256  # of code that no exception interrupted: below every exception's
_FIXED_PRIORITIES = {RESET: -3, NMI: -2, HARD_FAULT: -1}
_NAMES = {
    NMI: "NMI",
    HARD_FAULT: "HardFault",
    MEM_MANAGE: "MemManage",
    BUS_FAULT: "BusFault",
    USAGE_FAULT: "UsageFault",
    SVCALL: "SVCall",
    DEBUG_MONITOR: "DebugMonitor",
    PENDSV: "PendSV",
    SYSTICK: "SysTick",
}


def exception_name(number: int) -> str:
    """`SysTick`, `interrupt 3`..."""
    if number >= FIRST_INTERRUPT:
        return f"interrupt {number - FIRST_INTERRUPT}"
    return _NAMES.get(number, f"exception {number}")


@dataclass
class Exceptions:
    """The state of every exception, by number.

    Attributes:
        interrupts: how many external interrupts there are.
        priority_bits: how many of a priority's eight bits are implemented, from the top.
        priority_grouping: AIRCR.PRIGROUP; the bits up to it don't decide about preemption.
        unprivileged: CONTROL.nPRIV; `basepri` and `faultmask` are the special registers.
    """

    interrupts: int
    priority_bits: int
    priority_grouping: int = 0
    basepri: int = 0
    faultmask: int = 0
    unprivileged: bool = False
    event: bool = False  # what WFE waits for (B1.5.18)
    pending: set[int] = field(default_factory=set)
    active: set[int] = field(default_factory=set)
    enabled: set[int] = field(default_factory=set)  # external interrupts, as exception numbers
    enabled_faults: set[int] = field(default_factory=set)
    priorities: dict[int, int] = field(default_factory=dict)

    def priority(self, number: int) -> int:
        """Lower is more urgent: -3 to -1 fixed, else 0 to 255."""
        fixed = _FIXED_PRIORITIES.get(number)
        return self.priorities.get(number, 0) if fixed is None else fixed

    def set_priority(self, number: int, value: int) -> None:
        """Only the implemented bits hold a value; the others read as zero."""
        self.priorities[number] = value & 0xFF & ~(0xFF >> self.priority_bits)

    def _group(self, priority: int) -> int:
        if priority < 0:
            return priority
        return priority >> self.priority_grouping + 1 << self.priority_grouping + 1

    def execution_priority(self, primask: int) -> int:
        """What an exception must be more urgent than to be taken (B1.5.4)."""
        running = min(
            (self._group(self.priority(one)) for one in self.active), default=THREAD_PRIORITY
        )
        boosted = THREAD_PRIORITY
        if self.basepri:
            boosted = self._group(self.basepri)
        if primask:
            boosted = min(boosted, 0)
        if self.faultmask:
            boosted = min(boosted, -1)
        return min(running, boosted)

    def may_take(self, number: int, primask: int) -> bool:
        """Whether `number` would be taken at once, pending or not."""
        return self._group(self.priority(number)) < self.execution_priority(primask)

    def next(self, primask: int) -> int | None:
        """The pending exception to take now; None where there is none."""
        if not self.pending:
            return None
        ready = [one for one in self.pending if self.is_enabled(one)]
        if not ready:
            return None
        first = min(ready, key=lambda one: (self.priority(one), one))
        return first if self.may_take(first, primask) else None

    def wakes(self) -> bool:
        """Whether a pending exception ends WFI, which PRIMASK doesn't hold back (B1.5.19)."""
        return self.next(0) is not None

    def is_enabled(self, number: int) -> bool:
        """External interrupts need ISER, MemManage, BusFault and UsageFault SHCSR."""
        if number >= FIRST_INTERRUPT:
            return number in self.enabled
        if number in (MEM_MANAGE, BUS_FAULT, USAGE_FAULT):
            return number in self.enabled_faults
        return True

    def save(self) -> dict[str, object]:
        """A copy of everything that changes, for `restore`."""
        return {
            name: value.copy() if isinstance(value, set | dict) else value
            for name, value in vars(self).items()
        }

    def restore(self, saved: dict[str, object]) -> None:
        for name, value in saved.items():
            setattr(self, name, value.copy() if isinstance(value, set | dict) else value)
