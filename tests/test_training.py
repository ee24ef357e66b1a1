"""Training on real data: it learns, it repeats itself, and it says what is wrong."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
from in_process import run_ebnn

from ebnn import checkpoint
from ebnn.architecture import InputSpec, parse
from ebnn.data import Dataset, load_dataset
from ebnn.layers import BinaryConv2d, BinaryLinear, ConvPoolBlock, clip_latent_weights, sign
from ebnn.network import from_checkpoint
from ebnn.sim.errors import UserError
from ebnn.training import TrainingProgress, predict, train, train_teacher
from ebnn.training_settings import TrainingSettings

ARCHITECTURE = "conv3x3-16 pool2, fc-32, fc-10"


def train_digits(output: Path, *more: str) -> CompletedProcess[str]:
    arguments = ["--dataset", "digits", "--arch", ARCHITECTURE, "--epochs", "6", "--out", output]
    return run_ebnn("train", *arguments, *more)


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


def first_digits(count: int) -> Dataset:
    dataset = load_dataset("digits")
    return replace(dataset, x_train=dataset.x_train[:count], y_train=dataset.y_train[:count])


def test_a_sample_left_over_behind_the_last_batch_is_no_error() -> None:
    dataset = first_digits(65)
    architecture = parse("fc-8, fc-10", InputSpec(*dataset.shape))
    seen: list[TrainingProgress] = []
    train(architecture, dataset, TrainingSettings(epochs=2, batch_samples=16), seen.append)
    assert [(state.epoch, state.step, state.steps) for state in seen] == [
        (epoch, step, 4) for epoch in (0, 1) for step in (1, 2, 3, 4)
    ]
    with pytest.raises(UserError, match="at least 2 samples a batch"):
        train(architecture, first_digits(1), TrainingSettings(epochs=1))


def test_training_leaves_torchs_global_state_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    dataset = first_digits(64)
    threads = torch.get_num_threads()
    settings = TrainingSettings(epochs=1, threads=threads + 1)
    train(parse("fc-10", InputSpec(*dataset.shape)), dataset, settings)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_learning_rate_beyond_reason_is_an_error_and_not_a_broken_network() -> None:
    dataset = first_digits(64)
    architecture = parse("fc-10", InputSpec(*dataset.shape))
    settings = TrainingSettings(epochs=3, batch_samples=16, learning_rate=1e38)
    with pytest.raises(UserError, match="lower --lr"):
        train(architecture, dataset, settings)


def test_json_reports_what_was_trained_and_how_well(tmp_path: Path) -> None:
    done = train_digits(tmp_path / "m", "--json", "--epochs", "2", "--seeds", "2")
    result = json.loads(done.stdout)
    dataset = load_dataset("digits")
    _, x_held, y_held = dataset.hold_out(0.1)
    tested, held = [], []
    for seed, one in enumerate(result["networks"]):
        assert one["settings"] == asdict(TrainingSettings(epochs=2, seed=seed))
        network = from_checkpoint(checkpoint.load(tmp_path / f"m-seed{seed}"))
        right = int((predict(network, dataset.x_test) == dataset.y_test).sum())
        right_held = int((predict(network, x_held) == y_held).sum())
        assert one["test"] == {"correct": right, "total": 359}
        assert one["validation"] == {"correct": right_held, "total": 143}
        tested.append(right / 359)
        held.append(right_held / 143)
    assert result["seeds"] == [0, 1]
    for name, values in (("test", tested), ("validation", held)):
        error = abs(values[0] - values[1]) / 2  # of two values
        assert result[name]["mean"] == pytest.approx(sum(values) / 2)
        assert result[name]["standard_error"] == pytest.approx(error)
    assert done.stderr.splitlines()[0].startswith("epoch 1/2: loss ")


def test_held_out_samples_never_train_and_the_rest_all_do() -> None:
    dataset = load_dataset("digits")
    rest, x_held, y_held = dataset.hold_out(0.1)
    assert (len(rest.x_train), len(x_held), len(y_held)) == (1295, 143, 143)
    together = np.concatenate((rest.x_train, x_held)).reshape(1438, -1)
    assert sorted(map(bytes, together)) == sorted(map(bytes, dataset.x_train.reshape(1438, -1)))
    assert set(y_held) == set(range(10))
    assert len(dataset.hold_out(0)[1]) == 0


def test_a_network_learns_from_its_teachers_scores_alone(tmp_path: Path) -> None:
    dataset = load_dataset("digits")
    architecture = parse(ARCHITECTURE, InputSpec(*dataset.shape))
    settings = TrainingSettings(epochs=15, batch_samples=32, distillation=1.0, teacher_epochs=6)
    teacher = train_teacher(architecture, dataset, settings)
    # Labels that say nothing: what the network learns, the teacher told it.
    wrong = replace(dataset, y_train=np.zeros_like(dataset.y_train))
    network = train(architecture, wrong, settings, teacher=teacher)
    assert np.mean(predict(network, dataset.x_test) == dataset.y_test) > 0.8


def test_cuda_is_refused_where_there_is_none(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    done = train_digits(tmp_path / "m", "--device", "cuda")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "--device cuda" in done.stderr and "--device cpu" in done.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--epochs", "0"),
        ("--lr", "nan"),
        ("--batch", "0"),
        ("--threads", "0"),
        ("--seed", "9" * 30),
        ("--seeds", "0"),
        ("--validation", "0.6"),
        ("--clean", "-1"),
        ("--distill", "1.5"),
        ("--temperature", "inf"),
        ("--device", "tpu"),
    ],
)
def test_impossible_settings_exit_with_2_and_one_line(
    tmp_path: Path, option: str, value: str
) -> None:
    done = train_digits(tmp_path / "m", option, value)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert option in done.stderr
    assert not (tmp_path / "m").exists()
