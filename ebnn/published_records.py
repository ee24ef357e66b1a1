"""Published figures as run records, so that they are compared as a board's own are."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ebnn.record_file import Record, record_of
from ebnn.sim.core import MODEL_VERSION
from ebnn.sim.published import Measurement, PublishedBoard, published_boards
from ebnn.sim.record import SCHEMA


def published_records() -> list[tuple[Record, Record]]:
    """For each board with published figures: the simulator's record, and the board's."""
    return [
        (
            record_of(_simulated(board), f"simulator on {board.core}"),
            record_of(_measured(board), f"published for {board.board}"),
        )
        for board in published_boards().values()
    ]


def _named(board: PublishedBoard) -> list[tuple[str, Measurement]]:
    """The measurements by name; two of one name are told apart by their source."""
    names = Counter(one.program for one in board.measurements)
    return [
        (one.program if names[one.program] == 1 else f"{one.program} ({one.source})", one)
        for one in board.measurements
    ]


def _measured(board: PublishedBoard) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "kind": "board",
        "published": True,
        "core": board.core,
        "board": board.board,
        "regions": {
            name: {
                "count": one.runs,
                "cycles": {"mean": one.published_cycles},
                "source": one.source,
            }
            for name, one in _named(board)
        },
    }


def _simulated(board: PublishedBoard) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "kind": "sim",
        "published": True,
        "core": board.core,
        "board": board.board,
        "model": {
            "version": MODEL_VERSION,
            "wait_states": 0,
            "store_penalty_cycles": board.load_after_store_cycles,
            "error": None,
        },
        "regions": {
            name: {
                "count": one.runs,
                "cycles": {"mean": (one.simulated_cycles + one.harness_cycles) / one.runs},
                "source": one.source,
            }
            for name, one in _named(board)
        },
    }
