"""Published figures as run records, so that they are compared as a board's own are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ebnn.record_file import Record, record_of
from ebnn.sim.core import MODEL_VERSION
from ebnn.sim.published import Measurement, PublishedBoard, published_boards
from ebnn.sim.record import SCHEMA


def published_records() -> list[tuple[Record, Record]]:
    """For each board and group of published figures: the simulator's record, and the board's."""
    pairs = []
    for published in published_boards().values():
        parts = dict.fromkeys((one.board, one.group) for one in published.measurements)
        for board, group in parts:
            found = [
                one for one in published.measurements if (one.board, one.group) == (board, group)
            ]
            head = _head(published, board, group)
            measured = {**head, "kind": "board", "regions": _regions(found, is_simulated=False)}
            simulated = {
                **head,
                "kind": "sim",
                "model": {
                    "version": MODEL_VERSION,
                    "wait_states": found[0].wait_states,
                    "store_penalty_cycles": published.load_after_store_cycles,
                    "error": None,
                },
                "regions": _regions(found, is_simulated=True),
            }
            name = f"{board}, {group}"
            pairs.append((record_of(simulated, f"simulated: {name}"), record_of(measured, name)))
    return pairs


def _head(published: PublishedBoard, board: str, group: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "published": True,
        "group": group,
        "core": published.core,
        "board": board,
    }


def _regions(found: Sequence[Measurement], is_simulated: bool) -> dict[str, Any]:
    names = Counter(one.program for one in found)
    return {
        # Two programs of one name are told apart by their source.
        one.program if names[one.program] == 1 else f"{one.program} ({one.source})": {
            "count": one.runs,
            "cycles": {
                "mean": (one.simulated_cycles + one.harness_cycles) / one.runs
                if is_simulated
                else one.published_cycles
            },
            "source": one.source,
        }
        for one in found
    }
