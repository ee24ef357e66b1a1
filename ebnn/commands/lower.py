"""Fold a trained checkpoint into the integer network that all later stages start from."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "fold a checkpoint into an integer network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="what `ebnn train` wrote")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, help="file to write, say model.lowered"
    )


def run(args: argparse.Namespace) -> int:
    from ebnn import checkpoint, lowered

    network = lowered.lower(checkpoint.load(args.checkpoint))
    lowered.save(network, args.out)
    print(f"{args.out}: {network.architecture}; SHA-256 {network.digest()[:16]}...")
    return 0
