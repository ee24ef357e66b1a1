"""Outputs are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from ebnn.sim.errors import UserError


def check_writable(path: Path) -> None:
    """Raise `UserError` when `path` cannot become a file; makes the folder it lies in.

    To be called before long work, so that its result is not lost at the end.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: give the name of a file to write")
    if path.exists() and not path.is_file():
        # os.replace would put a plain file in the place of a device such as /dev/null.
        raise UserError(f"{path} is not a regular file: give the name of a file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path.parent}: cannot make this folder ({error.strerror})") from error
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{path.parent}: no permission to write there")


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part."""
    check_writable(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot write ({error.strerror})") from error
    finally:
        part.unlink(missing_ok=True)
