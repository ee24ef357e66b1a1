"""Hold the simulator against boards: run records of the same ELF, or figures others published.

Takes run records of both kinds in any order, several boards at once; each board's record is
compared with the simulator's of the same ELF. Regions are compared by the cycles of one activation
(the median). Exit code 1 where a region is outside the tolerance or a prediction differs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "hold the simulator against real boards' run records"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "records", type=Path, nargs="*", metavar="RECORD", help="sim.json board.json ..."
    )
    parser.add_argument(
        "--published", action="store_true", help="compare with figures that others published"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="PERCENT",
        help="of a region's cycles; default 5 on M0, M0+, M3 and M4, none on other cores",
    )
    parser.add_argument("--markdown", metavar="FILE", help="write it as Markdown; - prints it")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.svg", help="draw simulated against measured cycles"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write comparisons and records; - prints them"
    )


def run(args: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from ebnn.comparison import compare, compare_all
    from ebnn.comparison_plot import to_svg
    from ebnn.comparison_report import print_comparisons, print_stated_errors, to_markdown
    from ebnn.files import write_whole
    from ebnn.published_records import published_records
    from ebnn.record_file import read_records
    from ebnn.sim.errors import UserError
    from ebnn.sim.published import stated_errors

    if args.tolerance is not None and not 0 < args.tolerance < 100:
        raise UserError(f"--tolerance {args.tolerance:g}: give percent, above 0 and below 100")
    if not args.records and not args.published:
        raise UserError("give run records of a simulator and of a board, or --published")
    if args.json == "-" and args.markdown == "-":
        raise UserError("--json - and --markdown -: only one of them can be printed")
    found = []
    if args.published:
        found = [compare(*both, args.tolerance) for both in published_records()]
    if args.records:
        records = [record for path in args.records for record in read_records(path)]
        found += compare_all(records, args.tolerance)
    stated = {where: asdict(error) for where, error in stated_errors().items()}
    text = json.dumps(
        {
            "comparisons": [one.to_dict() for one in found],
            "records": [r.data for one in found for r in (one.simulated, one.measured)],
            **({"stated_errors": stated} if args.published else {}),
            "passed": all(one.passed for one in found),
        },
        indent=2,
    )
    markdown = to_markdown(found, states_errors=args.published)
    if args.plot:
        write_whole(args.plot, to_svg(found).encode())
    for target, content in ((args.json, text + "\n"), (args.markdown, markdown)):
        if target == "-":
            print(content, end="")
        elif target:
            write_whole(Path(target), content.encode())
    if "-" not in (args.json, args.markdown):
        print_comparisons(found)
        if args.published:
            print_stated_errors()
    return 0 if all(one.passed for one in found) else 1
