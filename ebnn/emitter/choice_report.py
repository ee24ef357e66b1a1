"""Which kernels a lowering took and why: facts for JSON, and lines for a terminal."""

from __future__ import annotations

from typing import Any

from ebnn.emitter.goal import Goal
from ebnn.emitter.program import AnyCandidate, Program, Step


def choice_facts(program: Program) -> list[dict[str, Any]]:
    """One entry a block: the kernel taken, and those that it was preferred to. Cycles and bytes of
    code are predicted from costs.toml; what was linked and run is in the run record."""
    return [
        {
            "block": decision.chosen.call.title,
            **_candidate_facts(decision.chosen),
            "instead_of": [_candidate_facts(other) for other in decision.others],
        }
        for decision in program.decisions
    ]


def _candidate_facts(candidate: AnyCandidate) -> dict[str, Any]:
    call = candidate.call
    return {
        "kernel": candidate.variant,
        "predicted_cycles": candidate.cycles,
        "parameter_bytes": call.parameter_bytes,
        "predicted_code_bytes": candidate.shared_bytes + candidate.own_bytes,
        "scratch_bytes": call.scratch_bytes if isinstance(call, Step) else 0,
    }


def choice_lines(program: Program, goal: Goal) -> list[str]:
    """The same as text; empty for a lowering that has no choice."""
    if not program.decisions:
        return []
    bound = "" if goal.flash_bytes is None else f", within {goal.flash_bytes:,} bytes of flash"
    lines = [f"kernels for the least {goal.objective} on {goal.core}{bound} (predicted):"]
    for decision in program.decisions:
        chosen = decision.chosen
        lines.append(
            f"  {chosen.call.title}: {chosen.variant}, {chosen.cycles:,} cycles,"
            f" {chosen.flash_bytes:,} bytes of flash{_instead_of(decision.others)}"
        )
    return lines


def _instead_of(others: tuple[AnyCandidate, ...]) -> str:
    if not others:
        return "; the only one that serves"
    texts = [f"{other.variant} ({other.cycles:,}, {other.flash_bytes:,})" for other in others]
    return "; instead of " + ", ".join(texts)
