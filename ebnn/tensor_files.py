"""Named tensors and strings in one safetensors file: equal content gives equal bytes. No torch."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from ebnn.files import write_whole
from ebnn.sim.errors import UserError

Tensors = dict[str, NDArray[np.generic]]


def write(path: Path, tensors: Tensors, metadata: Mapping[str, str]) -> None:
    """Write `tensors` and `metadata` to `path`, whole or not at all."""
    content = safetensors.numpy.save(tensors, dict(metadata))
    # The library writes metadata in an order that differs between runs; ours must not.
    (header_bytes,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + header_bytes])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8 bytes
    write_whole(path, struct.pack("<Q", len(text)) + text + content[8 + header_bytes :])


def read(path: Path, kind: str, file_format: str, command: str) -> tuple[Tensors, dict[str, str]]:
    """The tensors and metadata of the `kind` of file (say "checkpoint") that `command` writes.

    Raises `UserError` when the file is missing, no safetensors file, or not of `file_format`.
    """
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{kind} {path} {problem}: give a file written by `{command}`")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = dict(file.metadata() or {})
            tensors: Tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise UserError(
            f"{kind} {path} is not a readable safetensors file ({error}): "
            f"write it again with `{command}`"
        ) from error
    if metadata.get("format") != file_format:
        raise UserError(
            f"{kind} {path} is not an {file_format} file (its format: {metadata.get('format')}): "
            f"give a file written by `{command}`"
        )
    return tensors, metadata


def file_format(path: Path) -> str | None:
    """The format that a file says it has; None where it is no file of this kind."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return (file.metadata() or {}).get("format")
    except (SafetensorError, OSError, TypeError, ValueError):
        return None
