"""Hold the firmware, in the emulator, against the numpy reference on every test sample."""

from __future__ import annotations

import argparse
from pathlib import Path

from ebnn.commands.emit import (
    add_lowering_argument,
    add_memory_goal_arguments,
    paper_limit,
)

HELP = "run every test sample in the emulator and compare with the reference"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="a checkpoint or a lowered model")
    parser.add_argument(
        "--dataset", required=True, help="a name (`ebnn data list`), an .npz or a folder"
    )
    parser.add_argument("--data-dir", metavar="DIR", help="folder that holds the data set's files")
    parser.add_argument(
        "-b",
        "--board",
        action="append",
        required=True,
        help="a board's name or its TOML file; can be given several times",
    )
    parser.add_argument("--ram", metavar="SIZE", help="limit of RAM to the byte, say 15k")
    parser.add_argument("--samples", type=int, metavar="N", help="only the first N test samples")
    parser.add_argument(
        "-O", dest="level", default="3", metavar="LEVEL", help="as gcc's -O; default 3"
    )
    parser.add_argument(
        "--cluster", metavar="ADDRESS", help="emulate on the workers of a Dask scheduler"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep sources, ELFs and records")
    parser.add_argument("--json", metavar="FILE", help="write the run records; - prints them")
    add_lowering_argument(parser)
    add_memory_goal_arguments(parser)


def run(args: argparse.Namespace) -> int:
    import json
    import sys
    import tempfile
    from contextlib import ExitStack

    from ebnn.data import load_dataset
    from ebnn.emitter.goal import Goal
    from ebnn.files import write_whole
    from ebnn.models import load_network
    from ebnn.report import Progress, print_verification
    from ebnn.sim.board import load_board
    from ebnn.sim.errors import UserError
    from ebnn.sim.sizes import parse_size
    from ebnn.verification import verify
    from ebnn.workers import worker_pool

    network = load_network(args.model)
    dataset = load_dataset(args.dataset, args.data_dir)
    if dataset.x_test.shape[1:] != network.architecture.input.sample_shape:
        raise UserError(
            f"{args.dataset}: samples are {dataset.x_test.shape[1:]}, but {args.model} takes"
            f" {network.architecture.input.sample_shape} (channels, height, width)"
        )
    if args.samples is not None and args.samples < 1:
        raise UserError(f"--samples {args.samples}: give at least 1")
    boards = [load_board(name) for name in args.board]
    ram_bytes = None if args.ram is None else parse_size(args.ram, "--ram")
    limit = paper_limit(args)
    count = min(args.samples or len(dataset.x_test), len(dataset.x_test))
    with ExitStack() as stack:
        temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="ebnn-verify-"))
        folder = args.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        pool = None
        if args.cluster is not None:
            pool = stack.enter_context(worker_pool(cluster=args.cluster))
        with Progress(count) as progress:
            result = verify(
                network,
                dataset.x_test[:count],
                dataset.y_test[:count],
                boards,
                folder,
                ram_bytes=ram_bytes,
                lowering=args.lowering,
                goal=Goal(objective=args.optimize, paper_bytes=limit),
                optimize=f"-O{args.level}",
                on_progress=progress.advance,
                pool=pool,
            )
        records = [found.record for found in result.emulated]
        if args.json and args.json != "-":
            write_whole(Path(args.json), json.dumps(records, indent=2).encode())
    if args.json == "-":
        json.dump(records, sys.stdout, indent=2)
        print()
    else:
        print_verification(result)
    over = [found for found in result.emulated if found.paper_bytes > (limit or found.paper_bytes)]
    for found in over:
        print(
            f"--paper-memory {args.paper_memory}: {found.paper_bytes:,} bytes of parameters and"
            f" temporaries on {found.board.name}, {found.paper_bytes - (limit or 0):,} too many",
            file=sys.stderr,
        )
    return 0 if result.exact and not over else 1
