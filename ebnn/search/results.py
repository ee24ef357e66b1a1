"""What a search found, as JSON; the picture, the page and the terminal's table are made of it.

`schema` is "ebnn-search-1". Accuracies are from 0 to 1, of the samples held out (`validation`,
after so many epochs) or of the test split (`test`, of the network trained in full). Bytes, cycles
(with the board's flash wait states) and latency are those of the verified run where there is one,
else of the run with random weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from ebnn.search.candidate import Candidate, front
from ebnn.search.finals import Final
from ebnn.search.footprint import Footprint
from ebnn.search.session import State

SCHEMA = "ebnn-search-1"


def results(state: State) -> dict[str, Any]:
    """Everything that is known of a search, finished or not."""
    request, candidates = state.request, state.candidates
    limits = asdict(request.limits)
    latency = limits.pop("latency_seconds")
    best = {one.number for one in front(candidates)}
    finals = {final.number: final for final in state.finals}
    lines = [_line(one, finals.get(one.number)) for one in candidates]
    return {
        "schema": SCHEMA,
        "finished": state.stage == "done",
        "command": request.command,
        "dataset": request.dataset.name,
        "board": request.board.name,
        "limits": {**limits, "latency_ms": None if latency is None else 1e3 * latency},
        "memory": "paper_bytes" if request.uses_paper else "ram_bytes",
        "settings": asdict(request.plan.settings),
        "validation_part": request.plan.validation,
        "rung_epochs": list(request.plan.rung_epochs),
        "seconds": round(state.seconds, 1),
        "count": {
            "proposed": len(candidates),
            "rejected": sum(not one.assessment.fits for one in candidates),
            "trained": sum(bool(one.rungs) for one in candidates),
        },
        "front": _sorted(line for line in lines if line["number"] in best),
        "candidates": lines,
    }


def passed(state: State) -> bool:
    """Whether a network was found that keeps the limits and is exact."""
    return any(final.passed for final in state.finals)


def _sorted(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Networks that were trained in full first, then by validation."""
    return sorted(
        lines, key=lambda line: (line["network"] is None, -line["validation"]["accuracy"])
    )


def _line(one: Candidate, final: Final | None) -> dict[str, Any]:
    taken = final.footprint if final and final.footprint else one.assessment.footprint
    return {
        "number": one.number,
        "architecture": str(one.architecture),
        "input": str(one.architecture.input),
        "fits": one.assessment.fits,
        "reason": one.assessment.reason,
        **_footprint(taken),
        "validation": asdict(one.rungs[-1]) | {"accuracy": one.accuracy} if one.rungs else None,
        "rungs": [asdict(rung) for rung in one.rungs],
        "network": None if final is None else _network(final),
    }


def _footprint(taken: Footprint | None) -> Mapping[str, Any]:
    names = ("objective", "ram_bytes", "flash_bytes", "paper_bytes", "cycles")
    facts = {name: None if taken is None else getattr(taken, name) for name in names}
    latency = None if taken is None else round(1e3 * taken.latency_seconds, 3)
    return {**facts, "latency_ms": latency}


def _network(final: Final) -> Mapping[str, Any]:
    return {
        "folder": final.folder,
        "epochs": final.settings.epochs,
        "test": {"correct": final.correct, "total": final.total, "accuracy": final.accuracy},
        "exact": final.exact,
        "passed": final.passed,
        "reason": final.reason,
    }
