"""A Cortex-M emulator that enforces memory limits and counts cycles. Knows no neural networks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .board import Board, Memory, board_names, load_board
    from .machine import Machine

__all__ = ["Board", "Machine", "Memory", "board_names", "load_board"]


def __getattr__(name: str) -> Any:
    """What this package offers, imported when it is asked for: `python -m ebnn.sim` sets how it
    starts before most modules are loaded."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "machine" if name == "Machine" else "board"
    return getattr(import_module(f".{home}", __name__), name)
