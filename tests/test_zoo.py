"""The zoo tells of its networks what their logs and checkpoints say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from ebnn import checkpoint, reference, zoo
from ebnn.architecture import InputSpec, parse
from ebnn.data import Dataset, load_dataset
from ebnn.lowered import lower
from ebnn.recipe import load_recipe
from ebnn.sim.errors import UserError
from ebnn.training_session import train_seeds
from ebnn.training_settings import TrainingSettings
from ebnn.zoo.measurement import BOARDS, limit_bytes, measure, write


@pytest.fixture(scope="module")
def small_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of one network, trained with two seeds."""
    folder = tmp_path_factory.mktemp("zoo")
    dataset = load_dataset("digits")
    architecture = parse("conv3x3-8 pool2, fc-10", InputSpec(*dataset.shape))
    train_seeds(architecture, dataset, TrainingSettings(3), folder / "digits.safetensors", 2)
    (folder / "digits-seed1.safetensors").unlink()
    (folder / "digits-seed0.safetensors").rename(folder / "digits.safetensors")
    return folder


def test_figures_are_those_of_the_network_and_its_logs(small_zoo: Path) -> None:
    (model,) = zoo.models(small_zoo)
    told = model.to_dict()
    dataset = load_dataset("digits")
    predictions = reference.run(lower(checkpoint.load(model.path)), dataset.x_test).predictions
    right = float(np.mean(predictions == dataset.y_test))
    assert told["test"]["accuracies"][0] == pytest.approx(right)
    assert told["seeds"] == [0, 1] and told["test"]["standard_error"] is not None
    assert (told["input"], told["builds"]) == ("uint8", [])


def test_what_was_measured_is_kept_and_told(small_zoo: Path, tmp_path: Path) -> None:
    shutil.copytree(small_zoo, tmp_path / "zoo")
    (tmp_path / "zoo" / "digits.safetensors").rename(tmp_path / "zoo" / "digits-2k.safetensors")
    for log in (tmp_path / "zoo").glob("*.jsonl"):
        log.rename(log.with_name(log.name.replace("digits", "digits-2k")))
    (model,) = zoo.models(tmp_path / "zoo")
    write(model, measure(model, load_dataset("digits"), samples=7))
    kinds = [(one["lowering"], one["paper_limit_bytes"]) for one in model.builds()]
    assert kinds == 2 * [("reference", None)] + 2 * [("fast", None)] + 2 * [("fast", 2048)]
    for one in model.builds():
        assert one["agreeing"] == one["samples"] == (5 if one["lowering"] == "reference" else 7)
        # 8 filters of 9 weights, and 10 of 72: at least a bit each.
        assert one["paper_bytes"] >= (8 * 9 + 10 * 72) / 8 + 64
        assert one["paper_bytes"] <= (one["paper_limit_bytes"] or one["paper_bytes"])


def test_a_network_is_written_whole_and_an_unknown_one_refused(
    small_zoo: Path, tmp_path: Path
) -> None:
    zoo.copy(zoo.get("digits", small_zoo), tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == (
        small_zoo / "digits.safetensors"
    ).read_bytes()
    with pytest.raises(UserError, match="no network 'mnist-9k'; there are digits"):
        zoo.get("mnist-9k", small_zoo)


def test_a_network_without_a_finished_log_is_an_error(small_zoo: Path, tmp_path: Path) -> None:
    shutil.copy(small_zoo / "digits.safetensors", tmp_path)
    with pytest.raises(UserError, match=r"no finished log digits-seed0\.jsonl"):
        zoo.models(tmp_path)


def test_the_command_lists_the_zoo_without_torch() -> None:
    code = (
        "import sys; from ebnn.cli import main; sys.argv = ['ebnn', 'zoo', '--json']\n"
        "code = main(); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = [row["name"] for row in json.loads(done.stdout)]
    assert names == [model.name for model in zoo.models()]


@pytest.mark.parametrize("name", [model.name for model in zoo.models()])
def test_a_network_of_the_zoo_is_its_recipes(name: str) -> None:
    model, recipe = zoo.get(name), load_recipe(name)
    for log in model.logs:
        assert len(log.epochs) == recipe.settings.epochs
        settings = asdict(replace(recipe.settings, seed=log.start["seed"], validation=0))
        assert {key: log.start[key] for key in settings} == settings
        assert log.start["architecture"] == recipe.architecture
    kept = checkpoint.load(model.path)
    assert str(kept.architecture) == recipe.architecture
    assert kept.metadata["seed"] == str(model.logs[0].start["seed"])


@pytest.mark.parametrize("name", [model.name for model in zoo.models()])
def test_a_network_of_the_zoo_takes_what_its_figures_say(name: str) -> None:
    """On an image that needs no data set: prediction and bytes, and cycles, which are the same
    for any image. Where kernels have changed, `ebnn zoo --measure` takes the figures anew."""
    model = zoo.get(name)
    spec = lower(checkpoint.load(model.path)).architecture.input
    x = np.random.default_rng(1).integers(0, 256, (1, *spec.sample_shape), np.uint8)
    labels = np.zeros(1, np.int64)
    blank = Dataset("random", x, labels, x, labels, 10)
    told = {
        (one["lowering"], one["paper_limit_bytes"], one["board"]): one for one in model.builds()
    }
    for found in measure(model, blank):
        assert found.agreeing == found.samples == 1
        one = told.pop((found.lowering, found.paper_limit_bytes, found.board))
        for figure in ("paper_bytes", "ram_bytes", "flash_bytes", "cycle_model"):
            assert getattr(found, figure) == one[figure], figure
        if found.lowering == "fast":
            assert found.cycles == one["cycles"]
            assert one["agreeing"] == one["samples"] == 10_000
    assert not told


@pytest.mark.parametrize("name", [model.name for model in zoo.models()])
def test_a_network_of_the_zoo_keeps_within_its_name(name: str) -> None:
    """With fast kernels: in at most 1.0 million cycles on an M4, 1.6 million on an M0+."""
    model = zoo.get(name)
    kept = [one for one in model.builds() if one["paper_limit_bytes"] == limit_bytes(model)]
    assert [one["board"] for one in kept] == list(BOARDS)
    for one, cycles in zip(kept, (1_000_000, 1_600_000), strict=True):
        assert one["paper_bytes"] <= limit_bytes(model)
        assert one["cycles"] <= cycles
