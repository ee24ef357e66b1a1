"""What a person sees: progress while samples run, and the table at the end."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from ebnn.emulation import REGION
from ebnn.verification import EmulatedStage, Stage, Verification


class Progress:
    """A bar for each stage, on stderr, added when the stage reports its first samples."""

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._tasks: dict[str, TaskID] = {}
        self._bars = Bars(
            TextColumn("{task.description:24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def advance(self, stage: str, samples: int) -> None:
        """Count `samples` more as done in `stage`."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=self._samples)
        self._bars.advance(self._tasks[stage], samples)


def print_verification(result: Verification, trained: Stage | None = None) -> None:
    """The table: a column for each stage, accuracy down to latency at the board's clock."""
    stages = [*([trained] if trained else []), *result.stages]
    emulated = {found.stage.name: found for found in result.emulated}
    total = stages[0].total
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for found in stages:
        table.add_column(found.name, justify="right")
    table.add_row("accuracy", *[f"{found.correct / total:.2%}" for found in stages])
    table.add_row(f"correct of {total:,}", *[f"{found.correct:,}" for found in stages])
    table.add_row("same as numpy", *[f"{found.agreeing:,}" for found in stages])
    table.add_section()
    for title, text in _EMULATED_ROWS.items():
        cells = [text(emulated[s.name]) if s.name in emulated else "" for s in stages]
        table.add_row(title, *cells)
    console = Console()
    # Piped output has no width of its own: the table takes what it needs.
    console.print(table, width=None if console.is_terminal else 200)


def _memory(key: str) -> Callable[[EmulatedStage], str]:
    return lambda found: f"{found.record['memory'][key]:,}"


def _paper(key: str) -> Callable[[EmulatedStage], str]:
    return lambda found: f"{found.record['paper'][key]:,}"


def _cycles(key: str) -> Callable[[EmulatedStage], str]:
    return lambda found: f"{found.record['regions'][REGION]['cycles'][key]:,}"


def _limit(found: EmulatedStage) -> str:
    limit = found.record["memory"]["ram_limit"]
    return "none" if limit is None else f"{limit:,}"


def _at_clock(found: EmulatedStage) -> str:
    at_clock = found.record["at_clock"]
    return f"{at_clock['cycles']['max']:,}" if at_clock else "same"


def _error(key: str, at_clock: bool = False) -> Callable[[EmulatedStage], str]:
    """The stated error of the cycles at 0 wait states, or at those of the board's clock."""

    def text(found: EmulatedStage) -> str:
        model = ((at_clock and found.record["at_clock"]) or found.record)["model"]
        return f"{model['error'][key]:.2g} %" if model["error"] else "not validated"

    return text


_EMULATED_ROWS: dict[str, Callable[[EmulatedStage], str]] = {
    "board": lambda found: found.board.name,
    "RAM, bytes": _memory("ram"),
    "  static": _memory("static"),
    "  heap": _memory("heap"),
    "  stack": _memory("stack"),
    "  limit": _limit,
    "flash, bytes": _memory("flash"),
    "paper's figure, bytes": lambda found: f"{found.paper_bytes:,}",
    "  parameters": _paper("parameters"),
    "  temporaries": _paper("temporaries"),
    "cycles at 0 wait states, min": _cycles("min"),
    "  median": _cycles("median"),
    "  max": _cycles("max"),
    "clock, MHz": lambda found: f"{found.board.clock_hz / 1e6:g}",
    "flash wait states": lambda found: str(found.board.flash_timing.wait_states),
    "cycles with them": _at_clock,
    "latency, ms": lambda found: f"{1e3 * found.latency_seconds:.1f}",
    "cycle model, version": lambda found: found.record["model"]["version"],
    "  mean error, 0 wait states": _error("mean_percent"),
    "  worst error": _error("worst_percent"),
    "  mean error with them": _error("mean_percent", at_clock=True),
    "  worst error with them": _error("worst_percent", at_clock=True),
}
