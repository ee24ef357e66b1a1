"""Candidates of a search, and which of them are worth more training.

Successive halving as ASHA does it (Li et al. 2020, "A System for Massively Parallel Hyperparameter
Tuning", algorithm 2): whenever a worker is free, the best third of those that stand on a rung may
climb to the next one, which trains three times as long. Every rung starts anew, with a learning
rate that falls to 0 within it: a figure of half-annealed binary weights says little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ebnn.architecture import Architecture
from ebnn.search.footprint import Assessment

REDUCTION = 3


@dataclass(frozen=True)
class Rung:
    """Validation figures after `epochs`, trained within `seconds` of a worker."""

    epochs: int
    correct: int
    total: int
    seconds: float

    @property
    def accuracy(self) -> float:
        return self.correct / self.total


@dataclass(eq=False)
class Candidate:
    """A network that was drawn; `rungs` are those that it has been trained on, in order.

    `memory_bytes` is the figure that is to be small: RAM, or the paper's where that is limited.
    """

    number: int
    architecture: Architecture
    assessment: Assessment
    memory_bytes: int | None = None
    rungs: list[Rung] = field(default_factory=list)

    @property
    def cycles(self) -> int:
        assert self.assessment.footprint is not None
        return self.assessment.footprint.cycles

    @property
    def accuracy(self) -> float:
        """Of the highest rung, on what is held out."""
        return self.rungs[-1].accuracy

    @property
    def epoch_seconds(self) -> float:
        return self.rungs[-1].seconds / self.rungs[-1].epochs


Point = tuple[float, ...]


def dominates(one: Point, other: Point) -> bool:
    """Whether `one` is as small everywhere, and smaller somewhere."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def front(candidates: Sequence[Candidate], rung: int = -1) -> list[Candidate]:
    """Those that no other beats in accuracy, memory and cycles alike; the most accurate first.

    Of what was trained, by the figures on `rung`: the highest of each unless told.
    """
    points = {one.number: _point(one, rung) for one in candidates if one.rungs}
    kept = [
        one
        for one in candidates
        if one.number in points
        and not any(dominates(other, points[one.number]) for other in points.values())
    ]
    return sorted(kept, key=lambda one: points[one.number])


def _point(one: Candidate, rung: int) -> Point:
    assert one.memory_bytes is not None
    return (-one.rungs[rung].accuracy, one.memory_bytes, one.cycles)


def ranked(candidates: Sequence[Candidate], rung: int) -> list[Candidate]:
    """All that stand on `rung` or above: its front, the front of the rest and so on, each with the
    most accurate first."""
    left = [one for one in candidates if len(one.rungs) > rung]
    found: list[Candidate] = []
    while left:
        best = front(left, rung)
        found += best
        left = [one for one in left if one not in best]
    return found


def promoted(candidates: Sequence[Candidate], rung: int, busy: set[int]) -> list[Candidate]:
    """Those that may climb from `rung`, the best first; `busy` are the numbers that do already."""
    order = ranked(candidates, rung)
    return [
        one
        for one in order[: len(order) // REDUCTION]
        if len(one.rungs) == rung + 1 and one.number not in busy
    ]
