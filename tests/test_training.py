"""Training on real data: it learns, it repeats itself, and it says what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ebnn import checkpoint
from ebnn.architecture import InputSpec, parse
from ebnn.data import load_dataset
from ebnn.layers import BinaryConv2d, BinaryLinear, ConvPoolBlock, clip_latent_weights, sign
from ebnn.sim.errors import UserError
from ebnn.training import TrainingSettings, predict, train

ARCHITECTURE = "conv3x3-16 pool2, fc-32, fc-10"


def train_digits(output: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ebnn.cli", "train", "--dataset", "digits"]
    arguments = ["--arch", ARCHITECTURE, "--epochs", "6", "--out", str(output), *more]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def test_same_seed_same_checkpoint_bytes_and_another_seed_others(tmp_path: Path) -> None:
    runs = {"a": "7", "b": "7", "c": "8"}
    for name, seed in runs.items():
        done = train_digits(tmp_path / name, "--seed", seed)
        assert done.returncode == 0, done.stderr
    first, second, third = ((tmp_path / name).read_bytes() for name in runs)
    assert first == second
    assert first != third


def test_a_small_network_learns_digits() -> None:
    dataset = load_dataset("digits")
    architecture = parse(ARCHITECTURE, InputSpec(*dataset.shape))
    network = train(architecture, dataset, TrainingSettings(epochs=15, batch_samples=32))
    assert np.mean(predict(network, dataset.x_test) == dataset.y_test) > 0.85


@pytest.mark.parametrize("kind", ["bits", "float"])
def test_other_kinds_of_input_learn_too(kind: str) -> None:
    dataset = load_dataset("digits")
    architecture = parse(ARCHITECTURE, InputSpec(*dataset.shape, kind=kind))
    network = train(architecture, dataset, TrainingSettings(epochs=15, batch_samples=32))
    assert np.mean(predict(network, dataset.x_test) == dataset.y_test) > 0.8


def test_weights_in_the_checkpoint_are_signs_of_clipped_latent_ones(tmp_path: Path) -> None:
    assert train_digits(tmp_path / "m", "--keep-latent").returncode == 0
    for block in checkpoint.load(tmp_path / "m").blocks:
        assert block.latent is not None
        assert np.abs(block.latent).max() <= 1
        assert np.array_equal(block.weight, np.where(block.latent >= 0, 1, -1))


def test_sign_of_zero_is_plus_one_and_the_gradient_stops_beyond_one() -> None:
    x = torch.tensor([-2.0, -0.5, 0.0, 1.0, 1.5], requires_grad=True)
    y = sign(x)
    y.backward(torch.full_like(y, 3.0))  # type: ignore[no-untyped-call]
    assert y.tolist() == [-1, -1, 1, 1, 1]
    assert x.grad is not None
    assert x.grad.tolist() == [0, 3, 3, 3, 0]


def test_blocks_are_ordinary_modules_of_a_users_own_loop() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        ConvPoolBlock(1, 8, 3, padding=1, pool=2), torch.nn.Flatten(), BinaryLinear(8 * 16, 2)
    )
    x = torch.randn(64, 1, 8, 8)
    labels = (x.mean(dim=(1, 2, 3)) > 0).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(x) / 16, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        clip_latent_weights(model)
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2
    assert all(float(p.detach().abs().max()) <= 1 for p in BinaryConv2d(1, 2, 3).parameters())


def test_samples_of_another_shape_are_refused() -> None:
    with pytest.raises(UserError, match=r"digits: samples are \(1, 8, 8\)"):
        train(
            parse("fc-10", InputSpec(1, 28, 28)), load_dataset("digits"), TrainingSettings(epochs=1)
        )


@pytest.mark.parametrize("option", ["--epochs", "--lr", "--batch"])
def test_impossible_settings_exit_with_2_and_one_line(tmp_path: Path, option: str) -> None:
    done = train_digits(tmp_path / "m", option, "0")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert option in done.stderr
    assert not (tmp_path / "m").exists()
