"""The companion file: what explains a change later, beside the baseline, one entry a line.

Its parts are `builds` (by entry, board and toolchain) and `models` (by entry); each has sections,
and each section has entries of one line, so that a diff of the file can be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ebnn.sim.errors import UserError

SCHEMA = "ebnn-regress-companion-1"
Sections = dict[str, dict[str, Any]]


def companion_path(baseline: Path) -> Path:
    """`ebnn-regress.explain.json` for `ebnn-regress.toml`."""
    return baseline.with_name(f"{baseline.stem}.explain.json")


def build_key(entry: str, board: str, toolchain: str) -> str:
    return f"{entry} / {board} / {toolchain}"


@dataclass
class Companion:
    """The file's parts; empty where there is no file: then changes are told, not explained."""

    builds: dict[str, Sections] = field(default_factory=dict)
    models: dict[str, Sections] = field(default_factory=dict)

    def to_text(self) -> str:
        return "\n".join(
            [
                "{",
                f'"schema": {json.dumps(SCHEMA)},',
                *_part("builds", self.builds, ","),
                *_part("models", self.models, ""),
                "}",
                "",
            ]
        )


def load_companion(path: Path) -> Companion:
    """Read the companion; an empty one where there is none. `UserError` where it is damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Companion()
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot read it ({error}): run `ebnn regress update`") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise UserError(f"{path}: not of schema {SCHEMA}: run `ebnn regress update` to write it")
    if not _is_sections(data.get("builds")) or not _is_sections(data.get("models")):
        raise UserError(f"{path}: damaged: run `ebnn regress update` to write it again")
    return Companion(data["builds"], data["models"])


def _is_sections(part: object) -> bool:
    return isinstance(part, dict) and all(
        isinstance(sections, dict) and all(isinstance(one, dict) for one in sections.values())
        for sections in part.values()
    )


def _part(name: str, part: Mapping[str, Sections], end: str) -> list[str]:
    lines = [f"{json.dumps(name)}: {{"]
    for number, (key, sections) in enumerate(sorted(part.items()), 1):
        lines.append(f" {json.dumps(key)}: {{")
        for count, (title, rows) in enumerate(sections.items(), 1):
            lines.append(f"  {json.dumps(title)}: {{")
            texts = [f"   {json.dumps(row)}: {json.dumps(value)}" for row, value in rows.items()]
            lines += [f"{text}," for text in texts[:-1]] + texts[-1:]
            lines.append("  }" + ("," if count < len(sections) else ""))
        lines.append(" }" + ("," if number < len(part) else ""))
    return [*lines, "}" + end]
