"""The run record: what a run came to, as data with a published schema (record.schema.json)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .files import write_whole

SCHEMA = "ebnn-run-record-1"


@dataclass(frozen=True)
class RegionRun:
    """One activation of a region: its cycles and instructions."""

    cycles: int
    instructions: int


@dataclass(frozen=True)
class RunRecord:
    """See the project's definitions of memory and cycles; all figures are exact."""

    data: dict[str, Any] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        return self.data

    def to_json(self) -> str:
        import json

        return json.dumps(self.data, indent=2) + "\n"

    def write(self, path: str | Path) -> None:
        """Write the record whole or not at all."""
        write_whole(path, self.to_json())


def spread(values: list[int]) -> dict[str, int]:
    """min, median (the lower of two middle values), max and total."""
    return {
        "min": min(values),
        "median": sorted(values)[(len(values) - 1) // 2],
        "max": max(values),
        "total": sum(values),
    }
