"""Images are turned, scaled and moved by what was asked for, and stay bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ebnn.architecture import InputSpec, parse
from ebnn.augmentation import augment
from ebnn.data import load_dataset
from ebnn.sim.errors import UserError
from ebnn.training import train
from ebnn.training_settings import TrainingSettings


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blob(height: int, width: int, row: float, column: float, count: int = 40) -> torch.Tensor:
    """`count` images uint8 of a bright spot around (row, column)."""
    rows, columns = np.mgrid[:height, :width]
    spot = 255 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 4)
    return torch.tensor(np.rint(spot).astype(np.uint8)).expand(count, 1, -1, -1)


def centres(images: torch.Tensor) -> np.ndarray:
    """(N, 2): row and column of each image's centre of gravity."""
    x = images[:, 0].double().numpy()
    rows, columns = np.mgrid[: x.shape[1], : x.shape[2]]
    return np.stack([(x * at).sum((1, 2)) / x.sum((1, 2)) for at in (rows, columns)], axis=1)


def test_without_any_change_images_are_what_they_were() -> None:
    images = torch.randint(0, 256, (5, 3, 9, 12), dtype=torch.uint8, generator=generator())
    assert torch.equal(augment(images, TrainingSettings(), generator()), images.float())


def test_images_move_by_pixels_up_to_the_shift() -> None:
    moved = centres(augment(blob(20, 30, 9, 14), TrainingSettings(shift_pixels=3), generator()))
    by = moved - (9, 14)
    assert np.abs(by).max() <= 3.05
    assert (by.max(axis=0) > 2).all() and (by.min(axis=0) < -2).all()


@pytest.mark.parametrize(("height", "width"), [(29, 29), (21, 35)])
def test_images_turn_about_their_centre_without_a_change_of_shape(height: int, width: int) -> None:
    row, column = (height - 1) / 2, (width - 1) / 2
    settings = TrainingSettings(rotation_degrees=30)
    found = centres(augment(blob(height, width, row, column + 7), settings, generator()))
    down, right = (found - (row, column)).T
    np.testing.assert_allclose(np.hypot(down, right), 7, atol=0.1)
    degrees = np.degrees(np.arctan2(down, right))
    assert np.abs(degrees).max() <= 30.5 and degrees.max() > 20 and degrees.min() < -20


def test_images_grow_and_shrink_up_to_the_percentage() -> None:
    settings = TrainingSettings(scale_percent=20)
    found = centres(augment(blob(29, 29, 14, 22), settings, generator()))
    factors = (found[:, 1] - 14) / 8
    assert factors.min() < 0.87 and factors.max() > 1.13
    assert factors.min() > 0.79 and factors.max() < 1.21


def test_changed_images_are_whole_numbers_of_a_byte_and_another_in_each_epoch() -> None:
    settings = TrainingSettings(rotation_degrees=12, scale_percent=12, shift_pixels=2)
    images = torch.tensor(load_dataset("digits").x_train[:50])
    first, again, other = (augment(images, settings, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(first, first.round()) and first.min() >= 0 and first.max() <= 255


def test_the_last_epochs_see_clean_images() -> None:
    settings = TrainingSettings(epochs=10, shift_pixels=1)
    assert settings.augmented_epochs == 6
    assert replace(settings, clean=0).augmented_epochs == 10
    assert replace(settings, shift_pixels=0).augmented_epochs == 0


def test_signals_of_one_row_are_not_turned() -> None:
    dataset = load_dataset("digits")
    flat = replace(
        dataset,
        x_train=dataset.x_train.reshape(-1, 1, 1, 64),
        x_test=dataset.x_test.reshape(-1, 1, 1, 64),
    )
    architecture = parse("conv1x5-8, fc-10", InputSpec(1, 1, 64))
    with pytest.raises(UserError, match="1x64 are no images"):
        train(architecture, flat, TrainingSettings(epochs=1, rotation_degrees=5))
