"""Data sets by name or by path, as `--dataset` takes them.

    load_dataset("mnist")                          # fetched where it is not in the cache
    load_dataset("digits")                         # comes with scikit-learn
    load_dataset("cifar10", "downloads")           # its standard files, in a folder of yours
    load_dataset("mine.npz")                       # x_train, y_train, x_test, y_test
    load_dataset("photos")                         # photos/train/CLASS/, photos/test/CLASS/

Images are uint8, as they enter the network on the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ebnn import data_folder, data_npz, data_standard
from ebnn.dataset import Dataset
from ebnn.sim.errors import UserError

__all__ = ["NAMES", "Dataset", "load_dataset"]

NAMES: Mapping[str, str] = {
    "mnist": "handwritten digits, 28x28; 60,000 to train on, 10,000 to test",
    "digits": "scikit-learn's handwritten digits, 8x8, no download; 1,438 to train on, 359 to test",
    "fashion-mnist": "pieces of clothing, 28x28; 60,000 to train on, 10,000 to test",
    "kmnist": "cursive Japanese characters, 28x28; 60,000 to train on, 10,000 to test",
    "cifar10": "photos of animals and vehicles, 3x32x32; 50,000 to train on, 10,000 to test",
}


def load_dataset(name_or_path: str | Path, data_dir: Path | str | None = None) -> Dataset:
    """Load a data set by name, or an .npz file or a folder of images by path.

    `data_dir` is a folder with the standard files of the data set; MNIST alone comes from the cache
    or is downloaded without it. `UserError` when the data cannot be had or is not as it should be.
    """
    name = str(name_or_path)
    folder = None if data_dir is None else Path(data_dir)
    if name == "digits":
        return _digits()
    if name in NAMES:
        return data_standard.load(name, folder)
    if name.endswith(".npz"):
        return data_npz.load_npz(Path(name_or_path))
    if Path(name_or_path).is_dir():
        return data_folder.load_folder(Path(name_or_path))
    raise UserError(
        f"data set {name!r}: give one of {', '.join(NAMES)}, the path of an .npz file with x_train,"
        " y_train, x_test, y_test, or a folder with train/CLASS/ and test/CLASS/ of images"
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
