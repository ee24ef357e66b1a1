"""Fetch and list data sets."""

from __future__ import annotations

import argparse
from typing import Any

HELP = "fetch and list data sets"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    get = actions.add_parser("get", help="fetch a data set into the cache, or check an .npz file")
    get.add_argument("dataset", help="a name (see `ebnn data list`), an .npz file or a folder")
    get.add_argument(
        "--data-dir", metavar="D", help="folder that holds the data set's standard files"
    )
    listing = actions.add_parser("list", help="list the data sets that have a name")
    for action in (get, listing):
        action.add_argument("--json", action="store_true", help="print JSON")
        # argparse.SUPPRESS leaves `ebnn data --debug get` as it was set before the action.
        action.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show tracebacks of errors",
        )


def run(args: argparse.Namespace) -> int:
    import json

    rows = _list() if args.action == "list" else [_get(args.dataset, args.data_dir)]
    if args.json:
        print(json.dumps(rows if args.action == "list" else rows[0], indent=2))
    elif args.action == "list":
        for row in rows:
            print(f"{row['name']:13} {row['description']}; {row['where']}")
        print(
            "An .npz file with x_train, y_train, x_test, y_test (uint8), or a folder of images"
            " (train/CLASS/, test/CLASS/), is given by its path."
        )
    else:
        row = rows[0]
        print(
            f"{row['name']}: {row['train']:,} training and {row['test']:,} test images of "
            f"{'x'.join(str(extent) for extent in row['shape'])} (CxHxW), "
            f"{row['classes']} classes; {row['where']}"
        )
    return 0


def _list() -> list[dict[str, Any]]:
    from ebnn import data

    return [
        {"name": name, "description": description, "where": _where(name)}
        for name, description in data.NAMES.items()
    ]


def _get(dataset: str, data_dir: str | None) -> dict[str, Any]:
    from ebnn import data

    loaded = data.load_dataset(dataset, data_dir)
    return {
        "name": loaded.name,
        "train": len(loaded.x_train),
        "test": len(loaded.x_test),
        "shape": loaded.shape,
        "classes": loaded.classes,
        "where": _where(dataset),
    }


def _where(name: str) -> str:
    from ebnn import data, mnist

    if name == "mnist":
        return f"in {mnist.cache_folder()}" if mnist.cached() else "not fetched yet"
    if name == "digits":
        return "comes with scikit-learn"
    return "from --data-dir" if name in data.NAMES else f"in {name}"
