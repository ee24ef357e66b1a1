"""Look for networks that fit a board: accuracy against memory against cycles."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ebnn.data import Dataset
    from ebnn.search.request import Request
    from ebnn.search.session import State

HELP = "look for the networks that fit a board"

_BUDGET = "30m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset", required=True, help="a name (`ebnn data list`), an .npz or a folder"
    )
    parser.add_argument("--data-dir", metavar="DIR", help="folder that holds the data set's files")
    parser.add_argument("-b", "--board", required=True, help="a board's name or its TOML file")
    limits = parser.add_argument_group(
        "limits", "what a network may take, measured; without them, what the board has"
    )
    limits.add_argument("--ram", metavar="SIZE", help="static data and peak stack, say 15k")
    limits.add_argument("--flash", metavar="SIZE", help="code and constants, say 64k")
    limits.add_argument("--latency", metavar="TIME", help="of one inference, say 20ms")
    limits.add_argument("--paper-memory", metavar="SIZE", help="parameters and temporaries")
    parser.add_argument(
        "--budget", metavar="TIME", help=f"how long to look, all included; default {_BUDGET}"
    )
    parser.add_argument(
        "--trials", type=int, metavar="N", help="how many candidates to look at, in whatever time"
    )
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument(
        "--epochs", type=int, help="of the front's networks; default 25, more on small data sets"
    )
    parser.add_argument(
        "--finalists", type=int, default=4, metavar="N", help="networks to train so; default 4"
    )
    for option, text in (
        ("--rotate", "turn their training images by up to so many degrees; default 12"),
        ("--scale", "make them up to so many percent larger or smaller; default 12"),
        ("--shift", "move them by up to so many pixels; default a 14th of their side"),
    ):
        parser.add_argument(option, type=float, help=text)
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes; default as many as cores"
    )
    parser.add_argument(
        "--cluster", metavar="ADDRESS", help="work on the workers of a Dask scheduler instead"
    )
    parser.add_argument(
        "--storage", type=Path, metavar="FILE", help="where to keep the search; default search.db"
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("ebnn-search"),
        metavar="DIR",
        help="folder for the results; default ebnn-search",
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run(args: argparse.Namespace) -> int:
    import json

    _check_installed()
    from ebnn.files import check_writable
    from ebnn.search.display import SearchDisplay
    from ebnn.search.results import passed, results
    from ebnn.search.session import search
    from ebnn.search.smallest import NoNetworkFits
    from ebnn.workers import worker_pool

    folder = args.out
    check_writable(folder / "search.json")
    storage = args.storage or folder / "search.db"
    last: list[State] = []
    with worker_pool(args.workers, args.cluster) as pool:
        request = _request(args, pool.count)
        try:
            with SearchDisplay() as display:

                def on_state(state: State) -> None:
                    last[:] = [state]
                    display(state)

                state = search(request, storage, folder, pool, on_state)
        except KeyboardInterrupt:
            if last:
                _write(folder, results(last[0]))
            raise
    found = results(state)
    _write(folder, found)
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        _print(found, folder)
    if not found["count"]["trained"]:
        count = found["count"]["proposed"]
        tried = f"none of {count} candidates fits" if count else "no time for a single candidate"
        raise NoNetworkFits(f"{tried}: allow more, or look for longer")
    return 0 if passed(state) else 1


def _check_installed() -> None:
    from importlib.util import find_spec

    from ebnn.sim.errors import UserError

    for module, name, extra in (("torch", "PyTorch", "train"), ("optuna", "Optuna", "search")):
        if find_spec(module) is None:
            raise UserError(f"ebnn search needs {name}: pip install 'ebnn[{extra}]'")


def _request(args: argparse.Namespace, workers: int) -> Request:
    import shlex
    import sys

    from ebnn.data import load_dataset
    from ebnn.durations import parse_duration
    from ebnn.search.footprint import Limits
    from ebnn.search.plan import Plan
    from ebnn.search.request import Request
    from ebnn.sim.board import load_board
    from ebnn.sim.errors import UserError
    from ebnn.sim.sizes import parse_size

    for option, value in (
        ("--trials", args.trials),
        ("--workers", args.workers),
        ("--finalists", args.finalists),
        ("--epochs", args.epochs),
    ):
        if value is not None and value < 1:
            raise UserError(f"{option} {value}: give at least 1")

    def size(option: str, text: str | None) -> int | None:
        return None if text is None else parse_size(text, option)

    budget = args.budget or (None if args.trials else _BUDGET)
    limits = Limits(
        ram_bytes=size("--ram", args.ram),
        flash_bytes=size("--flash", args.flash),
        latency_seconds=args.latency and parse_duration(args.latency, "--latency"),
        paper_bytes=size("--paper-memory", args.paper_memory),
    )
    board = load_board(args.board)
    dataset = load_dataset(args.dataset, args.data_dir)
    plan = Plan(
        settings=_settings(args, dataset),
        validation=0.1,
        workers=workers,
        budget_seconds=None if budget is None else parse_duration(budget, "--budget"),
        test_samples=len(dataset.x_test),
        finalists=args.finalists,
    )
    command = shlex.join(["ebnn", *sys.argv[1:]])
    return Request(dataset, board, limits, plan, args.trials, command)


def _settings(args: argparse.Namespace, dataset: Dataset) -> Any:
    """The recipes' figures: Adam at 0.007, images changed but for the last 40 % of the epochs."""
    from ebnn.search.plan import default_epochs, default_shift_pixels, is_image
    from ebnn.training_settings import TrainingSettings, checked

    def given(value: float | None, default: float) -> float:
        return default if value is None else value

    batch_samples = 64
    changed = 12.0 if is_image(dataset) else 0.0
    settings = TrainingSettings(
        epochs=args.epochs or default_epochs(dataset, batch_samples),
        seed=args.seed,
        learning_rate=7e-3,
        batch_samples=batch_samples,
        rotation_degrees=given(args.rotate, changed),
        scale_percent=given(args.scale, changed),
        shift_pixels=given(args.shift, default_shift_pixels(dataset)),
    )
    options = {
        "rotation_degrees": "--rotate",
        "scale_percent": "--scale",
        "shift_pixels": "--shift",
    }
    return checked(settings, options, "")


def _write(folder: Path, found: dict[str, Any]) -> None:
    import json

    from ebnn.files import write_whole
    from ebnn.search.page import to_html
    from ebnn.search.plot import to_svg

    write_whole(folder / "search.json", (json.dumps(found, indent=2) + "\n").encode())
    write_whole(folder / "search.svg", to_svg(found).encode())
    write_whole(folder / "search.html", to_html(found).encode())


def _print(found: dict[str, Any], folder: Path) -> None:
    from rich.console import Console

    from ebnn.durations import format_duration
    from ebnn.search.table import front_table, summary

    console = Console()
    if not console.is_terminal:
        console.width = 200  # piped output has no width of its own
    console.print(front_table(found, found["front"]))
    print(f"{summary(found)}, in {format_duration(found['seconds'])}")
    print(f"results: {folder}/search.json, .svg, .html; networks: {folder}/networks/NUMBER/")
