"""Where a change is: functions and stalls, symbols and stack frames, samples, layers and bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebnn.regress.companion import Sections
from ebnn.regress.compare import changed_weights, flipped, predictions_of
from ebnn.regress.network_facts import decode_bits, split_digests
from ebnn.regress.outcome import Comparison, Explanation

_MOST_LINES = 8
_NOTHING: dict[str, Any] = {"cycles": 0, "calls": 0, "instructions": 0, "stalls": {}}


@dataclass(frozen=True)
class Current:
    """What the samples are and do now: labels (N,), and activations of each hidden layer."""

    labels: NDArray[np.integer[Any]] | None = None
    activations: tuple[NDArray[np.int8], ...] = ()


def explain(
    before: Sections,
    after: Sections,
    model_before: Sections,
    model_after: Sections,
    comparisons: Sequence[Comparison],
    now: Current,
) -> list[Explanation]:
    """An explanation for each kind of figure that changed, from what the companion kept."""
    changed = {one.metric for one in comparisons if one.verdict in ("worse", "better", "allowed")}

    def has(prefix: str) -> bool:
        return any(name == prefix or name.startswith(f"{prefix}.") for name in changed)

    found = []
    for suffix, title in (("", ""), ("_at_clock", ", at the board's clock")):
        if has(f"cycles{suffix}") or has(f"stalls{suffix}"):
            found.append(explain_cycles(before, after, suffix, title))
    if has("ram"):
        found += explain_ram(before, after, has("ram.static"), has("ram.stack"))
    if has("flash"):
        found.append(_memory("flash", before, after, ("code", "constant", "data")))
    if has("predictions") or has("accuracy") or changed_weights(model_before, model_after):
        found.append(explain_predictions(before, after, model_before, model_after, now))
    return [one for one in found if one.lines]


def explain_cycles(before: Sections, after: Sections, suffix: str, title: str) -> Explanation:
    """Functions by how much their own cycles changed, each with what they changed by."""
    old, new = before.get(f"functions{suffix}", {}), after.get(f"functions{suffix}", {})
    about = f"cycles{title}"
    if "profiled" in after:
        about += f", of sample {after['profiled']['sample']}"
        if before.get("profiled") != after["profiled"]:
            about += ", which is not the baseline's"
    rows = []
    for name in {**old, **new}:
        was, now = old.get(name, _NOTHING), new.get(name, _NOTHING)
        by = now["cycles"] - was["cycles"]
        if by or now["calls"] != was["calls"]:
            rows.append((by, name, _function_line(name, was, now, name in old, name in new)))
    _sort(rows)
    if not rows and old and new:
        return Explanation(about, ("no function took other cycles: it is in other samples",))
    function = rows[0][1] if rows and rows[0][0] > 0 else None
    return Explanation(about, _cut([row[2] for row in rows]), function)


def _function_line(
    name: str, was: Mapping[str, Any], now: Mapping[str, Any], had: bool, has: bool
) -> str:
    by = now["cycles"] - was["cycles"]
    parts = {"instructions": now["instructions"] - was["instructions"]}
    for cause in sorted({*was["stalls"], *now["stalls"]}):
        parts[cause] = now["stalls"].get(cause, 0) - was["stalls"].get(cause, 0)
    ordered = sorted(parts.items(), key=lambda part: (-abs(part[1]), part[0]))
    causes = ", ".join(f"{cause} {count:+,}" for cause, count in ordered if count)
    calls = "" if now["calls"] == was["calls"] else f"; calls {was['calls']:,} -> {now['calls']:,}"
    state = "" if had and has else " (new)" if has else " (gone: not run, or inlined)"
    return f"{name}{state} {was['cycles']:,} -> {now['cycles']:,}, {by:+,} cycles: {causes}{calls}"


def explain_ram(before: Sections, after: Sections, static: bool, stack: bool) -> list[Explanation]:
    """Symbols where static data changed, frames of the call chain where the stack's peak did."""
    found = []
    if static:
        found.append(_memory("static RAM", before, after, ("data", "zeroed")))
    if stack:
        found.append(_stack(before, after))
    return found


def _memory(about: str, before: Sections, after: Sections, kinds: Sequence[str]) -> Explanation:
    old, new = (
        {name: fact for name, fact in build.get("memory", {}).items() if fact["kind"] in kinds}
        for build in (before, after)
    )
    rows = []
    for name in {**old, **new}:
        was, now = (table.get(name, {"bytes": 0})["bytes"] for table in (old, new))
        if was != now:
            kind = (new.get(name) or old[name])["kind"]
            state = "" if name in old and name in new else " (new)" if name in new else " (gone)"
            line = f"{name}{state}, {kind}: {was:,} -> {now:,} bytes, {now - was:+,}"
            rows.append((now - was, name, line, kind))
    _sort(rows)
    if not rows and old and new:
        return Explanation(
            about, ("no symbol has another size: alignment, or data without a name",)
        )
    function = rows[0][1] if rows and rows[0][3] == "code" and rows[0][0] > 0 else None
    return Explanation(about, _cut([row[2] for row in rows]), function)


def _stack(before: Sections, after: Sections) -> Explanation:
    old = [(str(name), int(size)) for name, size in before.get("stack", {}).values()]
    new = [(str(name), int(size)) for name, size in after.get("stack", {}).values()]
    if not old or not new:
        return Explanation("stack", ())
    was, now = dict(old), dict(new)
    rows = [
        (now.get(name, 0) - was.get(name, 0), name)
        for name in {**was, **now}
        if now.get(name, 0) != was.get(name, 0)
    ]
    _sort(rows)
    lines = [
        f"{name}: frame {was.get(name, 0):,} -> {now.get(name, 0):,} bytes, {by:+,}"
        for by, name in rows
    ]
    chains = [" > ".join(f"{name} {size}" for name, size in chain) for chain in (old, new)]
    if chains[0] != chains[1]:
        lines += [f"deepest call chain before: {chains[0]}", f"deepest call chain now: {chains[1]}"]
    return Explanation("stack", tuple(lines), rows[0][1] if rows and rows[0][0] > 0 else None)


def explain_predictions(
    before: Sections,
    after: Sections,
    model_before: Sections,
    model_after: Sections,
    now: Current,
) -> Explanation:
    """The samples that flipped, and the first layer and bit in which the network differs."""
    old, new = predictions_of(before), predictions_of(after)
    samples = flipped(before, after)
    lines = []
    if now.labels is None or model_before.get("data") != model_after.get("data"):
        return Explanation("predictions", ())
    if samples:
        lost = sum(bool(old[sample] == now.labels[sample]) for sample in samples)
        won = sum(bool(new[sample] == now.labels[sample]) for sample in samples)
        lines.append(
            f"samples that flipped: {len(samples):,}; {lost:,} were right, {won:,} are now"
        )
        lines += [
            f"sample {sample}, label {now.labels[sample]}: {old[sample]} -> {new[sample]}"
            for sample in samples[:_MOST_LINES]
        ]
    lines += _first_difference(model_before, model_after, samples, now)
    return Explanation("predictions", tuple(lines))


def _first_difference(
    before: Sections, after: Sections, samples: Sequence[int], now: Current
) -> list[str]:
    """The first layer whose activations differ, in a flipped sample if any, and a bit of it."""
    old, new = before.get("activations", {}), after.get("activations", {})
    if old.keys() != new.keys() or before.get("layers") == after.get("layers"):
        return []
    for index in sorted(old, key=int):
        pairs = enumerate(zip(split_digests(old[index]), split_digests(new[index]), strict=False))
        differs = [sample for sample, (was, is_now) in pairs if was != is_now]
        first = next((sample for sample in samples if sample in differs), None)
        if first is not None or (differs and not samples):
            block = after["layers"][index]["block"]
            sample = differs[0] if first is None else first
            return [
                f"first layer that differs: block {index} ({block}), in sample {sample}",
                *_first_bit(before, int(index), now),
            ]
    if not samples:
        return ["no activation of a hidden layer differs in any sample"]
    return ["no activation of a hidden layer differs there: it is the classifier"]


def _first_bit(before: Sections, index: int, now: Current) -> list[str]:
    """From the samples whose bits were kept."""
    for sample, maps in before.get("bits", {}).items():
        after = now.activations[index][int(sample)]
        found = map_difference(decode_bits(maps[index], after.shape), after)
        if found:
            return [f"first bit that differs in block {index}: sample {sample}, {found}"]
    return []


def map_difference(before: NDArray[np.int8], after: NDArray[np.int8]) -> str | None:
    """The first differing bit of two +-1 maps, and how many differ; None where they are alike."""
    where = np.argwhere(before != after)
    if not len(where):
        return None
    channel, row, column = (int(at) for at in where[0])
    bit = int(after[channel, row, column])
    return (
        f"channel {channel}, row {row}, column {column}: {-bit:+d} -> {bit:+d} "
        f"({len(where):,} of the map's {after.size:,} bits differ)"
    )


def _sort(rows: list[Any]) -> None:
    """Rows of (change, name, ...): first what went the way of the sum, the most of it first."""
    grew = sum(row[0] for row in rows) >= 0
    rows.sort(key=lambda row: ((row[0] > 0) != grew, -abs(row[0]), row[1]))


def _cut(lines: list[str]) -> tuple[str, ...]:
    more = len(lines) - _MOST_LINES
    return (*lines[:_MOST_LINES], *([f"and {more} more"] if more > 0 else []))
