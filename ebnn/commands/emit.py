"""Write a network's C sources: a folder that compiles by itself with any C99 compiler."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write a network's C sources"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="a checkpoint or a lowered model")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder to write to")
    add_lowering_argument(parser)


def add_lowering_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lowering",
        choices=("fast", "reference", "unfused"),
        default="fast",
        help="fast: integers only (default); reference: the paper's, one float temporary;"
        " unfused: every layer's result as floats, to measure against",
    )


def run(args: argparse.Namespace) -> int:
    from ebnn.emitter import emit
    from ebnn.emitter.folder import arena_bytes
    from ebnn.models import load_network

    network = load_network(args.model)
    program = emit(network, args.out, args.lowering)
    print(
        f"{args.out}: {args.lowering}, {program.parameter_bytes:,} bytes of parameters,"
        f" {arena_bytes(network, program):,} bytes of arena"
    )
    return 0
