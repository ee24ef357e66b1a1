"""Training as it goes: a bar an epoch on a terminal; a line an epoch elsewhere. On stderr."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ebnn.training import TrainingProgress


class TrainingDisplay:
    """Call it after every step, and `end_epoch` after every epoch.

    `loss` and `accuracy` are the last step's: means over the epoch so far. A `quiet` one shows
    nothing.
    """

    def __init__(self, title: str, epochs: int, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._title, self._epochs = title, epochs
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.4f}  accuracy {task.fields[right]:.2%}"),
            TextColumn("{task.fields[held]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._name = ""
        self.loss = self.accuracy = float("nan")

    def __enter__(self) -> TrainingDisplay:
        self._bars.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._bars.stop()

    def __call__(self, progress: TrainingProgress) -> None:
        self.loss, self.accuracy = progress.loss, progress.accuracy
        if progress.step == 1:
            self._name = f"{self._title} {progress.epoch + 1}/{self._epochs}"
            self._task = self._bars.add_task(
                self._name, total=progress.steps, loss=0.0, right=0.0, held=""
            )
        assert self._task is not None
        self._bars.update(
            self._task, completed=progress.step, loss=progress.loss, right=progress.accuracy
        )

    def end_epoch(self, held_out_accuracy: float | None) -> None:
        """`held_out_accuracy` from 0 to 1 of the samples held out; None where there are none."""
        held = "" if held_out_accuracy is None else f", validation {held_out_accuracy:.2%}"
        assert self._task is not None
        self._bars.update(self._task, held=held.lstrip(", "))
        if not (self._console.quiet or self._console.is_terminal):
            print(
                f"{self._name}: loss {self.loss:.4f}, training accuracy {self.accuracy:.2%}{held}",
                file=sys.stderr,
                flush=True,
            )
