"""Sizes and counts as people write them on a command line."""

from __future__ import annotations

import re

from .errors import UserError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(k|kb|kib|m|mb|mib|b)?", re.IGNORECASE)
_COUNT = re.compile(r"(\d+(?:\.\d+)?)\s*(k|m|g)?", re.IGNORECASE)
_LARGEST_SIZE_BYTES = 1 << 32


def parse_size(text: str, option: str = "size") -> int:
    """Bytes in `15k`, `15KiB` (15 x 1024), `1.5M` or plain `15360`; `UserError` otherwise."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UserError(
            f"{option} {text!r} is not a size: write bytes (15360) or kibibytes (15k, 15KiB)"
        )
    unit = (match.group(2) or "b").lower()[0]
    value = float(match.group(1)) * {"b": 1, "k": 1024, "m": 1024 * 1024}[unit]
    if value != int(value):
        raise UserError(f"{option} {text!r} is not a whole number of bytes")
    if not 0 < value <= _LARGEST_SIZE_BYTES:
        raise UserError(f"{option} {text!r} must lie between 1 byte and 4 GiB")
    return int(value)


def parse_count(text: str, option: str = "count") -> int:
    """A positive count, decimal multiples: `1600000`, `1.6M`, `300k`; `UserError` otherwise."""
    match = _COUNT.fullmatch(text.strip())
    factor = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
    value = -1.0
    if match is not None:
        value = float(match.group(1)) * factor[(match.group(2) or "").lower()]
    if value != int(value) or not 0 < value < 1 << 62:
        raise UserError(f"{option} {text!r} is not a positive count: write 1600000, 1.6M or 300k")
    return int(value)


def format_bytes(count: int) -> str:
    """`9112` as `9,112`: exact and readable."""
    return f"{count:,}"


def format_limit(limit_bytes: int) -> str:
    """A limit as the user would have written it: `15k` for 15360, else plain bytes."""
    return f"{limit_bytes // 1024}k" if limit_bytes % 1024 == 0 else str(limit_bytes)
