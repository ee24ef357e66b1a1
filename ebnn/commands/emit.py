"""Write the C sources of one or more networks: a folder that compiles by itself."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write a network's C sources"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models",
        type=Path,
        nargs="+",
        metavar="model",
        help="a checkpoint or a lowered model; several share one copy of the kernels",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--name",
        action="append",
        metavar="WORD",
        help="what its C names and files start with, in place of ebnn and model.h; once for each"
        " model, in their order",
    )
    parser.add_argument(
        "--core",
        default="m4",
        help="the core that kernels are chosen for (all run them); default m4",
    )
    add_lowering_argument(parser)
    add_goal_arguments(parser)


def add_lowering_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lowering",
        choices=("fast", "reference", "unfused"),
        default="fast",
        help="fast: integers only (default); reference: the paper's, one float temporary;"
        " unfused: every layer's result as floats, to measure against",
    )


def add_goal_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--optimize",
        choices=("cycles", "flash", "ram"),
        default="cycles",
        help="what the fast kernels are chosen for; default cycles",
    )
    parser.add_argument(
        "--flash", metavar="SIZE", help="choose kernels that keep within this much flash, say 32k"
    )


def flash_limit(args: argparse.Namespace) -> int | None:
    """Bytes of `--flash`."""
    from ebnn.sim.sizes import parse_size

    return None if args.flash is None else parse_size(args.flash, "--flash")


def run(args: argparse.Namespace) -> int:
    from ebnn.emitter import (
        DEFAULT_NAME,
        Library,
        Model,
        arena_bytes,
        program_of,
        write_folder,
    )
    from ebnn.emitter.choice_report import choice_lines
    from ebnn.emitter.goal import Goal
    from ebnn.models import load_network
    from ebnn.sim.core import core_named
    from ebnn.sim.errors import UserError

    goal = Goal(core_named(args.core).name, args.optimize, flash_limit(args))
    names = args.name or [DEFAULT_NAME]
    if len(names) != len(args.models):
        raise UserError(
            f"{len(args.models)} models and {len(args.name or [])} names: give --name once for each"
            " model, in their order"
        )
    networks = [load_network(path) for path in args.models]
    library = Library(
        tuple(
            Model(network, program_of(network, args.lowering, goal), name)
            for network, name in zip(networks, names, strict=True)
        )
    )
    write_folder(library, args.out)
    for model in library.models:
        print(
            f"{args.out}: {model.header}, {args.lowering},"
            f" {model.program.parameter_bytes:,} bytes of parameters,"
            f" {arena_bytes(model.network, model.program):,} bytes of arena"
        )
        for line in choice_lines(model.program, goal):
            print(line)
    return 0
