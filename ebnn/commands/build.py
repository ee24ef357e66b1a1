"""Build a network as firmware for a board: an ELF that the simulator and the board both run."""

from __future__ import annotations

import argparse
from pathlib import Path

from ebnn.commands.emit import add_lowering_argument

HELP = "build a network as firmware for a board"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="a checkpoint or a lowered model")
    parser.add_argument("-b", "--board", required=True, help="a board's name or its TOML file")
    parser.add_argument("-o", "--out", type=Path, required=True, help="ELF to write")
    parser.add_argument("--sources", type=Path, metavar="DIR", help="keep the C sources here")
    parser.add_argument(
        "-O", "--optimize", default="3", metavar="LEVEL", help="as gcc's -O; default 3"
    )
    parser.add_argument("--ram", metavar="SIZE", help="link for this much RAM, say 15k")
    add_lowering_argument(parser)


def run(args: argparse.Namespace) -> int:
    import tempfile

    from ebnn.firmware import build_model
    from ebnn.models import load_network
    from ebnn.sim.board import load_board
    from ebnn.sim.sizes import parse_size

    network = load_network(args.model)
    board = load_board(args.board)
    ram_bytes = None if args.ram is None else parse_size(args.ram, "--ram")
    with tempfile.TemporaryDirectory(prefix="ebnn-sources-") as folder:
        build_model(
            network,
            board,
            args.out,
            args.sources or Path(folder),
            lowering=args.lowering,
            optimize=f"-O{args.optimize}",
            ram_bytes=ram_bytes,
        )
    print(f"{args.out}: {args.lowering} for {board.name}; run `python -m ebnn.sim run {args.out}`")
    return 0
