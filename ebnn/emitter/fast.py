"""The `fast` lowering: integers and bits only; a BatchNorm with its sign is one comparison."""

from __future__ import annotations

from ebnn.emitter.chooser import choose
from ebnn.emitter.goal import Goal
from ebnn.emitter.program import Head, Program, Step
from ebnn.lowered import LoweredNetwork


def fast_program(network: LoweredNetwork, goal: Goal | None = None) -> Program:
    """The calls of the fast kernels that run `network`, chosen for `goal`."""
    decisions = choose(network, goal or Goal())
    *steps, head = (decision.chosen.call for decision in decisions)
    assert isinstance(head, Head)
    return Program(
        "fast",
        "uint32_t",
        4,
        tuple(step for step in steps if isinstance(step, Step)),
        head,
        decisions,
    )
