"""Recipes say all that decides a network, and what they must not say is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebnn.architecture import parse, parse_input
from ebnn.cli import build_parser
from ebnn.commands.train import _recipe
from ebnn.recipe import Recipe, load_recipe, recipe_names
from ebnn.sim.errors import UserError
from ebnn.training_settings import TrainingSettings

GOOD = """
dataset = "digits"
architecture = "conv3x3-8, fc-10"
[training]
epochs = 3
shift_pixels = 1.5
"""


def asked(*options: str) -> Recipe:
    return _recipe(build_parser().parse_args(["train", "-o", "m.safetensors", *options]))


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_of_the_package_has_a_network_for_its_data(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.dataset == "mnist"
    assert parse(recipe.architecture, parse_input(recipe.input, (1, 28, 28))).classes == 10


def test_a_recipe_file_is_read_and_options_go_over_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    settings = TrainingSettings(epochs=3, shift_pixels=1.5)
    assert load_recipe(str(path)) == Recipe("mine", "digits", "conv3x3-8, fc-10", "uint8", settings)
    changed = asked("--recipe", str(path), "--epochs", "9", "--seed", "4", "--input", "bits")
    settings = TrainingSettings(epochs=9, seed=4, shift_pixels=1.5)
    assert changed == Recipe("mine", "digits", "conv3x3-8, fc-10", "bits", settings)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("epochs", "epoch", r"\[training\] unknown key 'epoch'; keys are epochs, seed"),
        ("[training]", "board = 1\n[training]", "unknown key 'board'; keys are dataset"),
        ("epochs = 3", "epochs = 0", r"\[training\] epochs 0: must be from 1"),
        ("epochs = 3", "epochs = 2.5", "epochs 2.5: must be a whole number"),
        ("epochs = 3", "epochs = true", "epochs True: must be a number"),
        ("epochs = 3", "learning_rate = nan", "learning_rate nan: must be more than 0"),
        ("epochs = 3", "seed = '1'", "seed 1: must be a number"),
        ("epochs = 3", "device = 'abacus'", "device abacus: must be one of cpu, cuda"),
        ('dataset = "digits"', "", "dataset must be there"),
        ('"conv3x3-8, fc-10"', "3", "architecture must be there, as text"),
        ("[training]", 'input = "text"\n[training]', "input 'text': give uint8"),
        ("[training]\nepochs = 3\n", "training = 1\n#", r"\[training\]"),
        ("[training]", "[training", "not TOML"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    path = tmp_path / "mine.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(UserError, match=problem) as caught:
        load_recipe(str(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_recipe_lists_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'mnist-1m': give one of .*mnist-2k.* or the path"):
        load_recipe("mnist-1m")
    with pytest.raises(UserError, match=r"none\.toml: cannot be read"):
        load_recipe(str(tmp_path / "none.toml"))
    with pytest.raises(UserError, match="give --dataset and --arch, or a --recipe"):
        asked("--arch", "fc-10")
