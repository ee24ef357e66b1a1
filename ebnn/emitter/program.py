"""What a lowering makes of a network: steps that each write one map, then the head."""

from __future__ import annotations

from dataclasses import dataclass

from ebnn.emitter.layout import Layout
from ebnn.memory_plan import MemoryPlan, plan_memory


@dataclass(frozen=True)
class Step:
    """One call of a kernel.

    `call` is C text with the fields {input}, {output} and {scratch}; `kernels` are the files of
    c_kernels that it needs; `region` is the function that does the work. `block` is the hidden
    block whose activations the step's map holds, None where it holds something in between;
    `layout` is the map's where it is bits.
    """

    title: str
    declarations: str
    call: str
    output_bytes: int
    kernels: tuple[str, ...]
    region: str
    scratch_bytes: int = 0
    parameter_bytes: int = 0
    block: int | None = None
    layout: Layout | None = None


@dataclass(frozen=True)
class Head:
    """The last call; it returns the class. `call` has the fields {input} and {scratch}."""

    title: str
    declarations: str
    call: str
    kernels: tuple[str, ...]
    region: str
    parameter_bytes: int


@dataclass(frozen=True)
class Program:
    """A network as calls of kernels. `element` is the C type of the arena that holds the maps."""

    lowering: str
    element: str
    element_bytes: int
    steps: tuple[Step, ...]
    head: Head

    @property
    def calls(self) -> tuple[Step | Head, ...]:
        """The steps, then the head."""
        return (*self.steps, self.head)

    @property
    def kernels(self) -> tuple[str, ...]:
        """Files of c_kernels that the calls need."""
        return tuple(sorted({file for call in self.calls for file in call.kernels}))

    @property
    def plan(self) -> MemoryPlan:
        return plan_memory(
            [step.output_bytes for step in self.steps], [step.scratch_bytes for step in self.steps]
        )

    @property
    def parameter_bytes(self) -> int:
        """Weights, thresholds and BatchNorm constants, as the C arrays hold them."""
        return self.head.parameter_bytes + sum(step.parameter_bytes for step in self.steps)
