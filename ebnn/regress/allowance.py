"""How far a figure may get worse: `"+2%"`, `"+64"`, `"+1k"` or, of predictions, `"-0.1pt"`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ebnn.sim.errors import UserError

_TEXT = re.compile(r"([+-])(\d+(?:\.\d+)?)\s*(%|pt|k)?")
_SHARES = ("accuracy", "agreement")
METRICS = (
    "cycles", "cycles_at_clock", "ram", "flash", "accuracy", "agreement", "predictions", "stalls",
    "stalls_at_clock",
)  # fmt: skip
"""What an allowance can be of; parts of them too, as in `ram.stack` or `cycles.ebnn_infer.max`."""
_FALLS_BACK = {"cycles_at_clock": "cycles", "stalls_at_clock": "stalls"}
CHANGED = "changed"
IDENTITIES = ("compiler", "flags", "options", "data", "weights")
"""What `changed` may list: of what was measured, these must stay as they were unless listed."""


@dataclass(frozen=True)
class Allowance:
    """How much worse is still good: of the value before (`%`), in percentage points or a count."""

    amount: Fraction
    unit: str
    text: str

    def covers(self, worse_by: int, before: int, total: int) -> bool:
        """Whether a value that is worse by that much is allowed; `total` is what a share is of."""
        if self.unit == "%":
            return worse_by * 100 <= self.amount * before
        if self.unit == "pt":
            return worse_by * 100 <= self.amount * total
        return worse_by <= self.amount


NONE = Allowance(Fraction(0), "", "0")


def parse_allowance(metric: str, text: object) -> Allowance:
    """An allowance for `metric`; `UserError` where it cannot be one."""
    found = _TEXT.fullmatch(text.strip()) if isinstance(text, str) else None
    share = metric.split(".")[0] in _SHARES
    example = '"-0.1pt" (percentage points) or "-1" (samples)' if share else '"+2%" or "+64"'
    if found is None:
        raise UserError(f"allow.{metric} = {text!r}: write {example}")
    sign, amount, unit = found.groups()
    if sign != ("-" if share else "+"):
        raise UserError(
            f"allow.{metric} = {text!r}: worse is {'less' if share else 'more'}: {example}"
        )
    if unit in (("%", "k") if share else ("pt",)):
        raise UserError(f"allow.{metric} = {text!r}: not in {unit!r}: write {example}")
    factor = 1024 if unit == "k" else 1
    return Allowance(Fraction(amount) * factor, "" if unit in (None, "k") else unit, str(text))


def parse_threshold(text: object) -> Allowance:
    """`tighten`: an improvement up to this is not reported; `"1%"` or a count."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%)?", text.strip()) if isinstance(text, str) else None
    if found is None:
        raise UserError(f'tighten = {text!r}: write "1%" or a count, as "100"')
    return Allowance(Fraction(found[1]), found[2] or "", str(text))


@dataclass(frozen=True)
class Allowances:
    """All of one entry on one board."""

    by_metric: Mapping[str, Allowance]
    changed: frozenset[str]
    tighten: Allowance

    def given(self, metric: str) -> Allowance | None:
        """What the user wrote for `cycles.ebnn_infer.max`, `cycles.ebnn_infer` or `cycles`."""
        parts = metric.split(".")
        for count in range(len(parts), 0, -1):
            found = self.by_metric.get(".".join(parts[:count]))
            if found is not None:
                return found
        other = _FALLS_BACK.get(parts[0])
        return None if other is None else self.given(".".join([other, *parts[1:]]))

    def of(self, metric: str) -> Allowance:
        return self.given(metric) or NONE


def parse_allowances(
    where: str, allow: Mapping[str, Any], board: str, tighten: object
) -> Allowances:
    """Those of an entry's `allow` table, with the ones of its sub-table for `board` on top."""
    own = allow.get(board, {})
    merged = {key: value for key, value in allow.items() if not isinstance(value, dict)}
    merged.update(own if isinstance(own, dict) else {})
    changed = merged.pop(CHANGED, [])
    if not isinstance(changed, list) or not set(map(str, changed)) <= set(IDENTITIES):
        raise UserError(f"{where}: allow.changed is a list of {', '.join(IDENTITIES)}")
    parsed = {}
    for key, value in merged.items():
        if key.split(".")[0] not in METRICS:
            raise UserError(
                f"{where}: allow.{key}: there is no such figure; use {', '.join(METRICS)}, "
                f'parts of them as in "ram.stack", or {CHANGED}'
            )
        parsed[key] = _named(where, key, value)
    try:
        threshold = parse_threshold(tighten)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return Allowances(parsed, frozenset(map(str, changed)), threshold)


def _named(where: str, metric: str, value: object) -> Allowance:
    try:
        return parse_allowance(metric, value)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
