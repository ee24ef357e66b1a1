"""The front as rows of text, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

Results = Mapping[str, Any]


def columns(found: Results) -> list[str]:
    memory = ["paper's figure"] if found["memory"] == "paper_bytes" else []
    return [
        "network",
        "input",
        "test",
        "validation",
        "epochs",
        "RAM",
        *memory,
        "flash",
        "cycles",
        "latency, ms",
        "",
    ]


def cells(line: Results, found: Results) -> list[str]:
    """Of one network of the front. Bytes; cycles with the board's flash wait states."""
    network, held = line["network"], line["validation"]
    memory = [_count(line["paper_bytes"])] if found["memory"] == "paper_bytes" else []
    test = f"{network['test']['accuracy']:.2%}" if network else ""
    epochs = network["epochs"] if network else held["epochs"]
    return [
        line["architecture"],
        line["input"],
        test,
        f"{held['accuracy']:.2%}",
        str(epochs),
        _count(line["ram_bytes"]),
        *memory,
        _count(line["flash_bytes"]),
        _count(line["cycles"]),
        f"{line['latency_ms']:.1f}",
        _verdict(network),
    ]


def _count(value: int) -> str:
    return f"{value:,}"


def _verdict(network: Results | None) -> str:
    if network is None:
        return "not trained in full"
    if network["reason"]:
        return f"does not fit: {network['reason']}"
    return "verified" if network["exact"] else "NOT EXACT"


def summary(found: Results) -> str:
    """One line of counts and limits."""
    count, limits = found["count"], found["limits"]
    texts = [
        f"{name} {limit:,.10g}" + ("" if name == "latency_ms" else " bytes")
        for name, limit in limits.items()
        if limit is not None
    ]
    wanted = [text.replace("_bytes", "").replace("_ms", " in ms") for text in texts]
    within = f" within {', '.join(wanted)}" if wanted else ""
    return (
        f"{count['proposed']} candidates{within}: {count['rejected']} rejected before training,"
        f" {count['trained']} trained, {len(found['front'])} on the front"
    )


def front_table(found: Results, lines: list[Results]) -> Table:
    """For rich."""
    table = Table(box=None, header_style="", pad_edge=False)
    for name in columns(found):
        table.add_column(name, justify="left" if name == "network" else "right", overflow="fold")
    for line in lines:
        table.add_row(*cells(line, found))
    return table
