"""Folders of images: FOLDER/train/CLASS/image.png and FOLDER/test/CLASS/image.png.

Classes are numbered in the order of their names. All images are of one size; they are grey where
every one of them is, and RGB otherwise. Needs Pillow: pip install 'ebnn[images]'.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebnn.dataset import Dataset
from ebnn.sim.errors import UserError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".gif", ".tif", ".tiff", ".webp")
_GREY_MODES = ("1", "L", "LA")


def load_folder(folder: Path) -> Dataset:
    """The data set in `folder`. `UserError` names the folder or file that is wrong."""
    classes = _classes(folder / "train")
    if (unknown := set(_classes(folder / "test")) - set(classes)) or len(classes) < 2:
        problem = f"test has {min(unknown)!r}, which train has not" if unknown else "one class only"
        raise UserError(
            f"data set {folder}: {problem}; give train/CLASS/ and test/CLASS/ of images"
        )
    images: dict[str, list[NDArray[np.uint8]]] = {}
    labels: dict[str, list[int]] = {}
    first: tuple[Path, tuple[int, ...]] | None = None
    for split in ("train", "test"):
        images[split], labels[split] = [], []
        for label, name in enumerate(classes):
            for path in _images(folder / split / name):
                image = _read(path)
                first = first or (path, image.shape[1:])
                if image.shape[1:] != first[1]:
                    raise UserError(
                        f"data set {folder}: {path} is {image.shape[1]}x{image.shape[2]}, but"
                        f" {first[0]} is {first[1][0]}x{first[1][1]}; make all images one size"
                    )
                images[split].append(image)
                labels[split].append(label)
        if not images[split]:
            raise UserError(f"data set {folder}: no image in {folder / split}/CLASS/")
    channels = max(len(image) for split in images.values() for image in split)
    train, test = (
        # A grey image among coloured ones has three equal channels.
        np.stack([np.broadcast_to(image, (channels, *image.shape[1:])) for image in split])
        for split in images.values()
    )
    y_train, y_test = (np.array(split, dtype=np.int64) for split in labels.values())
    return Dataset(folder.resolve().name, train, y_train, test, y_test, classes=len(classes))


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise UserError(f"data set {folder.parent}: no folder {folder.name} in it")
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []  # a class that one split lacks
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)


def _read(path: Path) -> NDArray[np.uint8]:
    """uint8 (1, H, W) of a grey image, (3, H, W) of another; what is transparent is ignored."""
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise UserError("folders of images need Pillow: pip install 'ebnn[images]'") from None
    try:
        with Image.open(path) as image:
            mode = "L" if image.mode in _GREY_MODES else "RGB"
            pixels = np.asarray(image.convert(mode), dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"data set: {path} is no image that can be read ({error})") from error
    return pixels[np.newaxis] if mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))
