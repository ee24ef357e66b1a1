"""Models by path: a checkpoint or a lowered model, whichever the file is."""

from __future__ import annotations

from pathlib import Path

from ebnn import checkpoint, lowered, tensor_files
from ebnn.lowered import LoweredNetwork


def load_network(path: Path) -> LoweredNetwork:
    """The integer network of a checkpoint or of what `ebnn lower` wrote.

    Raises `UserError` when the file is missing, damaged or something else.
    """
    if tensor_files.file_format(path) == lowered.FORMAT:
        return lowered.load(path)
    return lowered.lower(checkpoint.load(path))
