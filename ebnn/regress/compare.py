"""Figures against a baseline's, and what else is not as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ebnn.regress.allowance import Allowances
from ebnn.regress.companion import Sections
from ebnn.regress.outcome import Cause, Comparison, Verdict

_LOWER, _HIGHER, _EQUAL = -1, 1, 0


@dataclass(frozen=True)
class _Held:
    """A figure that is held: `better` is the direction of what is good."""

    value: int
    unit: str
    better: int = _LOWER
    total: int | None = None


def compare_figures(
    before: Mapping[str, Any], after: Mapping[str, Any], allowances: Allowances
) -> list[Comparison]:
    """Every figure that is held, in the baseline's order; stalls only where an allowance is given.

    Raises `ValueError` or `TypeError` where the baseline's figures are not of the kind expected.
    """
    old = {name: held for name, held in _held(before) if _is_held(name, allowances)}
    new = {name: held for name, held in _held(after) if _is_held(name, allowances)}
    found = []
    for name in {**old, **new}:
        was, now = old.get(name), new.get(name)
        allowance = allowances.of(name)
        either = now or was
        assert either is not None
        verdict: Verdict = "new" if was is None else "worse"
        if was is not None and now is not None:
            verdict = _verdict(name, was, now, allowances)
        found.append(
            Comparison(
                name,
                either.unit,
                was.value if was else None,
                now.value if now else None,
                verdict,
                allowance.text,
                either.total,
            )
        )
    return found


def _verdict(name: str, was: _Held, now: _Held, allowances: Allowances) -> Verdict:
    if was.value == now.value:
        return "same"
    if was.better == _EQUAL:
        return "worse"
    worse_by = (was.value - now.value) * was.better
    total = was.total or 0
    if worse_by > 0:
        return "allowed" if allowances.of(name).covers(worse_by, was.value, total) else "worse"
    small = allowances.tighten.covers(-worse_by, was.value, total)
    return "allowed" if small else "better"


def _is_held(name: str, allowances: Allowances) -> bool:
    return not name.startswith("stalls") or allowances.given(name) is not None


def _held(figures: Mapping[str, Any]) -> Iterator[tuple[str, _Held]]:
    for name, value in figures.items():
        if name.startswith("cycles"):
            for region, spread in value.items():
                for key, count in spread.items():
                    yield f"{name}.{region}.{key}", _Held(int(count), "cycles")
        elif name.startswith("stalls"):
            for cause, count in value.items():
                yield f"{name}.{cause}", _Held(int(count), "cycles")
        elif name == "ram":
            for kind, count in value.items():
                yield f"ram.{kind}", _Held(int(count), "bytes")
        elif name == "flash":
            yield name, _Held(int(value), "bytes")
        elif name == "accuracy":
            yield name, _Held(int(value["correct"]), "right", _HIGHER, int(value["samples"]))
        elif name == "agreement":
            yield (
                name,
                _Held(int(value["equal"]), "as the reference", _HIGHER, int(value["samples"])),
            )
        elif name == "exit_status":
            yield name, _Held(int(value), "", _EQUAL)
        else:
            raise ValueError(f"no figure is called {name!r}")


def compare_predictions(
    before: Sections, after: Sections, allowances: Allowances, weights_changed: bool
) -> list[Comparison]:
    """How many samples' predictions are others than in the baseline: none may be, unless allowed,
    or unless the weights may change."""
    if not before.get("predictions") or not after.get("predictions"):
        return []
    total = len(predictions_of(after))
    count = len(flipped(before, after))
    allowance = allowances.of("predictions")
    may = weights_changed and "weights" in allowances.changed
    if may and allowances.given("predictions") is None:
        verdict: Verdict = "allowed"
    else:
        verdict = "allowed" if allowance.covers(count, total, total) else "worse"
    if not count:
        verdict = "same"
    return [Comparison("predictions", "changed", 0, count, verdict, allowance.text, total)]


def predictions_of(build: Sections) -> list[int]:
    lines = build.get("predictions", {})
    return [int(one) for at in sorted(lines, key=int) for one in lines[at]]


def flipped(before: Sections, after: Sections) -> list[int]:
    """Samples that are predicted otherwise than in the baseline."""
    pairs = zip(predictions_of(before), predictions_of(after), strict=False)
    return [sample for sample, (was, now) in enumerate(pairs) if was != now]


def find_causes(
    before: Sections,
    after: Sections,
    model_before: Sections,
    model_after: Sections,
    toolchains: tuple[str, str],
    allowances: Allowances,
) -> list[Cause]:
    """What else is not as it was, the likeliest cause first."""
    found = []
    if toolchains[0] != toolchains[1]:
        found.append(("compiler", f"the compiler changed: {toolchains[0]} -> {toolchains[1]}"))
    found += [("options", text) for text in _changed_options(before, after)]
    found += [("flags", text) for text in _changed_flags(before, after)]
    if model_before.get("data") and model_before["data"] != model_after.get("data"):
        found.append(("data", _changed_data(model_before["data"], model_after.get("data", {}))))
    found += [("weights", text) for text in changed_weights(model_before, model_after)]
    causes = [Cause(kind, text, kind not in allowances.changed) for kind, text in found]
    if "weights" not in [kind for kind, _ in found]:
        causes += [Cause("sources", text) for text in _changed_sources(before, after)]
        causes += [Cause("contents", text) for text in _changed_contents(before, after)]
    causes += [Cause("machine", text) for text in _changed_machine(before, after)]
    return causes


def _changed_options(before: Sections, after: Sections) -> list[str]:
    old, new = before.get("options"), after.get("options", {})
    if old is None:
        return []
    return [
        f"the entry's {key} changed: {old.get(key, 'none')!r} -> {new.get(key, 'none')!r}"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]


def _changed_flags(before: Sections, after: Sections) -> list[str]:
    """Pairs the sets of flags that are not in both builds with the ones that are most alike."""
    if not before.get("flags") or not after.get("flags"):
        return []
    old, new = list(before["flags"].values()), list(after["flags"].values())
    gone = [flags for flags in old if flags not in new]
    come = [flags for flags in new if flags not in old]
    found = []
    for flags in come:
        words = flags.split()
        if not gone:
            found.append(f"some files are compiled with other flags than any were: {flags}")
            continue
        nearest = min(gone, key=lambda one: (len(set(one.split()) ^ set(words)), one))
        was = nearest.split()
        less = " ".join(word for word in was if word not in words)
        more = " ".join(word for word in words if word not in was)
        found.append(f"a compiler flag changed: {less or '(none)'} -> {more or '(none)'}")
    if gone and not come:
        found += [f"no file is compiled any more with: {flags}" for flags in gone]
    return list(dict.fromkeys(found))


def _changed_data(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    names = [key for key in ("samples", "images", "labels") if old.get(key) != new.get(key)]
    return f"the data set changed ({', '.join(names)}): predictions cannot be compared"


def changed_weights(before: Sections, after: Sections) -> list[str]:
    """Of each layer the channels that have other weights or thresholds."""
    from ebnn.regress.network_facts import split_digests

    old, new = before.get("layers"), after.get("layers")
    if not old or not new:
        return []
    if [one["block"] for one in old.values()] != [one["block"] for one in new.values()]:
        texts = [", ".join(one["block"] for one in layers.values()) for layers in (old, new)]
        return [f"the network changed: {texts[0]} -> {texts[1]}"]
    found = []
    for index, layer in new.items():
        for what in ("weights", "thresholds"):
            pairs = zip(split_digests(old[index][what]), split_digests(layer[what]), strict=False)
            channels = [channel for channel, (was, now) in enumerate(pairs) if was != now]
            if channels:
                some = ", ".join(map(str, channels[:8])) + (", ..." if len(channels) > 8 else "")
                plural = "s" if len(channels) > 1 else ""
                found.append(
                    f"{what} changed in block {index} ({layer['block']}), "
                    f"output channel{plural} {some}"
                )
    return found


def _changed_sources(before: Sections, after: Sections) -> list[str]:
    old, new = before.get("sources", {}), after.get("sources", {})
    if not old or not new:
        return []
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [f"the C that it is built from changed: {', '.join(sorted(names))}"] if names else []


def _changed_contents(before: Sections, after: Sections) -> list[str]:
    """Arrays of the image that hold other values; where sources are known, these say it better."""
    if before.get("sources") or after.get("sources"):
        return []
    old, new = before.get("memory", {}), after.get("memory", {})
    names = [
        name
        for name, fact in new.items()
        if name in old
        and old[name]["bytes"] == fact["bytes"]
        and old[name].get("digest") != fact.get("digest")
    ]
    names.sort(key=lambda name: (-new[name]["bytes"], name))
    return [f"other values in: {', '.join(names[:8])}"] if names else []


def _changed_machine(before: Sections, after: Sections) -> list[str]:
    old, new = before.get("machine"), after.get("machine", {})
    if old is None:
        return []
    return [
        f"the simulator's {key} changed: {old.get(key)} -> {new.get(key)}"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]
