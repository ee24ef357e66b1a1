"""Write a network's C sources: a folder that compiles by itself with any C99 compiler."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write a network's C sources"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="a checkpoint or a lowered model")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder to write to")
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
    from ebnn.emitter import emit
    from ebnn.emitter.choice_report import choice_lines
    from ebnn.emitter.folder import arena_bytes
    from ebnn.emitter.goal import Goal
    from ebnn.models import load_network
    from ebnn.sim.core import core_named

    network = load_network(args.model)
    goal = Goal(core_named(args.core).name, args.optimize, flash_limit(args))
    program = emit(network, args.out, args.lowering, goal)
    print(
        f"{args.out}: {args.lowering}, {program.parameter_bytes:,} bytes of parameters,"
        f" {arena_bytes(network, program):,} bytes of arena"
    )
    print("\n".join(choice_lines(program, goal)))
    return 0
