"""The `ebnn` command: parse, call one library function, render."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections.abc import Sequence

import ebnn.commands
from ebnn import __version__
from ebnn.sim.errors import run_command


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ebnn",
        description="Binarized networks on Cortex-M: train, lower to C, prove in an emulator.",
        epilog="exit codes: 0 passed, 1 a budget failed, 2 bad usage or input, 3 firmware faulted",
    )
    parser.add_argument("--version", action="version", version=f"ebnn {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for info in sorted(pkgutil.iter_modules(ebnn.commands.__path__), key=lambda found: found.name):
        module = importlib.import_module(f"ebnn.commands.{info.name}")
        command = commands.add_parser(
            info.name.replace("_", "-"), help=module.HELP, description=module.__doc__
        )
        command.add_argument("--debug", action="store_true", help="show tracebacks of errors")
        command.set_defaults(run=module.run)
        module.add_arguments(command)
    return parser


def _main(argv: Sequence[str]) -> int:
    args = build_parser().parse_args(argv)
    code: int = args.run(args)
    return code


def main() -> int:
    return run_command(_main)


if __name__ == "__main__":
    raise SystemExit(main())
