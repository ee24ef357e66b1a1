"""Fit a board's wait states, prefetch, cache and store penalty to what the board measured.

Takes run records of one board at one clock, of two or more different ELFs, which are simulated
again with candidate values. Refuses, with exit code 2, where the records do not determine a
parameter. Shows the error before and after, and of each record when fitted to the others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "fit a board's flash and bus parameters to its run records"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("records", type=Path, nargs="+", metavar="RECORD", help="board.json ...")
    parser.add_argument(
        "--elf",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="an image of the records (repeatable; default: where each record says it lies)",
    )
    parser.add_argument(
        "-b", "--board", help="the board's name or TOML file (default: the records' own)"
    )
    parser.add_argument(
        "--fit",
        metavar="NAMES",
        help="only these: wait_states,prefetch,cache,store_penalty_cycles (default: all that the "
        "board has)",
    )
    parser.add_argument("--profile", metavar="NEW", help="write it as this profile of the board")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE.toml",
        help="write the board with what was fitted",
    )
    parser.add_argument(
        "--max-cycles", metavar="N", help="budget of a run beyond its regions (default 20M)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the result; - prints it")


def run(args: argparse.Namespace) -> int:
    import json

    from ebnn.board_parameters import fitted_board, profile_text
    from ebnn.calibration import calibrate
    from ebnn.calibration_report import counting, print_calibration, reason
    from ebnn.calibration_runs import MAX_CYCLES, Runs, find_elf, names_to_fit, one_board
    from ebnn.files import check_writable, write_whole
    from ebnn.record_file import read_records
    from ebnn.sim.errors import UserError
    from ebnn.sim.sizes import parse_count

    if args.output is not None:
        if args.output.suffix != ".toml":
            raise UserError(f"{args.output}: a board's file ends in .toml")
        check_writable(args.output)
    max_cycles = parse_count(args.max_cycles, "--max-cycles") if args.max_cycles else MAX_CYCLES
    records = [record for path in args.records for record in read_records(path)]
    name, clock_hz = one_board(records, args.board)
    board = fitted_board(name, clock_hz, args.profile)
    names = names_to_fit(board, args.fit)
    elfs = [find_elf(record, args.elf) for record in records]
    with counting() as count:
        found = calibrate(board, records, Runs(board, records, elfs, max_cycles, count), names)
    if args.output is not None:
        write_whole(args.output, profile_text(board, found.after, reason(found)).encode())
    text = json.dumps(found.to_dict(), indent=2) + "\n"
    if args.json == "-":
        print(text, end="")
        return 0
    if args.json:
        write_whole(Path(args.json), text.encode())
    print_calibration(found)
    if args.output is not None:
        print(f"written: {args.output}")
    return 0
