"""Training curves for TensorBoard, which is an extra: pip install 'ebnn[tensorboard]'."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ebnn.sim.errors import UserError

_CURVES = ("loss", "training_accuracy", "validation_accuracy")


@contextmanager
def tensorboard(folder: Path | None) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Within, a function that takes each epoch's line of the log; without `folder` it does nothing.

    Raises `UserError` where TensorBoard is not installed.
    """
    if folder is None:
        yield lambda line: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        raise UserError(
            "--tensorboard needs TensorBoard: pip install 'ebnn[tensorboard]'"
        ) from None
    with SummaryWriter(str(folder)) as writer:

        def add(line: Mapping[str, Any]) -> None:
            for name in _CURVES:
                if line[name] is not None:
                    writer.add_scalar(name, line[name], line["epoch"])

        yield add
