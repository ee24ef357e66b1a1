"""What a lowering is asked for: a core, and which of cycles, flash and RAM matters most."""

from __future__ import annotations

from dataclasses import dataclass

OBJECTIVES = ("cycles", "flash", "ram")
REFERENCE_STACK_BYTES = 160  # measured on an M4F; more on cores without floats
RAM_ABOVE_REFERENCE_BYTES = 1024  # that the fast kernels may take


@dataclass(frozen=True)
class Goal:
    """`core` is one of `ebnn.sim.core.CORES`; `objective` one of `OBJECTIVES`: what is to be small
    ("cycles": within 10 % of the fewest, with the least flash). `flash_bytes` bounds the code of
    the kernels and their constants; `paper_bytes` the paper's figure: parameters, maps, scratch,
    input, and the stack of the kernel that takes most. `variants`, for tests and measurements, are
    names of kernels to be taken wherever they serve."""

    core: str = "cortex-m4"
    objective: str = "cycles"
    flash_bytes: int | None = None
    paper_bytes: int | None = None
    variants: tuple[str, ...] = ()
