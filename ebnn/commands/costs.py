"""What the kernels cost, by which a lowering chooses; measures them anew."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

HELP = "show what the fast kernels cost on each core, or measure it anew"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "variant", nargs="*", help="which ones to measure (of a new kernel, say); all if none"
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="measure in the simulator and write the table: minutes",
    )
    parser.add_argument("--json", choices=("-",), metavar="-", help="- prints JSON")


def run(args: argparse.Namespace) -> int:
    import json
    import tempfile
    from dataclasses import asdict
    from pathlib import Path

    from rich import box
    from rich.console import Console
    from rich.table import Table

    from ebnn.emitter.cost_table import MEASURED_CORES, cost_of, forget_costs
    from ebnn.emitter.variants import NAMES

    if args.update:
        from ebnn.cost_measurement import measure, update

        log = Console(stderr=True)
        with tempfile.TemporaryDirectory(prefix="ebnn-costs-") as folder:
            for name in args.variant or NAMES:
                # One by one: what was measured stays when the rest is interrupted.
                update(measure(Path(folder), name, lambda text: log.print(text)))
        forget_costs()
    names = args.variant or NAMES
    rows = [(name, core, cost_of(name, core)) for name in names for core in MEASURED_CORES]
    if args.json:
        facts = [
            {"variant": name, "core": core, **(asdict(cost) if cost else {})}
            for name, core, cost in rows
        ]
        print(json.dumps(facts, indent=2))
        return 0
    table = Table("variant", "core", "cycles", "code, bytes", "error, %", box=box.SIMPLE_HEAD)
    for name, core, cost in rows:
        if cost is None:
            table.add_row(name, core, "not measured")
            continue
        terms = [_terms(costs) for costs in (cost.cycles, cost.code_bytes)]
        error = f"{cost.mean_error_percent:.1f}, worst {cost.worst_error_percent:.1f}"
        table.add_row(name, core, *terms, error)
    Console().print(table)
    return 0


def _terms(costs: Mapping[str, float]) -> str:
    return " + ".join(
        f"{value:,.4g}" + ("" if name == "fixed" else f" {name}")
        for name, value in costs.items()
        if value
    )
