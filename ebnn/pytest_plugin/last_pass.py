"""What a test's images were like when it last passed, kept in pytest's cache, and what changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from ebnn.pytest_plugin.run import Run
from ebnn.pytest_plugin.verdict import Verdict
from ebnn.regress.image import digest_of
from ebnn.sim.elf import Elf
from ebnn.sim.errors import printable
from ebnn.sim.producers import compile_flags

_MOST_SYMBOLS = 8
_VERSION = 2


def remember(item: pytest.Item, runs: Sequence[Run], found: Sequence[Verdict]) -> None:
    """Keep the images and figures of a test that passes."""
    cache = getattr(item.config, "cache", None)  # None with -p no:cacheprovider
    if cache is None:
        return
    before = _last(item)
    known = before["images"] if before else {}
    now = {
        "version": _VERSION,
        "images": {name: _image(elf, known.get(name)) for name, elf in _images(runs).items()},
        "used": {one.budget.title: one.used for one in found},
    }
    if now != before:
        cache.set(_key(item), now)


def changes(item: pytest.Item, runs: Sequence[Run], failed: Iterable[Verdict]) -> list[str]:
    """What is different since the test last passed; nothing where that is not known."""
    before = _last(item)
    if before is None:
        return []
    lines = []
    used = before["used"]
    grown = [
        f"{one.budget.title} {used[one.budget.title]:,} to {one.used:,}"
        for one in failed
        if one.used is not None and used.get(one.budget.title) not in (None, one.used)
    ]
    if grown:
        lines.append(", ".join(grown))
    for name, elf in _images(runs).items():
        known = before["images"].get(name)
        if known is not None:
            lines += _image_changes(name, known, elf)
    if not lines:
        return []
    return ["since it last passed here:", *(f"    {line}" for line in lines)]


def _image_changes(name: str, known: Mapping[str, Any], elf: Elf) -> list[str]:
    if known["sha256"] == elf.sha256:
        return [f"{name} is the same image"]
    lines = []
    now = _image(elf, None)
    was_flags, flags = (_words(one["flags"]) for one in (known, now))
    gone, came = (
        [word for word in one if word not in other]
        for one, other in ((was_flags, flags), (flags, was_flags))
    )
    if gone or came:
        lines.append(
            f"compiler flags: {' '.join(gone) or 'none'} became {' '.join(came) or 'none'}"
        )
    was, symbols = known["symbols"], now["symbols"]
    changed = [
        (abs(symbols.get(one, 0) - was.get(one, 0)), one)
        for one in {*was, *symbols}
        if symbols.get(one, 0) != was.get(one, 0)
    ]
    changed.sort(key=lambda item: (-item[0], item[1]))
    named = [f"{one} {was.get(one, 0):,} to {symbols.get(one, 0):,}" for _, one in changed]
    if len(named) > _MOST_SYMBOLS:
        named = [*named[:_MOST_SYMBOLS], f"and {len(named) - _MOST_SYMBOLS} more"]
    if named:
        lines.append(f"bytes of code and data: {', '.join(named)}")
    others = [
        one
        for one, digest in now["contents"].items()
        if symbols[one] == was.get(one) and digest != known["contents"].get(one)
    ]
    if others:
        left_out = len(others) - _MOST_SYMBOLS
        more = f", and {left_out} more" if left_out > 0 else ""
        lines.append(f"contents of constants and data: {', '.join(others[:_MOST_SYMBOLS])}{more}")
    return lines


def _words(flags: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(word for one in flags for word in one.split()))


def _images(runs: Sequence[Run]) -> dict[str, Elf]:
    return {run.setup.elf.name: run.elf for run in runs}


def _image(elf: Elf, known: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if known is not None and known["sha256"] == elf.sha256:
        return known
    sizes: dict[str, int] = {}
    contents: dict[str, str] = {}
    for symbol in (*elf.symbols.values(), *elf.namesakes):
        if symbol.size_bytes:
            name = printable(symbol.name)
            sizes[name] = sizes.get(name, 0) + symbol.size_bytes
            if not symbol.is_function and (digest := digest_of(elf, symbol)):
                contents[name] = contents.get(name, "") + digest
    return {
        "sha256": elf.sha256,
        "flags": compile_flags(elf),
        "symbols": sizes,
        "contents": contents,
    }


def _last(item: pytest.Item) -> dict[str, Any] | None:
    cache = getattr(item.config, "cache", None)
    found = cache.get(_key(item), None) if cache is not None else None
    is_ours = isinstance(found, dict) and found.get("version") == _VERSION
    return found if is_ours else None


def _key(item: pytest.Item) -> str:
    return f"ebnn/{hashlib.sha256(item.nodeid.encode()).hexdigest()[:16]}"
