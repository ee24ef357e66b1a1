"""What is asked of a search."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ebnn.data import Dataset
from ebnn.search.footprint import Limits
from ebnn.search.plan import Plan
from ebnn.search.space import VERSION, Space
from ebnn.sim.board import Board


@dataclass(frozen=True, eq=False)
class Request:
    """What is looked for. `trials` bounds the candidates, those that do not fit included."""

    dataset: Dataset
    board: Board
    limits: Limits
    plan: Plan
    trials: int | None
    command: str

    @property
    def space(self) -> Space:
        return Space(self.dataset.shape, self.dataset.classes)

    @property
    def uses_paper(self) -> bool:
        """Whether the memory that is to be small is the paper's figure, rather than RAM."""
        return self.limits.paper_bytes is not None

    def asked(self) -> Mapping[str, Any]:
        """All that decides what is found, but for how long it is looked for."""
        x, y = self.dataset.x_train, self.dataset.y_train
        return {
            "dataset": self.dataset.name,
            "samples' SHA-256": hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest(),
            "board": self.board.name,
            "board's SHA-256": hashlib.sha256(repr(self.board).encode()).hexdigest(),
            "limits": asdict(self.limits),
            "validation": self.plan.validation,
            "settings": asdict(self.plan.settings),
            "space": VERSION,
        }
