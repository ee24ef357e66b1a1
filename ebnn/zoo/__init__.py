"""Networks that come trained: checkpoints of a few KB beside the logs that tell how they were made.

NAME.safetensors is the first seed's network, made by the recipe NAME of `ebnn/recipes/`;
NAME-seedN.jsonl is the log of each seed, with command, settings, curves and figures; NAME.json has
what the network takes as firmware (`ebnn.zoo.measurement`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebnn.architecture import input_from
from ebnn.files import write_whole
from ebnn.sim.errors import UserError
from ebnn.training_log import TrainingLog, mean_and_error, read_log

FOLDER = Path(__file__).parent


@dataclass(frozen=True, eq=False)
class ZooModel:
    """`logs` are of one seed each, the first that of the checkpoint."""

    name: str
    path: Path
    logs: tuple[TrainingLog, ...]

    def accuracies(self) -> list[float]:
        """Of the last epoch on the test split, 0 to 1, in the order of the logs."""
        tests = [log.end["test"] for log in self.logs if log.end is not None]
        return [test["correct"] / test["total"] for test in tests]

    @property
    def figures_path(self) -> Path:
        return self.path.with_suffix(".json")

    def builds(self) -> list[dict[str, Any]]:
        """What was measured of each build, as `ebnn.zoo.measurement.Build`; none if never."""
        if not self.figures_path.exists():
            return []
        found: list[dict[str, Any]] = json.loads(self.figures_path.read_text(encoding="utf-8"))
        return found

    def to_dict(self) -> dict[str, Any]:
        start = self.logs[0].start
        mean, error = mean_and_error(self.accuracies())
        return {
            "name": self.name,
            "dataset": start["dataset"],
            "architecture": start["architecture"],
            "input": str(input_from(start["input"])),
            "epochs": start["epochs"],
            "seeds": [log.start["seed"] for log in self.logs],
            "test": {"accuracies": self.accuracies(), "mean": mean, "standard_error": error},
            "builds": self.builds(),
            "checkpoint_bytes": self.path.stat().st_size,
            "command": start["command"],
        }


def models(folder: Path = FOLDER) -> list[ZooModel]:
    """The zoo, smallest checkpoint first."""
    paths = sorted(folder.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    return [_model(path) for path in paths]


def get(name: str, folder: Path = FOLDER) -> ZooModel:
    """The network `name`. Raises `UserError` where the zoo has none."""
    found = {model.name: model for model in models(folder)}
    if name not in found:
        raise UserError(f"zoo: no network {name!r}; there are {', '.join(found) or 'none'}")
    return found[name]


def copy(model: ZooModel, output: Path) -> None:
    """Write the checkpoint to `output`, whole or not at all."""
    write_whole(output, model.path.read_bytes())


def _model(path: Path) -> ZooModel:
    logs = [read_log(log) for log in path.parent.glob(f"{path.stem}-seed*.jsonl")]
    logs.sort(key=lambda log: int(log.start["seed"]))
    if not logs or any(log.end is None for log in logs):
        raise UserError(f"zoo: {path} has no finished log {path.stem}-seed0.jsonl beside it")
    return ZooModel(path.stem, path, tuple(logs))
