"""The whole chain on MNIST: train, lower, build, and run every test image in the emulator."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "train on MNIST and prove the network in the emulator on two boards"

ARCHITECTURE = "conv3x3-32 pool2, conv3x3-32 pool2, conv3x3-64, fc-10"
BOARDS = ("nrf52840-dk", "arduino-zero")
RAM = "15k"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=int, default=8, help="of training (default 8)")
    parser.add_argument("--seed", type=int, default=0, help="of training (default 0)")
    parser.add_argument(
        "--zoo", metavar="NAME", help="take a network of `ebnn zoo` instead of training one"
    )
    parser.add_argument("--data-dir", metavar="DIR", help="folder that holds MNIST's IDX files")
    parser.add_argument(
        "--out", type=Path, default=Path("build/demo"), help="folder for what it makes"
    )


def run(args: argparse.Namespace) -> int:
    from ebnn.demo import run_demo

    return run_demo(
        ARCHITECTURE, BOARDS, RAM, args.epochs, args.seed, args.data_dir, args.out, args.zoo
    )
