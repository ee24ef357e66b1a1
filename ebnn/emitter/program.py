"""What a lowering makes of a network: steps that each write one map, then the head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ebnn.emitter.layout import Layout
from ebnn.memory_plan import MemoryPlan, StepMemory, plan_memory


@dataclass(frozen=True)
class Step:
    """One call of a kernel.

    `call` is C text with the fields {input}, {output} and {scratch}; `kernels` are the files of
    c_kernels that it needs; `region` is the function that does the work. `block` is the hidden
    block whose activations the step's map holds, None where it holds something in between;
    `layout` is the map's where it is bits. `lead_bytes`: the map may be written over the one that
    is read, if it begins so far in front of it; None where it must not. `unread_bytes`: at the end
    of the map that is read, what is not.
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
    lead_bytes: int | None = None
    unread_bytes: int = 0

    @property
    def memory(self) -> StepMemory:
        return StepMemory(self.output_bytes, self.scratch_bytes, self.lead_bytes, self.unread_bytes)


@dataclass(frozen=True)
class Head:
    """The last call; it returns the class. `call` has the fields {input} and {scratch}."""

    title: str
    declarations: str
    call: str
    kernels: tuple[str, ...]
    region: str
    parameter_bytes: int


Call = TypeVar("Call", Step, Head)


@dataclass(frozen=True)
class Candidate(Generic[Call]):
    """A variant for one block, and what it is expected to take, from its counts of `work` and
    `code`. `shared_bytes` of code are in a kernel's file, and there once however many blocks use
    it; `own_bytes` are the block's. `stack_bytes` are all of the stack's, from reset on, while the
    block is computed; `more_stack_bytes` of them as in the variant."""

    variant: str
    call: Call
    work: Mapping[str, float]
    code: Mapping[str, float]
    cycles: int
    shared_bytes: int
    own_bytes: int
    stack_bytes: int
    more_stack_bytes: int

    @property
    def flash_bytes(self) -> int:
        """Code and parameters, of this block alone."""
        return self.shared_bytes + self.own_bytes + self.call.parameter_bytes


AnyCandidate = Candidate[Step] | Candidate[Head]


def flash_bytes(candidates: Sequence[AnyCandidate]) -> int:
    """Of several blocks' candidates: code that they share counts once."""
    shared = {candidate.variant: candidate.shared_bytes for candidate in candidates}
    own = sum(candidate.own_bytes + candidate.call.parameter_bytes for candidate in candidates)
    return sum(shared.values()) + own


@dataclass(frozen=True)
class Decision:
    """The candidate that was taken for a block, and those that were not, cheapest first."""

    chosen: AnyCandidate
    others: tuple[AnyCandidate, ...]


@dataclass(frozen=True)
class Program:
    """A network as calls of kernels. `element` is the C type of the arena that holds the maps;
    `decisions` say why these kernels, where there was a choice."""

    lowering: str
    element: str
    element_bytes: int
    steps: tuple[Step, ...]
    head: Head
    decisions: tuple[Decision, ...] = ()

    @property
    def calls(self) -> tuple[Step | Head, ...]:
        """The steps, then the head."""
        return (*self.steps, self.head)

    @property
    def kernels(self) -> tuple[str, ...]:
        """Files of c_kernels that the calls need."""
        return tuple(sorted({file for call in self.calls for file in call.kernels}))

    @property
    def predicted_flash_bytes(self) -> int:
        """Code of the kernels and parameters, as costs.toml has them; 0 where nothing was chosen.
        Code that several blocks share counts once."""
        return flash_bytes([decision.chosen for decision in self.decisions])

    @property
    def predicted_stack_bytes(self) -> int:
        """Of the kernel that takes most, as costs.toml has it; 0 where nothing was chosen."""
        return max((decision.chosen.stack_bytes for decision in self.decisions), default=0)

    @property
    def plan(self) -> MemoryPlan:
        return plan_memory([step.memory for step in self.steps])

    @property
    def parameter_bytes(self) -> int:
        """Weights, thresholds and BatchNorm constants, as the C arrays hold them, or would where
        they are code."""
        return self.head.parameter_bytes + sum(step.parameter_bytes for step in self.steps)
