"""What the commands that run an image share: their options, the machine, and the run itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import UserError
from .sizes import parse_count, parse_size

if TYPE_CHECKING:
    from .machine import Machine


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("elf", help="a linked ELF image for Cortex-M")
    parser.add_argument(
        "--board",
        help="a board's name or TOML file, @PROFILE for another of its "
        "clocks: nrf52840-dk, stm32f407-discovery@0ws (see `boards`)",
    )
    parser.add_argument(
        "--core",
        help="run as this core, e.g. m0+, m4f (default: the board's, or what the image was built "
        "for)",
    )
    parser.add_argument("--ram", metavar="SIZE", help="only so much RAM exists: 15k, 15360")
    parser.add_argument("--max-cycles", metavar="N", help="stop after so many cycles: 5M")
    parser.add_argument(
        "--timeout", metavar="SECONDS", help="stop after so much time on this machine"
    )
    parser.add_argument(
        "--call", metavar="FUNC[,ARG...]", help="boot to main, then call this function alone"
    )
    parser.add_argument(
        "--faults",
        default="stop",
        choices=("stop", "deliver"),
        help="where the firmware faults: end the run there (default), or hand it to the firmware's "
        "own handler as the silicon does",
    )
    parser.add_argument("--engine", default="auto", choices=("auto", "native", "python"))
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")


def make_machine(args: argparse.Namespace, regions: Sequence[str], **options: Any) -> Machine:
    """The machine that the options ask for, about to run, with more `options` of `Machine`.

    Also measures the function to call.
    """
    ram_bytes = parse_size(args.ram, "--ram") if args.ram is not None else None
    max_cycles = (
        parse_count(args.max_cycles, "--max-cycles") if args.max_cycles is not None else None
    )
    timeout = _seconds(args.timeout) if args.timeout is not None else None

    from .board import load_board
    from .core import core_named
    from .machine import Machine

    called = args.call.split(",")[:1] if args.call else []
    return Machine(
        args.elf,
        board=load_board(args.board) if args.board else None,
        core=core_named(args.core).name if args.core else None,
        ram_bytes=ram_bytes,
        regions=tuple(dict.fromkeys([*regions, *called])),
        engine=args.engine,
        max_cycles=max_cycles,
        timeout_seconds=timeout,
        faults=args.faults,
        # With the result on stdout the firmware's words go to stderr.
        output=sys.stderr if args.json == "-" else sys.stdout,
        **options,
    )


@dataclass(frozen=True)
class Outcome:
    """How a run ended: by the firmware's own exit `status`, with a called function's `result`, or
    by a fault or budget, `ended`."""

    status: int | None = None
    result: int | None = None
    ended: UserError | None = None


def execute(machine: Machine, args: argparse.Namespace) -> Outcome:
    """Run what the options ask for. Bad usage is raised, how the firmware ends is not."""
    call = args.call.split(",") if args.call else None
    try:
        if call is None:
            return Outcome(status=machine.run())
        arguments = [_integer(text) for text in call[1:]]
        machine.symbol(call[0])
        if "main" in machine.elf.symbols and call[0] != "main":
            machine.run_until("main")
        return Outcome(result=machine.call(call[0], *arguments))
    except UserError as error:
        if error.exit_code == UserError.exit_code:
            raise
        return Outcome(ended=error)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise UserError(f"--timeout {text!r} is not a positive number of seconds")
    return value


def _integer(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise UserError(f"--call argument {text!r} is not an integer: write 42 or 0x2a") from None
