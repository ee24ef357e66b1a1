"""Print a benchmark's figures beside what they must meet."""

from __future__ import annotations

import argparse

_FILE_COLUMNS = 160
HELP = "measure, and hold the figures against their bounds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=("lowerings", "kernels", "sim"), help="which benchmark")
    parser.add_argument("--json", choices=("-",), metavar="-", help="- prints JSON")


def run(args: argparse.Namespace) -> int:
    import json
    import tempfile
    from pathlib import Path

    from rich import box
    from rich.console import Console
    from rich.table import Table

    from ebnn.benchmarks import lowerings
    from ebnn.kernel_benchmark import kernels
    from ebnn.sim.render import flash_text, model_text
    from ebnn.simulator_benchmark import simulator

    measure = {"lowerings": lowerings, "kernels": kernels, "sim": simulator}[args.name]
    with tempfile.TemporaryDirectory(prefix="ebnn-bench-") as folder:
        figures = measure(Path(folder))
    if args.json:
        print(json.dumps([figure.to_dict() for figure in figures], indent=2))
    else:
        table = Table("", "value", "unit", "must", "aim", "", box=box.SIMPLE_HEAD)
        for figure in figures:
            bounds = ["" if b is None else f"{b:,.10g}" for b in (figure.must, figure.aim)]
            verdict = "" if figure.must is None else ("ok" if figure.ok else "MISSED")
            table.add_row(figure.name, f"{figure.value:,.10g}", figure.unit, *bounds, verdict)
        console = Console()
        if not console.is_terminal:  # a file has no edge to wrap at
            console.width = _FILE_COLUMNS
        console.print(table)
        machines = {str(one.machine): one.machine for one in figures if one.machine}
        for found in machines.values():
            model = found["model"]
            print(f"cycles of {found['board']}, {flash_text(model)}: model {model_text(model)}")
    return 0 if all(figure.ok for figure in figures) else 1
