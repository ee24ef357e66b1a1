"""Write the C sources of one or more networks: a folder, or a library for an IDE."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ebnn.emitter import Library

HELP = "write a network's C sources"
FORMATS = ("folder", "arduino", "cmsis-pack")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models",
        type=Path,
        nargs="+",
        metavar="model",
        help="a checkpoint or a lowered model; several share one copy of the kernels",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder or file to write")
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
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="folder",
        help="folder: C sources with a CMakeLists.txt (default); arduino: a library's zip;"
        " cmsis-pack: a .pack",
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
    add_memory_goal_arguments(parser)
    parser.add_argument(
        "--flash", metavar="SIZE", help="choose kernels that keep within this much flash, say 32k"
    )


def add_memory_goal_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--optimize",
        choices=("cycles", "flash", "ram"),
        default="cycles",
        help="what the fast kernels are chosen for; default cycles: the least flash within 10 %% of"
        " the fewest cycles",
    )
    parser.add_argument(
        "--paper-memory",
        metavar="SIZE",
        help="choose kernels that keep the paper's figure, parameters and temporaries, within this",
    )


def paper_limit(args: argparse.Namespace) -> int | None:
    """Bytes of `--paper-memory`."""
    from ebnn.sim.sizes import parse_size

    return None if args.paper_memory is None else parse_size(args.paper_memory, "--paper-memory")


def flash_limit(args: argparse.Namespace) -> int | None:
    """Bytes of `--flash`."""
    from ebnn.sim.sizes import parse_size

    return None if args.flash is None else parse_size(args.flash, "--flash")


def run(args: argparse.Namespace) -> int:
    from ebnn.emitter import DEFAULT_NAME, Library, Model, arena_bytes, program_of
    from ebnn.emitter.choice_report import choice_lines
    from ebnn.emitter.goal import Goal
    from ebnn.models import load_network
    from ebnn.sim.core import core_named
    from ebnn.sim.errors import UserError

    core = core_named(args.core).name
    goal = Goal(core, args.optimize, flash_limit(args), paper_limit(args))
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
    _write(library, args.format, args.out)
    for model in library.models:
        print(
            f"{args.out}: {model.header}, {args.lowering},"
            f" {model.program.parameter_bytes:,} bytes of parameters,"
            f" {arena_bytes(model.network, model.program):,} bytes of arena"
        )
        for line in choice_lines(model.program, goal):
            print(line)
    return 0


def _write(library: Library, format_name: str, out: Path) -> None:
    from ebnn.emitter import arduino_library, cmsis_pack, pack_name, write_folder
    from ebnn.files import write_whole
    from ebnn.sim.errors import UserError

    if format_name == "folder":
        write_folder(library, out)
    elif format_name == "arduino":
        if out.suffix != ".zip":
            raise UserError(f"{out}: an Arduino library is a file that ends in .zip")
        write_whole(out, arduino_library(library))
    else:
        if out.name != pack_name(library):
            raise UserError(f"{out}: this pack's file has to be called {pack_name(library)}")
        write_whole(out, cmsis_pack(library))
