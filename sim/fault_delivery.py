"""Which exception a fault of the firmware raises on silicon, for `--faults deliver`."""

from __future__ import annotations

from dataclasses import dataclass

from .exceptions import BUS_FAULT, HARD_FAULT, USAGE_FAULT
from .faults import Fault


@dataclass(frozen=True)
class Delivery:
    """The exception, the bits of CFSR that name the cause, and whether BFAR gets the address."""

    exception: int
    cfsr: int
    has_address: bool = False


# CFSR: ARMv7-M ARM B3.2.15.
_PRECISE = Delivery(BUS_FAULT, 1 << 9 | 1 << 15, True)  # PRECISERR, BFARVALID
_FETCH = Delivery(BUS_FAULT, 1 << 8)  # IBUSERR
_DELIVERIES = {
    "unmapped": _PRECISE,
    "write-to-flash": _PRECISE,
    "unprivileged": _PRECISE,
    "undefined": Delivery(USAGE_FAULT, 1 << 16),
    "not-on-core": Delivery(USAGE_FAULT, 1 << 16),
    "invalid-state": Delivery(USAGE_FAULT, 1 << 17),
    "no-fpu": Delivery(USAGE_FAULT, 1 << 19),
    "unaligned": Delivery(USAGE_FAULT, 1 << 24),
    "divide-by-zero": Delivery(USAGE_FAULT, 1 << 25),
    "hard-fault": Delivery(HARD_FAULT, 0),
}


def delivery_of(fault: Fault) -> Delivery | None:
    """None where no handler could take it: the run ends."""
    if fault.kind == "unmapped" and fault.address == fault.place.pc & ~1:
        return _FETCH
    return _DELIVERIES.get(fault.kind)
