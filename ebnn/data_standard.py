"""MNIST, Fashion-MNIST, KMNIST and CIFAR-10 from the files that they are published as.

The first three are four IDX files of the same names, compressed or not; CIFAR-10 is its binary
version: each record a byte of the class and 3 x 32 x 32 of the image, red, green, blue.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebnn import mnist, mnist_sources
from ebnn.dataset import Dataset
from ebnn.mnist_sources import Files, SourceError
from ebnn.sim.errors import UserError

# Folders within --data-dir where torchvision lays the files.
_RAW = {"fashion-mnist": "FashionMNIST/raw", "kmnist": "KMNIST/raw"}
CIFAR10_FOLDER = "cifar-10-batches-bin"
CIFAR10_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR10_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
CIFAR10_TEST = "test_batch.bin"
_CIFAR10_SHAPE = (3, 32, 32)
_CIFAR10_RECORD_BYTES = 1 + 3 * 32 * 32
_MAX_FILE_BYTES = 64 << 20  # a batch has 30,730,000


def load(name: str, data_dir: Path | None) -> Dataset:
    """The data set `name`. Only MNIST can be had without `data_dir`."""
    if name == "mnist":
        return _from_idx(name, mnist.load(data_dir)[0])
    if data_dir is None:
        files = CIFAR10_ARCHIVE if name == "cifar10" else "the four IDX files"
        raise UserError(f"data set {name}: give the folder that holds {files} with --data-dir")
    if not data_dir.is_dir():
        raise UserError(f"--data-dir {data_dir}: no such folder")
    return _cifar10(data_dir) if name == "cifar10" else _like_mnist(name, data_dir)


def _like_mnist(name: str, data_dir: Path) -> Dataset:
    try:
        files = mnist_sources.from_folder(data_dir, mnist.SHA256, _RAW[name])
    except SourceError as error:
        raise UserError(f"data set {name}: --data-dir {data_dir}: {error}") from None
    for file, content in files.items():
        # All three have files of these names; the figures would be of another task.
        if hashlib.sha256(content).hexdigest() == mnist.SHA256[file]:
            raise UserError(
                f"data set {name}: {file} in --data-dir {data_dir} is MNIST's; give the folder"
                f" of {name}, or --dataset mnist"
            )
    return _from_idx(name, files)


def _from_idx(name: str, files: Files) -> Dataset:
    arrays = {}
    for file in mnist.SHA256:
        try:
            arrays[file] = mnist.parse_idx(files[file])
        except UserError as error:
            raise UserError(f"data set {name}: {file}: {error}") from error
    x_train, y_train, x_test, y_test = (arrays[file] for file in mnist.SHA256)
    for x, y in ((x_train, y_train), (x_test, y_test)):
        if x.ndim != 3 or y.shape != x.shape[:1] or x.size == 0 or int(y.max()) > 9:
            raise UserError(
                f"data set {name}: images of shape {x.shape} with labels of shape {y.shape}: the"
                " files are no images (N, H, W) with N labels 0..9"
            )
    if x_train.shape[1:] != x_test.shape[1:]:
        raise UserError(f"data set {name}: images of {x_train.shape[1:]} and {x_test.shape[1:]}")
    return Dataset(
        name,
        x_train[:, np.newaxis],
        y_train.astype(np.int64),
        x_test[:, np.newaxis],
        y_test.astype(np.int64),
        classes=10,
    )


def _cifar10(data_dir: Path) -> Dataset:
    files = _cifar10_files(data_dir)
    train = [_records(name, files[name]) for name in CIFAR10_TRAIN]
    x_test, y_test = _records(CIFAR10_TEST, files[CIFAR10_TEST])
    return Dataset(
        "cifar10",
        np.concatenate([x for x, _ in train]),
        np.concatenate([y for _, y in train]),
        x_test,
        y_test,
        classes=10,
    )


def _cifar10_files(data_dir: Path) -> Mapping[str, bytes]:
    """The six files, from the folder, its cifar-10-batches-bin, or the archive in it."""
    names = (*CIFAR10_TRAIN, CIFAR10_TEST)
    for folder in (data_dir, data_dir / CIFAR10_FOLDER):
        if all((folder / name).is_file() for name in names):
            return {name: (folder / name).read_bytes() for name in names}
    archive = data_dir / CIFAR10_ARCHIVE
    if not archive.is_file():
        raise UserError(
            f"data set cifar10: --data-dir {data_dir} has neither {names[0]} to {names[-1]} nor"
            f" {CIFAR10_ARCHIVE}; it must be the binary version, as the Python one is pickles"
        )
    files = {}
    try:
        with tarfile.open(archive) as tar:
            for name in names:
                member = tar.extractfile(f"{CIFAR10_FOLDER}/{name}")
                if member is None:
                    raise KeyError(name)
                files[name] = member.read(_MAX_FILE_BYTES)
    except (tarfile.TarError, OSError, EOFError, KeyError) as error:
        raise UserError(
            f"data set cifar10: {archive} cannot be read ({error}); download it again"
        ) from error
    return files


def _records(name: str, content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if not content or len(content) % _CIFAR10_RECORD_BYTES:
        raise UserError(
            f"data set cifar10: {name} has {len(content)} bytes, which are no whole records of"
            f" {_CIFAR10_RECORD_BYTES}; download it again"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, _CIFAR10_RECORD_BYTES)
    labels = records[:, 0].astype(np.int64)
    if labels.max() > 9:
        raise UserError(f"data set cifar10: {name} has a class {labels.max()}, above 9")
    return np.ascontiguousarray(records[:, 1:]).reshape(-1, *_CIFAR10_SHAPE), labels
