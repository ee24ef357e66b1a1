"""The command line of the simulator: parse, run one machine, render its record."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .cli_annotate import add_annotate_options, annotate
from .cli_machine import add_machine_options, execute, make_machine
from .errors import UserError, printable, run_command
from .files import write_result
from .sizes import parse_count, parse_size

if TYPE_CHECKING:
    from .machine import Machine

_EPILOG = (
    "exit codes: 0 passed, 1 a budget failed, 2 bad usage or input, 3 the firmware faulted. "
    "What the firmware itself exits with is in the record's firmware_exit."
)


class _HelpFormatter(argparse.HelpFormatter):
    """As wide as the terminal, as argparse has it, but without shutil and what that imports: each
    option that is added makes a formatter, long before there is any help to show."""

    def __init__(self, prog: str) -> None:
        try:
            columns = int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size().columns
        except (ValueError, OSError):
            columns = 80
        super().__init__(prog, width=columns - 2)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_HelpFormatter, **options)


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m ebnn.sim",
        description="Run Cortex-M firmware in exactly the RAM promised, counting its cycles.",
        epilog=_EPILOG,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="run an ELF image", epilog=_EPILOG)
    _add_run_options(run)
    _add_profile_options(run)
    annotated = commands.add_parser(
        "annotate", help="run an ELF image, then show its code with what each line cost",
        epilog=_EPILOG,
    )  # fmt: skip
    add_annotate_options(annotated)
    boards = commands.add_parser("boards", help="list the boards")
    boards.add_argument("--json", action="store_true", help="as JSON")
    boards.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    return parser


def _add_run_options(run: argparse.ArgumentParser) -> None:
    add_machine_options(run)
    run.add_argument("--flash", metavar="SIZE", help="budget for code and constants")
    run.add_argument("--stack", metavar="SIZE", help="budget for the stack's peak")
    run.add_argument("--max-region-cycles", metavar="FUNC=N", action="append", default=[],
                     help="budget for every activation of a function: ebnn_infer=1.6M")  # fmt: skip
    run.add_argument("--region", metavar="FUNC|START..END", action="append", default=[],
                     help="measure this function, or from one symbol to another (repeatable; "
                     "default: ebnn_infer)")  # fmt: skip
    run.add_argument("--map", action="store_true",
                     help="show what lies where in flash and RAM")  # fmt: skip
    run.add_argument("--touched", action="store_true",
                     help="tell which bytes of memory were touched (much slower)")  # fmt: skip
    run.add_argument("--uninitialized", choices=("warn", "error"),
                     help="reads of RAM never written are told, or faults (slower)")  # fmt: skip
    run.add_argument(
        "--json", metavar="FILE", help="write the run record there; - for stdout alone"
    )


def _add_profile_options(run: argparse.ArgumentParser) -> None:
    run.add_argument("--profile", action="store_true",
                     help="cycles, calls and stalls of each function")  # fmt: skip
    run.add_argument("--profile-speedscope", metavar="FILE",
                     help="write the profile for https://www.speedscope.app")  # fmt: skip
    run.add_argument("--profile-collapsed", metavar="FILE",
                     help="write the profile as collapsed stacks, for flamegraph.pl")  # fmt: skip


def _main(argv: Sequence[str]) -> int:
    args = build_parser().parse_args(argv)
    if args.command == "annotate":
        return annotate(args)
    return _boards(args) if args.command == "boards" else _run(args)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code of `python -m ebnn.sim` with these arguments."""
    return run_command(_main, argv)


def _run(args: argparse.Namespace) -> int:
    flash_bytes = parse_size(args.flash, "--flash") if args.flash is not None else None
    stack_bytes = parse_size(args.stack, "--stack") if args.stack is not None else None
    region_budgets = dict(_region_budget(text) for text in args.max_region_cycles)
    regions = [*(args.region or ["ebnn_infer"]), *region_budgets]
    machine = make_machine(
        args,
        regions,
        touched=args.touched,
        uninitialized=args.uninitialized,
        profile=bool(args.profile or args.profile_speedscope or args.profile_collapsed),
    )
    for name in [*args.region, *region_budgets]:
        machine.require_region(name)
    outcome = execute(machine, args)
    ended = outcome.ended
    failed = _failed_budgets(machine, flash_bytes, stack_bytes, region_budgets)
    code = ended.exit_code if ended else 1 if failed else 0
    record = machine.record()
    record.data["firmware_exit"] = outcome.status
    record.data["result"] = outcome.result
    record.data["exit"] = code
    record.data["budgets_failed"] = ([str(ended)] if ended and code == 1 else []) + failed
    if args.profile:
        record.data["profile"] = machine.profile().to_dict()
    _write_profiles(machine, args)
    if args.json == "-":
        sys.stdout.write(record.to_json())
    else:
        if args.json:
            write_result(args.json, record.to_json(), "the record")
        from .render import render

        render(machine, record)
        if args.map:
            from .memory_picture import memory_pictures
            from .render_map import render_map

            render_map(memory_pictures(machine))
        if args.touched:
            from .render_map import render_touched

            render_touched(record.data["memory"]["touched"])
        if args.profile:
            from .render_profile import render_profile

            render_profile(machine.profile())
    if args.uninitialized == "warn":
        for report in machine.uninitialized_reads:
            print(f"warning: {printable(f'{report.message}, in {report.place}')}", file=sys.stderr)
    for line in ([str(ended)] if ended else []) + failed:
        print(f"error: {printable(line)}", file=sys.stderr)
    if ended is not None and args.debug:
        raise ended
    return code


def _failed_budgets(
    machine: Machine, flash_bytes: int | None, stack_bytes: int | None, regions: dict[str, int]
) -> list[str]:
    """One line for each budget that did not hold; every budget is looked at."""
    data = machine.record().data
    memory, failed = data["memory"], []
    for name, budget in (("flash", flash_bytes), ("stack", stack_bytes)):
        if budget is not None and memory[name] > budget:
            failed.append(
                f"{name} takes {memory[name]:,} bytes, {memory[name] - budget:,} more than "
                f"--{name} {budget:,}"
            )
    for name, budget in regions.items():
        run = data["regions"].get(name)
        if run is None:
            failed.append(f"{name} never ran to its end, as --max-region-cycles {budget:,} wants")
        elif run["cycles"]["max"] > budget:
            failed.append(
                f"{name} takes up to {run['cycles']['max']:,} cycles, "
                f"{run['cycles']['max'] - budget:,} more than --max-region-cycles {budget:,}"
            )
    return failed


def _write_profiles(machine: Machine, args: argparse.Namespace) -> None:
    if not (args.profile_speedscope or args.profile_collapsed):
        return
    from .profile_formats import collapsed, speedscope_json
    from .render import flash_text, model_text

    profile = machine.profile()
    if args.profile_speedscope:
        model = machine.record().data["model"]
        name = (
            f"{machine.elf.path.name} on {machine.board.name}, {flash_text(model)},"
            f" cycle model {model_text(model)}"
        )
        text = speedscope_json(profile, name)
        write_result(args.profile_speedscope, text, "the profile")
    if args.profile_collapsed:
        write_result(args.profile_collapsed, collapsed(profile), "the profile")


def _region_budget(text: str) -> tuple[str, int]:
    name, equals, budget = text.partition("=")
    if not equals or not name:
        raise UserError(f"--max-region-cycles {text!r}: write FUNC=N, as in ebnn_infer=1.6M")
    return name, parse_count(budget, "--max-region-cycles")


def _boards(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from .board import board_names, load_board

    boards = [load_board(name) for name in board_names()]
    if args.json:
        import json

        print(json.dumps([asdict(board) for board in boards], indent=2))
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    columns: list[tuple[str, Any]] = [
        ("board", "left"), ("core", "left"), ("clock", "right"), ("wait states", "right"),
        ("flash", "right"), ("RAM", "right"), ("profiles", "left"), ("what it is", "left"),
    ]  # fmt: skip
    for title, justify in columns:
        table.add_column(title, justify=justify)
    for board in boards:
        table.add_row(
            board.name, board.core, f"{board.clock_hz / 1e6:g} MHz",
            str(board.flash_timing.wait_states), f"{board.flash.size_bytes // 1024} KiB",
            f"{board.ram.size_bytes // 1024} KiB", " ".join(f"@{p}" for p in board.profiles),
            board.title,
        )  # fmt: skip
    Console().print(table)
    print("Every board also has @0ws: the same clock, and flash as fast as the core.")
    return 0
