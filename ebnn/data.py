"""Data sets: `mnist`, `digits`, and any .npz of the user's.

    dataset = load_dataset("mnist")
    dataset = load_dataset("digits")
    dataset = load_dataset("mine.npz")     # x_train, y_train, x_test, y_test

Images are uint8, as they enter the network on the device.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebnn import mnist
from ebnn.sim.errors import UserError

NAMES: Mapping[str, str] = {
    "mnist": "handwritten digits, 28x28; 60,000 to train on, 10,000 to test",
    "digits": "scikit-learn's handwritten digits, 8x8, no download; 1,438 to train on, 359 to test",
}
MAX_CLASSES = 1 << 16


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images uint8 (N, C, H, W) and labels int64 (N,) in 0..classes-1, split in two."""

    name: str
    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]
    classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.x_train.shape[1:]
        return (channels, height, width)

    def hold_out(self, part: float) -> tuple[Dataset, NDArray[np.uint8], NDArray[np.int64]]:
        """The data set without `part` (0 to 0.5) of its training samples, and these, evenly spread.

        Fixed by position, so that no random generator's version matters.
        """
        position = np.arange(len(self.x_train) + 1)
        held = np.diff(np.floor(position * part)) > 0
        rest = replace(self, x_train=self.x_train[~held], y_train=self.y_train[~held])
        return rest, self.x_train[held], self.y_train[held]


def load_dataset(name_or_path: str | Path, data_dir: Path | str | None = None) -> Dataset:
    """Load a data set by name, or an .npz file by path.

    `data_dir` is a folder with MNIST's four IDX files; without it they come from the cache or are
    downloaded. `UserError` when the data cannot be had or is not as it should be.
    """
    name = str(name_or_path)
    if name == "mnist":
        return _mnist(None if data_dir is None else Path(data_dir))
    if name == "digits":
        return _digits()
    if name.endswith(".npz"):
        return _npz(Path(name_or_path))
    raise UserError(
        f"data set {name!r}: give one of {', '.join(NAMES)}, or the path of an .npz file "
        "with x_train, y_train, x_test, y_test"
    )


def _mnist(data_dir: Path | None) -> Dataset:
    files, _ = mnist.load(data_dir)
    x_train, y_train, x_test, y_test = (mnist.parse_idx(files[name]) for name in mnist.SHA256)
    return Dataset(
        "mnist",
        x_train[:, np.newaxis],
        y_train.astype(np.int64),
        x_test[:, np.newaxis],
        y_test.astype(np.int64),
        classes=10,
    )


def _digits() -> Dataset:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError(
            "data set 'digits' needs scikit-learn: pip install 'ebnn[train]'"
        ) from error
    images, labels = load_digits(return_X_y=True)
    # Values 0..16, halves to even: 0, 16, 32, 48, 64, 80, 96, 112, 128, 143, ... 255.
    x = np.rint(images * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    y = labels.astype(np.int64)
    # Every fifth sample tests: fixed by position, so no random generator's version matters.
    test = np.arange(len(x)) % 5 == 4
    return Dataset("digits", x[~test], y[~test], x[test], y[test], classes=10)


def _npz(path: Path) -> Dataset:
    if not path.is_file():
        raise UserError(f"data set {path}: no such file; data sets by name: {', '.join(NAMES)}")
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
