"""Named tensors and strings in one safetensors file: equal content gives equal bytes. No torch."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from ebnn.files import write_whole
from ebnn.packing import pack_dense, unpack_dense
from ebnn.sim.errors import UserError

Tensors = dict[str, NDArray[np.generic]]
_Scalar = TypeVar("_Scalar", bound=np.generic)


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


def take(
    tensors: Tensors, name: str, dtype: type[_Scalar], shape: tuple[int, ...]
) -> NDArray[_Scalar]:
    """Take tensor `name` out of `tensors`; `ValueError` where it is missing or another."""
    if name not in tensors:
        raise ValueError(f"tensor {name!r} is missing")
    tensor = tensors.pop(name)
    if tensor.shape != shape or tensor.dtype != dtype:
        wanted = f"{np.dtype(dtype).name} {shape}"
        raise ValueError(f"tensor {name!r} is {tensor.dtype} {tensor.shape}, not {wanted}")
    values = tensor.astype(dtype, copy=False)
    if np.issubdtype(dtype, np.floating) and not np.all(np.isfinite(values)):
        raise ValueError(f"tensor {name!r} holds values that are not finite")
    return values


def take_weight(tensors: Tensors, name: str, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Likewise, of the +-1 weights of `shape` that `pack_dense` has made bits of."""
    packed = take(tensors, name, np.uint8, (-(-math.prod(shape) // 8),))
    weight = unpack_dense(packed, shape)
    if np.any(pack_dense(weight) != packed):
        raise ValueError(f"tensor {name!r} has bits behind the last weight")
    return weight


def check_empty(tensors: Tensors) -> None:
    """`ValueError` where anything was not taken."""
    if tensors:
        raise ValueError(f"unknown tensor {min(tensors)!r}")


def file_format(path: Path) -> str | None:
    """The format that a file says it has; None where it is no file of this kind."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return (file.metadata() or {}).get("format")
    except (SafetensorError, OSError, TypeError, ValueError):
        return None
