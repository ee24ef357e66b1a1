"""How a run can end other than well: faults of the firmware, and budgets that did not hold.

Both print one line and carry the exit code of every command: 3 for a fault, 1 for a budget.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from .errors import UserError
from .sizes import format_bytes, format_limit

_LONGEST_NAME = 120  # characters of a function in a message


@dataclass(frozen=True)
class Place:
    """An instruction, named as a person would look for it."""

    pc: int
    function: str | None = None
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        name = self.function or ""
        if len(name) > _LONGEST_NAME:
            name = name[: _LONGEST_NAME - 3] + "..."
        where = f"{name} " if name else ""
        source = f"{self.file}:{self.line}, " if self.file else ""
        return f"{where}({source}pc {self.pc:#010x})"


class Fault(UserError):
    """The firmware did what the silicon refuses.

    Attributes:
        kind: `unmapped`, `write-to-flash`, `undefined`, `not-on-core`, `unaligned`,
            `divide-by-zero`, `no-fpu`, `breakpoint`, `no-wake-up`, `exception`, ...
        address: the data address involved, or None.
        place: the instruction.
        reason: what happened, without the place.
    """

    exit_code = 3

    def __init__(self, kind: str, reason: str, place: Place, address: int | None = None) -> None:
        super().__init__(f"{reason}, in {place}")
        self.kind = kind
        self.reason = reason
        self.place = place
        self.address = address

    def record(self) -> dict[str, Any]:
        """The run record's `fault` object."""
        return {
            "kind": self.kind,
            "address": self.address,
            **asdict(self.place),
            "message": str(self),
        }


class BudgetExceeded(UserError):
    """A budget that the user set did not hold: RAM, flash, stack, cycles or time."""

    exit_code = 1

    def __init__(self, budget: str, message: str) -> None:
        super().__init__(message)
        self.budget = budget


@dataclass(frozen=True)
class RamUse:
    """RAM by what it is for, in bytes; `heap` and `stack` are peaks so far."""

    static: int
    heap: int
    stack: int

    @property
    def total(self) -> int:
        return self.static + self.heap + self.stack

    def __str__(self) -> str:
        return (
            f"static {format_bytes(self.static)} + heap {format_bytes(self.heap)} "
            f"+ stack {format_bytes(self.stack)}"
        )


class RamExceeded(BudgetExceeded):
    """The run needed a byte past the RAM limit.

    Attributes:
        grew: which of static, heap and stack ran past it.
        over_by: bytes past the limit.
        address: the first such address.
        place: the instruction, or None before the run.
    """

    def __init__(
        self,
        grew: Literal["static", "heap", "stack", "access"],
        what: str,
        place: Place | None,
        over_by: int,
        limit_bytes: int,
        use: RamUse,
        address: int | None = None,
    ) -> None:
        plural = "" if over_by == 1 else "s"
        where = f" in {place}" if place is not None else ""
        needed = limit_bytes + over_by
        super().__init__(
            "ram",
            f"{what}{where}: {format_bytes(over_by)} byte{plural} past --ram "
            f"{format_limit(limit_bytes)}; {use}. "
            f"Give --ram {needed} or more, or shrink what grew ({grew})",
        )
        self.grew = grew
        self.over_by = over_by
        self.limit_bytes = limit_bytes
        self.use = use
        self.place = place
        self.address = address
