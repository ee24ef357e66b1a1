"""`python -m ebnn.sim annotate`: run an image, then show what each instruction and line cost."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .cli_machine import add_machine_options, execute, make_machine
from .errors import UserError, printable
from .files import write_result

_SHARE, _MOST_FUNCTIONS = 0.9, 10


def add_annotate_options(parser: argparse.ArgumentParser) -> None:
    add_machine_options(parser)
    parser.add_argument(
        "--function",
        metavar="NAME",
        action="append",
        default=[],
        help="this function (repeatable; default: the hottest, for 90 %% of the cycles)",
    )
    parser.add_argument("--all", action="store_true", help="every function that ran")
    parser.add_argument(
        "--source",
        metavar="FOLDER",
        action="append",
        default=[],
        help="look for source files here too (repeatable)",
    )
    parser.add_argument("--json", metavar="FILE", help="write it there; - for stdout alone")


def annotate(args: argparse.Namespace) -> int:
    if args.all and args.function:
        raise UserError("give --function or --all, not both")
    from .annotate import check_functions, hottest
    from .disassembly import check_capstone

    folders = [Path(folder) for folder in args.source]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--source {folder}: not a folder")
    machine = make_machine(args, (), profile=True)
    check_capstone()
    check_functions(machine.elf, args.function)
    outcome = execute(machine, args)
    functions = args.function or None
    if functions is None and not args.all:
        functions = hottest(machine.profile(), _SHARE, _MOST_FUNCTIONS)
    annotation = machine.annotate(functions, folders)
    record = machine.record().data
    whose = {key: record[key] for key in ("elf", "core", "board", "clock_hz", "model")}
    text = json.dumps({**whose, **annotation.to_dict()}, indent=2) + "\n"
    if args.json == "-":
        sys.stdout.write(text)
    else:
        if args.json:
            write_result(args.json, text, "the annotation")
        from .render import board_text, model_text
        from .render_annotation import render_annotation

        print(f"{board_text(machine, record)}; cycle model {model_text(record['model'])}")
        render_annotation(annotation)
    if outcome.ended is None:
        return 0
    if args.debug:
        raise outcome.ended
    print(f"error: {printable(str(outcome.ended))}", file=sys.stderr)
    return outcome.ended.exit_code
