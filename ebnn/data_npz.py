"""Data sets in .npz files: x_train, y_train, x_test, y_test.

Images are uint8 (N, H, W) or (N, C, H, W); a signal of one dimension is (N, C, 1, length).
Labels are whole numbers from 0, of shape (N,).
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebnn.dataset import Dataset
from ebnn.sim.errors import UserError

MAX_CLASSES = 1 << 16


def load_npz(path: Path) -> Dataset:
    """The data set in an .npz file. `UserError` names the array that is not as it should be."""
    if not path.is_file():
        raise UserError(f"data set {path}: no such file")
    names = ("x_train", "y_train", "x_test", "y_test")
    arrays: dict[str, NDArray[np.generic]] = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in names:
                if name not in file:
                    found = ", ".join(file.files) or "nothing"
                    raise UserError(
                        f"data set {path}: no array {name!r} (it holds {found}); "
                        f"save it with np.savez(path, {', '.join(f'{key}=...' for key in names)})"
                    )
                arrays[name] = file[name]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, TypeError) as error:
        raise UserError(f"data set {path}: not a readable .npz file ({error})") from error
    images = {name: _images(path, name, arrays[name]) for name in ("x_train", "x_test")}
    labels = {
        name: _labels(path, name, arrays[name], len(images[name.replace("y", "x")]))
        for name in ("y_train", "y_test")
    }
    if images["x_train"].shape[1:] != images["x_test"].shape[1:]:
        raise UserError(
            f"data set {path}: images of x_train are {images['x_train'].shape[1:]} (C, H, W), "
            f"of x_test {images['x_test'].shape[1:]}; make them alike"
        )
    classes = int(max(labels["y_train"].max(), labels["y_test"].max())) + 1
    return Dataset(
        path.stem,
        images["x_train"],
        labels["y_train"],
        images["x_test"],
        labels["y_test"],
        classes=max(classes, 2),
    )


def _images(path: Path, name: str, array: NDArray[np.generic]) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        raise UserError(f"data set {path}: {name} is {array.dtype}, not uint8; scale it to 0..255")
    if array.ndim not in (3, 4):
        raise UserError(
            f"data set {path}: {name} has shape {array.shape}, not (N, H, W) or (N, C, H, W)"
        )
    if array.size == 0:
        raise UserError(f"data set {path}: {name} is empty, its shape is {array.shape}")
    images = np.ascontiguousarray(array, dtype=np.uint8)
    return images[:, np.newaxis] if images.ndim == 3 else images


def _labels(path: Path, name: str, array: NDArray[np.generic], count: int) -> NDArray[np.int64]:
    if not np.issubdtype(array.dtype, np.integer):
        raise UserError(f"data set {path}: {name} is {array.dtype}, not whole numbers (uint8)")
    if array.shape != (count,):
        raise UserError(
            f"data set {path}: {name} has shape {array.shape}, not ({count},), one for each image"
        )
    lowest, highest = int(array.min()), int(array.max())
    if lowest < 0 or highest >= MAX_CLASSES:
        raise UserError(
            f"data set {path}: {name} holds labels {lowest}..{highest}; number the classes from 0"
        )
    return array.astype(np.int64)
