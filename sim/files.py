"""Writes result files whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import UserError


def write_whole(path: str | Path, text: str) -> None:
    """Write `text` to `path` through a temporary file beside it. `OSError` where that fails."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_result(path: str, text: str, what: str) -> None:
    """`write_whole` for a file that a user named; `UserError` where `what` cannot be written."""
    try:
        write_whole(path, text)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot write {what} ({reason})") from error
