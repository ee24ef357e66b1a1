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
    parser.add_argument(
        "--measure",
        action="store_true",
        help="build and run them anew, on all test images, and keep the figures: where kernels or"
        " networks have changed",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="folder that holds the data set's files")


def run(args: argparse.Namespace) -> int:
    import json

    from ebnn import zoo
    from ebnn.sim.errors import UserError

    if args.measure:
        _measure([zoo.get(args.name)] if args.name else zoo.models(), args.data_dir)
    elif (args.name is None) != (args.out is None):
        raise UserError("ebnn zoo: to write a network give NAME and -o FILE; without both, a list")
    elif args.name is not None:
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


def _measure(models: list[Any], data_dir: str | None) -> None:
    from ebnn.data import load_dataset
    from ebnn.zoo.measurement import measure, write

    for model in models:
        dataset = load_dataset(model.logs[0].start["dataset"], data_dir)
        write(model, measure(model, dataset))


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="")
    for title, right in (
        ("name", False),
        ("network", False),
        ("test accuracy, last epoch", True),
        ("kernels", False),
        ("paper's figure", True),
        ("RAM", True),
        ("flash", True),
        ("cycles, M4F", True),
        ("M0+", True),
        ("exact", True),
    ):
        table.add_column(title, justify="right" if right else "left", no_wrap=not right)
    for row in rows:
        error = row["test"]["standard_error"]
        spread = "" if error is None else f" +- {error:.2%} of {len(row['seeds'])} seeds"
        cells = [
            row["name"],
            f"{row['architecture']} ({row['input']})",
            f"{row['test']['mean']:.2%}{spread}",
        ]
        for build in _kinds(row["builds"]) or [[]]:
            table.add_row(*cells, *_figures(build))
            cells = [""] * len(cells)
    console = Console()
    if not console.is_terminal:
        console.width = 200
    console.print(table)
    print(
        "bytes on the M4F; cycles of an inference at 0 wait states; exact: predictions on test"
        " images that equal the numpy reference's"
    )


def _kinds(builds: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Of one lowering and bound each, a build for each board."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for build in builds:
        found.setdefault((build["lowering"], build["paper_limit_bytes"]), []).append(build)
    return list(found.values())


def _figures(builds: list[dict[str, Any]]) -> list[str]:
    if not builds:
        return ["never measured"]
    first = builds[0]
    limit = first["paper_limit_bytes"]
    return [
        first["lowering"] + (f", --paper-memory {limit // 1024}k" if limit else ""),
        f"{first['paper_bytes']:,}",
        f"{first['ram_bytes']:,}",
        f"{first['flash_bytes']:,}",
        *(f"{build['cycles']:,}" for build in builds),
        f"{min(build['agreeing'] for build in builds):,} of {first['samples']:,}",
    ]
