"""What each kernel costs on each core: fitted to measurements in the simulator, kept in costs.toml.

Cycles are `fixed` plus what a variant's `work` counts times the cycles of one of each; bytes of
code likewise, from its `code`. `ebnn costs --update` measures and fits anew.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COSTS_FILE = Path(__file__).with_name("costs.toml")
FIXED = "fixed"
# Cores whose instructions and cycles decide alike. The M7 and M33 are not validated, and have none
# of their own.
_MEASURED_CORES = {
    "cortex-m0": "cortex-m0plus",
    "cortex-m0plus": "cortex-m0plus",
    "cortex-m3": "cortex-m3",
    "cortex-m4": "cortex-m4",
    "cortex-m4f": "cortex-m4",
    "cortex-m7": "cortex-m4",
    "cortex-m33": "cortex-m4",
}
MEASURED_CORES = tuple(dict.fromkeys(_MEASURED_CORES.values()))


@dataclass(frozen=True)
class Cost:
    """Of one variant on one core: cycles and bytes of code for each unit of work, and how far from
    the measurements they are, in percent; and the most stack that was taken, from reset on."""

    cycles: Mapping[str, float]
    code_bytes: Mapping[str, float]
    stack_bytes: int
    mean_error_percent: float
    worst_error_percent: float
    measurements: int


@functools.cache
def cost_of(variant: str, core: str) -> Cost | None:
    """The costs of a variant on a core (`cortex-m4f`), None where they were never measured."""
    facts = _table().get(_MEASURED_CORES[core], {}).get(variant)
    if facts is None:
        return None
    return Cost(
        facts["cycles"],
        facts["code_bytes"],
        facts["stack_bytes"],
        facts["mean_error_percent"],
        facts["worst_error_percent"],
        facts["measurements"],
    )


UNMEASURED = Cost({FIXED: 0.0}, {FIXED: 0.0}, 0, 0.0, 0.0, 0)


def predicted(costs: Mapping[str, float], counts: Mapping[str, float]) -> float:
    """`fixed` and what the counts come to."""
    return costs[FIXED] + sum(costs.get(name, 0.0) * count for name, count in counts.items())


def forget_costs() -> None:
    """Read costs.toml again, after it was written."""
    cost_of.cache_clear()
    _table.cache_clear()


@functools.cache
def _table() -> dict[str, Any]:
    return tomllib.loads(COSTS_FILE.read_text(encoding="utf-8"))
