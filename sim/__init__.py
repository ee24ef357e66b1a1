"""A Cortex-M emulator that enforces memory limits and counts cycles. Knows no neural networks."""

from __future__ import annotations

from .board import Board, Memory, board_names, load_board
from .machine import Machine

__all__ = ["Board", "Machine", "Memory", "board_names", "load_board"]
