"""What a lowering is asked for: a core, and which of cycles, flash and RAM matters most."""

from __future__ import annotations

from dataclasses import dataclass

OBJECTIVES = ("cycles", "flash", "ram")


@dataclass(frozen=True)
class Goal:
    """`core` is one of `ebnn.sim.core.CORES`; `objective` one of `OBJECTIVES`: what is to be small
    ("cycles": within 10 % of the fewest, with the least flash). `flash_bytes` bounds the code of
    the kernels and their constants. `variants`, for tests and measurements, are names of kernels to
    be taken wherever they serve."""

    core: str = "cortex-m4"
    objective: str = "cycles"
    flash_bytes: int | None = None
    variants: tuple[str, ...] = ()
