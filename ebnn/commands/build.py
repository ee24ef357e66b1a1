"""Build a network as firmware for a board: an ELF that the simulator and the board both run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ebnn.commands.emit import (
    add_goal_arguments,
    add_lowering_argument,
    flash_limit,
    paper_limit,
)

if TYPE_CHECKING:
    from ebnn.emitter.goal import Goal
    from ebnn.emitter.program import Program
    from ebnn.sim.board import Board

HELP = "build a network as firmware for a board"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="a checkpoint or a lowered model")
    parser.add_argument("-b", "--board", required=True, help="a board's name or its TOML file")
    parser.add_argument("-o", "--out", type=Path, required=True, help="ELF to write")
    parser.add_argument("--sources", type=Path, metavar="DIR", help="keep the C sources here")
    parser.add_argument(
        "-O", dest="level", default="3", metavar="LEVEL", help="as gcc's -O; default 3"
    )
    parser.add_argument("--ram", metavar="SIZE", help="link for this much RAM, say 15k")
    add_lowering_argument(parser)
    add_goal_arguments(parser)
    parser.add_argument("--json", metavar="FILE", help="write what was built and why; - prints it")
    harness = parser.add_argument_group(
        "harness", "firmware that carries samples and times itself on each: see `ebnn board run`"
    )
    harness.add_argument("--harness", action="store_true", help="build that; needs --dataset")
    harness.add_argument("--dataset", help="a name (`ebnn data list`), an .npz or a folder")
    harness.add_argument("--data-dir", metavar="DIR", help="folder that holds the data set's files")
    harness.add_argument(
        "--samples", type=int, default=10, metavar="N", help="the first N test samples; default 10"
    )
    harness.add_argument(
        "--output",
        choices=("semihosting", "rtt", "uart"),
        default="semihosting",
        help="how its lines leave the board; default semihosting",
    )


def run(args: argparse.Namespace) -> int:
    from ebnn.firmware import build_model
    from ebnn.models import load_network
    from ebnn.sim.board import load_board
    from ebnn.sim.errors import UserError
    from ebnn.sim.sizes import parse_size

    if args.harness:
        return _build_harness(args)
    if args.dataset is not None:
        raise UserError("--dataset is for --harness: firmware without it carries no samples")
    network = load_network(args.model)
    board = load_board(args.board)
    ram_bytes = None if args.ram is None else parse_size(args.ram, "--ram")

    def build(goal: Goal, output: Path, sources: Path) -> Program:
        return build_model(
            network,
            board,
            output,
            sources,
            lowering=args.lowering,
            optimize=f"-O{args.level}",
            ram_bytes=ram_bytes,
            goal=goal,
        )

    program, goal = _build(args, board, build)
    if args.json != "-":
        print(
            f"{args.out}: {args.lowering} for {board.name}; run `python -m ebnn.sim run {args.out}`"
        )
    return _report(args, program, goal)


def _build(
    args: argparse.Namespace, board: Board, build: Callable[[Goal, Path, Path], Program]
) -> tuple[Program, Goal]:
    """Build with as much flash as `--flash` allows."""
    import tempfile

    from ebnn.emitter.goal import Goal
    from ebnn.firmware import goal_within_flash

    goal = Goal(board.core, args.optimize, paper_bytes=paper_limit(args))
    with tempfile.TemporaryDirectory(prefix="ebnn-sources-") as folder:
        sources = args.sources or Path(folder)
        limit = flash_limit(args)
        if limit is not None:
            trial = Path(folder) / "trial"
            goal = goal_within_flash(goal, limit, board, lambda goal, elf: build(goal, elf, trial))
        return build(goal, args.out, sources), goal


def _report(args: argparse.Namespace, program: Program, goal: Goal) -> int:
    import json

    from ebnn.emitter.choice_report import choice_facts, choice_lines
    from ebnn.files import write_whole

    if args.json:
        facts = {
            "elf": str(args.out),
            "core": goal.core,
            "objective": goal.objective,
            "flash_limit_bytes": flash_limit(args),
            "paper_limit_bytes": paper_limit(args),
            "parameter_bytes": program.parameter_bytes,
            "arena_bytes": program.plan.arena_bytes,
            "blocks": choice_facts(program),
        }
        text = json.dumps(facts, indent=2) + "\n"
        if args.json == "-":
            print(text, end="")
            return 0
        write_whole(Path(args.json), text.encode())
    for line in choice_lines(program, goal):
        print(line)
    return 0


def _build_harness(args: argparse.Namespace) -> int:
    from ebnn.data import load_dataset
    from ebnn.firmware import build_harness
    from ebnn.harness_sources import harness_samples
    from ebnn.models import load_network
    from ebnn.sim.board import as_it_leaves_reset
    from ebnn.sim.board_uart import load_uart
    from ebnn.sim.errors import UserError
    from ebnn.sim.sizes import parse_size

    if args.dataset is None:
        raise UserError("--harness needs --dataset: the samples that the firmware carries")
    network = load_network(args.model)
    board = as_it_leaves_reset(args.board)
    dataset = load_dataset(args.dataset, args.data_dir)
    samples = harness_samples(network, dataset.x_test, dataset.y_test, args.samples)
    ram_bytes = None if args.ram is None else parse_size(args.ram, "--ram")

    def build(goal: Goal, output: Path, sources: Path) -> Program:
        return build_harness(
            network,
            board,
            output,
            sources,
            samples,
            transport=args.output,
            uart=load_uart(args.board),
            lowering=args.lowering,
            optimize=f"-O{args.level}",
            ram_bytes=ram_bytes,
            goal=goal,
        )

    program, goal = _build(args, board, build)
    if args.json != "-":
        print(
            f"{args.out}: {args.lowering} for {board.name} with {args.samples} samples, lines by"
            f" {args.output}; run `ebnn board run {args.out}`"
        )
    return _report(args, program, goal)
