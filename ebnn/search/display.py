"""The search as it goes, on stderr: on a terminal the front so far; elsewhere nothing."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from ebnn.durations import format_duration
from ebnn.search.results import results
from ebnn.search.session import State
from ebnn.search.table import front_table, summary

_SHOWN = 12


class SearchDisplay:
    """Call it with each state."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> SearchDisplay:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *ended: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, state: State) -> None:
        if not self._live:
            return
        found = results(state)
        head = f"{format_duration(state.seconds)}  {state.stage}: {summary(found)}"
        parts: list[RenderableType] = [Text(head), front_table(found, found["front"][:_SHOWN])]
        parts += [Text(f"  {job}", style="dim") for job in state.running]
        self._live.update(Group(*parts), refresh=True)
