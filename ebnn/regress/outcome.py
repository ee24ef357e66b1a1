"""What a check found: plain facts, which every report is rendered from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Verdict = Literal["same", "allowed", "better", "worse", "new"]


@dataclass(frozen=True)
class Comparison:
    """One figure against its baseline; `worse` fails, `better` asks for a tighter baseline.

    `total` is what a share (accuracy, agreement) is of; None for counts.
    """

    metric: str
    unit: str
    before: int | None
    after: int | None
    verdict: Verdict
    allowance: str = "0"
    total: int | None = None

    @property
    def change(self) -> str:
        """The difference as people read it: `+17,091 (+1.8 %)`, `-0.20 points`."""
        if self.before is None or self.after is None:
            return "not in the baseline" if self.before is None else "gone"
        by = self.after - self.before
        if self.total:
            return f"{by:+,} ({100 * by / self.total:+.2f} points)"
        return f"{by:+,}" + (f" ({100 * by / self.before:+.2f} %)" if self.before else "")

    def value(self, count: int | None) -> str:
        if count is None:
            return "-"
        return f"{count:,} of {self.total:,}" if self.total else f"{count:,}"

    def __str__(self) -> str:
        allowed = "" if self.verdict != "worse" else f", allowed {self.allowance}"
        return (
            f"{self.metric}: {self.value(self.before)} -> {self.value(self.after)} {self.unit}, "
            f"{self.change}{allowed}"
        )


_SPREAD = ("min", "median", "max")


def condensed(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """With one comparison for a region's minimum, median and maximum where all are the same."""
    groups: dict[str, list[Comparison]] = {}
    for one in comparisons:
        name, _, part = one.metric.rpartition(".")
        groups.setdefault(name if part in _SPREAD else one.metric, []).append(one)
    found = []
    for name, group in groups.items():
        first = replace(group[0], metric=name)
        alike = all(replace(one, metric=name) == first for one in group)
        found += [first] if alike and len(group) == len(_SPREAD) else group
    return found


@dataclass(frozen=True)
class Cause:
    """Something else that is not as it was when the baseline was measured: the likely cause.

    `fails`: it must not pass unseen, whatever the figures say.
    """

    kind: str
    text: str
    fails: bool = False


@dataclass(frozen=True)
class Explanation:
    """Where a change is: one line for each function, symbol, frame or sample, the worst first.

    `function` is the first one named, for a place in the source.
    """

    about: str
    lines: tuple[str, ...]
    function: str | None = None


@dataclass(frozen=True)
class Outcome:
    """One entry on one board. `error` is why it could not be measured to the end; `models` are the
    cycle models, as in a run record, of `cycles` and, where that was counted, `cycles_at_clock`."""

    entry: str
    board: str
    toolchain: str = ""
    comparisons: tuple[Comparison, ...] = ()
    causes: tuple[Cause, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    error: str | None = None
    error_code: int = 0
    file: str = ""
    line: int = 1
    models: tuple[dict[str, Any], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.entry} on {self.board}"

    def having(self, verdict: Verdict) -> list[Comparison]:
        return [one for one in self.comparisons if one.verdict == verdict]

    @property
    def failures(self) -> list[str]:
        """One line for each thing that fails."""
        lines = [self.error] if self.error else []
        lines += [cause.text for cause in self.causes if cause.fails]
        return lines + [str(one) for one in condensed(self.having("worse"))]

    @property
    def hints(self) -> list[str]:
        """What has changed beside, without failing by itself."""
        return [cause.text for cause in self.causes if not cause.fails]

    @property
    def exit_code(self) -> int:
        return self.error_code or (1 if self.failures else 0)


@dataclass(frozen=True)
class Report:
    """All outcomes of one check. `strict`: improvements fail too."""

    baseline: str
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...] = ()
    strict: bool = False
    records: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def improved(self) -> bool:
        return any(one.having("better") for one in self.outcomes)

    @property
    def exit_code(self) -> int:
        """The gravest: 3 a fault, 2 bad input, 1 a figure that got worse."""
        codes = [one.exit_code for one in self.outcomes]
        return max([*codes, 1 if self.strict and self.improved else 0])

    def to_dict(self) -> dict[str, Any]:
        """What `--json` writes."""
        outcomes = [
            {**asdict(one), "exit": one.exit_code, "failures": one.failures}
            for one in self.outcomes
        ]
        return {
            "schema": "ebnn-regress-report-1",
            "baseline": self.baseline,
            "strict": self.strict,
            "exit": self.exit_code,
            "notes": list(self.notes),
            "outcomes": outcomes,
        }
