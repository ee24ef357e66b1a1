"""Recipes: a data set, an architecture and the settings that train it well, as TOML.

    dataset = "mnist"
    architecture = "conv3x3-16 pool2, conv3x3-32 pool2, conv3x3-40, fc-10"

    [training]              # the fields of `ebnn.training_settings.TrainingSettings`
    epochs = 25
    learning_rate = 0.007

The package's recipes lie in `ebnn/recipes/`, and are given by name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ebnn.architecture import parse_input
from ebnn.sim.errors import UserError
from ebnn.training_settings import TrainingSettings, checked

FOLDER = Path(__file__).parent / "recipes"
_KEYS = ("dataset", "architecture", "input", "training")


@dataclass(frozen=True)
class Recipe:
    """`input` is as `ebnn.architecture.parse_input` takes it."""

    name: str
    dataset: str
    architecture: str
    input: str
    settings: TrainingSettings


def recipe_names() -> list[str]:
    """The names of the recipes that come along."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_recipe(name_or_path: str) -> Recipe:
    """A recipe of the package by its name, or the one in a TOML file.

    `UserError` names the key that is unknown, missing or out of range.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        if name_or_path not in recipe_names():
            raise UserError(
                f"recipe {name_or_path!r}: give one of {', '.join(recipe_names())},"
                " or the path of a .toml file"
            )
        path = FOLDER / f"{name_or_path}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"recipe {path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"recipe {path}: not TOML ({error})") from error
    return _recipe(path, content)


def _recipe(path: Path, content: Mapping[str, Any]) -> Recipe:
    where = f"recipe {path}: "
    _refuse_unknown(where, content, _KEYS)
    texts = {"input": "uint8", **content}
    for key in ("dataset", "architecture", "input"):
        if not isinstance(texts.get(key), str):
            raise UserError(f"{where}{key} must be there, as text in quotes")
    try:
        parse_input(texts["input"], (1, 1, 1))
    except UserError as error:
        raise UserError(f"{where}{error}") from None
    training = content.get("training", {})
    if not isinstance(training, dict):
        raise UserError(f"{where}training must be a table: [training]")
    _refuse_unknown(
        f"{where}[training] ", training, [field.name for field in fields(TrainingSettings)]
    )
    settings = checked(TrainingSettings(**training), {}, f"{where}[training] ")
    return Recipe(path.stem, texts["dataset"], texts["architecture"], texts["input"], settings)


def _refuse_unknown(
    where: str, found: Mapping[str, Any], known: list[str] | tuple[str, ...]
) -> None:
    for key in found:
        if key not in known:
            raise UserError(f"{where}unknown key {key!r}; keys are {', '.join(known)}")
