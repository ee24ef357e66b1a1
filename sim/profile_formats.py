"""Profiles in the formats of the tools that draw them."""

from __future__ import annotations

import json
from typing import Any

from .profile import Profile

SPEEDSCOPE_SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def collapsed(profile: Profile) -> str:
    """`caller;callee cycles` for each stack: what flamegraph.pl and its kin read."""
    lines = []
    for stack in profile.stacks():
        frames = [name.replace(";", ":").replace("\n", " ") for name in stack.frames]
        lines.append(f"{';'.join(frames)} {stack.cycles}\n")
    return "".join(lines)


def speedscope(profile: Profile, name: str) -> dict[str, Any]:
    """A file for https://www.speedscope.app: a sample for each stack, its cycles as the weight."""
    numbers: dict[str, int] = {}
    samples, weights = [], []
    for stack in profile.stacks():
        samples.append([numbers.setdefault(frame, len(numbers)) for frame in stack.frames])
        weights.append(stack.cycles)
    return {
        "$schema": SPEEDSCOPE_SCHEMA,
        "name": name,
        "exporter": "ebnn.sim",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": frame} for frame in numbers]},
        "profiles": [
            {
                "type": "sampled",
                "name": f"{name}: cycles",
                "unit": "none",  # of the units that the format knows none is a cycle
                "startValue": 0,
                "endValue": sum(weights),
                "samples": samples,
                "weights": weights,
            }
        ],
    }


def speedscope_json(profile: Profile, name: str) -> str:
    return json.dumps(speedscope(profile, name)) + "\n"
