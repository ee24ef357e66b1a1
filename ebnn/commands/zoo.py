"""List the networks that come trained, or write one's checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = "networks that come trained"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="the network to write; without it all are listed")
    parser.add_argument("-o", "--out", type=Path, help="where to write its checkpoint")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    import json

    from ebnn import zoo
    from ebnn.sim.errors import UserError

    if (args.name is None) != (args.out is None):
        raise UserError("ebnn zoo: to write a network give NAME and -o FILE; without both, a list")
    if args.name is not None:
        zoo.copy(zoo.get(args.name), args.out)
        return 0
    rows = [model.to_dict() for model in zoo.models()]
    if args.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        _print(rows)
    else:
        print("the zoo has no network yet; `ebnn train --recipe NAME` trains one")
    return 0


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="")
    for title, right in (
        ("name", False),
        ("network", False),
        ("test accuracy, last epoch", True),
        ("seeds", True),
        ("reference, bytes", True),
        ("fast, bytes", True),
    ):
        table.add_column(title, justify="right" if right else "left")
    for row in rows:
        error = row["test"]["standard_error"]
        spread = "" if error is None else f" +- {error:.2%}"
        totals = [
            f"{found['parameters'] + found['arena_and_input']:,}"
            for found in (row["memory"]["reference"], row["memory"]["fast"])
        ]
        accuracy = f"{row['test']['mean']:.2%}{spread}"
        table.add_row(row["name"], row["architecture"], accuracy, str(len(row["seeds"])), *totals)
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table)
    print("bytes: parameters, arena and input, without the stack; `ebnn verify` measures that too")
