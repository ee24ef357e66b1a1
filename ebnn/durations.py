"""Spans of time as people write them on a command line."""

from __future__ import annotations

import re

from ebnn.sim.errors import UserError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|min|h)", re.IGNORECASE)
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_duration(text: str, option: str = "duration") -> float:
    """Seconds in `20ms`, `90s`, `30m` (minutes) or `2h`; `UserError` otherwise."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2].lower()] if match else 0.0
    if seconds <= 0:
        raise UserError(f"{option} {text!r} is not a time: write 20ms, 90s, 30m or 2h")
    return seconds


def format_duration(seconds: float) -> str:
    """`1:02:03`, or `2:03` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
