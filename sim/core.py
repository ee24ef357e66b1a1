"""The cores: which instructions they have, and the rules of their timing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .cycle_rules import M0, M0_PLUS, M3, M4, M7, M33, Timing
from .errors import UserError
from .thumb import Instruction, Kind

MODEL_VERSION = "3"  # of the cycle model: changes whenever a count can change


@dataclass(frozen=True)
class ModelError:
    """Error of the cycle model against published measurements of boards, at 0 wait states."""

    mean_percent: float
    worst_percent: float
    measurements: int


@dataclass(frozen=True)
class Core:
    """A Cortex-M core. `features` are the groups of instructions it has (`Instruction.feature`)."""

    name: str
    title: str
    architecture: str
    features: frozenset[str]
    timing: Timing

    @property
    def interrupt_priority_bits(self) -> int:
        """Bits of an interrupt's priority, where the board does not say otherwise: ARMv6-M has
        2 (ARM B3.4.6), most ARMv7-M chips have 4 of the up to 8 that it allows."""
        return 2 if self.architecture == "armv6-m" else 4

    @property
    def has_fpu(self) -> bool:
        return "fp" in self.features

    @property
    def unaligned_faults(self) -> bool:
        """Whether every unaligned access faults (ARMv6-M ARM A3.2.1)."""
        return self.architecture == "armv6-m"


# M0 and M0+ TRM, table 3-1: MULS takes 1 cycle or 32, "depends on multiplier implementation".
SMALL_MULTIPLIER_CORES = ("cortex-m0", "cortex-m0plus")


def with_small_multiplier(core: Core) -> Core:
    """The same core, built with the multiplier that takes 32 cycles."""
    return replace(core, timing=replace(core.timing, multiply=32))


_V6M = frozenset({"base"})
_V7M = _V6M | {"v7m"}
_DSP = _V7M | {"dsp"}
_FP = _DSP | {"fp"}

CORES = {
    core.name: core
    for core in (
        Core("cortex-m0", "Cortex-M0", "armv6-m", _V6M, M0),
        Core("cortex-m0plus", "Cortex-M0+", "armv6-m", _V6M, M0_PLUS),
        Core("cortex-m3", "Cortex-M3", "armv7-m", _V7M, M3),
        Core("cortex-m4", "Cortex-M4", "armv7e-m", _DSP, M4),
        Core("cortex-m4f", "Cortex-M4F", "armv7e-m", _FP, M4),
        Core("cortex-m7", "Cortex-M7", "armv7e-m", _FP | {"fpv5", "fp-double"}, M7),
        Core("cortex-m33", "Cortex-M33", "armv8-m.main", _FP | {"fpv5", "v8m"}, M33),
    )
}


def core_named(text: str) -> Core:
    """The core called `cortex-m4f`, `m4f`, `M0+`...; `UserError` otherwise."""
    name = text.lower().replace("+", "plus")
    name = name if name.startswith("cortex-") else f"cortex-{name}"
    if name not in CORES:
        raise UserError(f"no core is called {text!r}: choose one of {', '.join(CORES)}")
    return CORES[name]


def missing_feature(core: Core, instruction: Instruction) -> str | None:
    """What `core` lacks to run `instruction`; None where it has it."""
    if instruction.kind is Kind.UNDEFINED:
        return "a defined encoding"
    if instruction.feature in core.features:
        return None
    return _FEATURE_TITLES.get(instruction.feature, instruction.feature)


_FEATURE_TITLES = {
    "v7m": "the ARMv7-M instruction set",
    "dsp": "the DSP extension",
    "fp": "a floating-point unit",
    "fp-double": "double precision in the floating-point unit",
    "fpv5": "the FPv5 floating-point instructions",
    "v8m": "the ARMv8-M instruction set",
    "coprocessor": "that coprocessor",
}
