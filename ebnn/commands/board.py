"""Run a harness (`ebnn build --harness`) on a board and record what it reports.

The record is the simulator's, of kind `board`: predictions, cycles of each inference, stack.
`ebnn compare` holds the two against each other.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ebnn.board.harness_elf import HarnessElf
    from ebnn.board.link import Link
    from ebnn.sim.board import Board

HELP = "run a harness on a real board, write the run record"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run_parser = actions.add_parser("run", help="flash a harness, run it, record its report")
    run_parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    run_parser.add_argument("elf", type=Path, help="what `ebnn build --harness` wrote")
    run_parser.add_argument(
        "--via",
        choices=("pyocd", "serial", "gdb", "qemu", "simulator"),
        required=True,
        help="a probe through pyOCD, a serial port, a GDB server (OpenOCD, J-Link), QEMU",
    )
    run_parser.add_argument("-b", "--board", help="default: the one that it was built for")
    run_parser.add_argument("--json", metavar="FILE", help="write the run record; - prints it")
    run_parser.add_argument(
        "--simulated", type=Path, metavar="FILE", help="run it in the simulator too; its record"
    )
    run_parser.add_argument(
        "--timeout",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="without a word from the board; in the simulator for each sample; default 120",
    )
    run_parser.add_argument(
        "--log", type=Path, metavar="FILE", help="keep what was received; default: only on errors"
    )
    run_parser.add_argument("--port", help="serial: the port, /dev/ttyACM0")
    run_parser.add_argument("--baud", type=int, default=115200, help="serial: default 115200")
    run_parser.add_argument("--probe", metavar="ID", help="pyocd: which one, of several")
    run_parser.add_argument("--target", help="pyocd: the chip's name where the probe can't tell")
    run_parser.add_argument(
        "--gdb-server", default="localhost:3333", metavar="HOST:PORT", help="default OpenOCD's"
    )
    run_parser.add_argument(
        "--gdb-reset",
        action="append",
        metavar="COMMAND",
        help="gdb: resets and halts; default 'monitor reset halt', '' for none",
    )
    run_parser.add_argument("--machine", help="qemu: instead of the one that fits")
    run_parser.add_argument(
        "--no-flash", action="store_true", help="it is on the board already (pyocd, gdb)"
    )


def run(args: argparse.Namespace) -> int:
    import json
    import sys

    from ebnn.board.collect import NotCollected, collect
    from ebnn.board.harness_elf import read_harness
    from ebnn.board.record import board_record
    from ebnn.board.simulated import simulate, simulated_record
    from ebnn.files import write_whole
    from ebnn.sim.errors import UserError

    if not 0 < args.timeout < 1e6:
        raise UserError(f"--timeout {args.timeout:g}: give seconds, more than 0")
    harness = read_harness(args.elf)
    board = harness.board(args.board)
    log = args.log or args.elf.with_suffix(".received.txt")
    simulated: dict[str, Any] | None = None
    if args.via == "simulator" or args.simulated is not None:
        found, machine = simulate(
            harness, board, timeout_seconds=args.timeout * (harness.samples + 1)
        )
        simulated = simulated_record(found, machine, harness)
        received = found.received
    if args.via == "simulator":
        assert simulated is not None
        record = simulated
    else:
        link = _open(args, harness, board)
        try:
            collected = collect(link, harness, args.timeout)
        except NotCollected as error:
            write_whole(log, error.received)
            what = f"{len(error.received):,} bytes received are in {log}"
            raise UserError(f"{error} ({what})") from error
        finally:
            link.close()
        received = collected.received
        record = board_record(collected, harness, board, link.facts)
    if args.log is not None:
        write_whole(args.log, received)
    if args.simulated is not None:
        write_whole(args.simulated, (json.dumps(simulated, indent=2) + "\n").encode())
    text = json.dumps(record, indent=2) + "\n"
    if args.json == "-":
        print(text, end="")
    elif args.json:
        write_whole(Path(args.json), text.encode())
    if args.json != "-":
        _print(record)
    if record["fault"]:
        print(f"error: {record['fault']['message']}", file=sys.stderr)
    elif record["accuracy"]["agreement"] != record["accuracy"]["total"]:
        print("error: predictions differ from the numpy reference's", file=sys.stderr)
        return 1
    return int(record["exit"])


def _open(args: argparse.Namespace, harness: HarnessElf, board: Board) -> Link:
    from ebnn.toolchain.boot_stage import check_checksum

    if args.via == "qemu":
        from ebnn.board.qemu import open_qemu

        return open_qemu(harness, board, args.machine)
    check_checksum(harness.elf, board)
    if args.via == "gdb":
        from ebnn.board.gdb import open_gdb

        reset = ["monitor reset halt"] if args.gdb_reset is None else args.gdb_reset
        return open_gdb(harness, args.gdb_server, list(filter(None, reset)), not args.no_flash)
    if args.via == "serial":
        from ebnn.board.serial_port import open_serial

        return open_serial(harness, args.port, args.baud)
    from ebnn.board.pyocd_probe import open_pyocd

    return open_pyocd(harness, args.probe, args.target, not args.no_flash)


def _print(record: dict[str, Any]) -> None:
    from ebnn.emulation import REGION
    from ebnn.sim.render import clock_text, model_text

    where = record.get("probe")
    at = f" via {where['via']} {where['at']}" if where else ", simulated"
    print(f"board        {record['board']}{at}")
    if "model" in record:
        print(f"cycle model  {model_text(record['model'])}")
    if "accuracy" not in record:
        return
    found = record["accuracy"]
    print(
        f"predictions  {found['agreement']} of {found['total']} as in numpy, "
        f"{found['correct']} as labelled"
    )
    region = record["regions"].get(REGION)
    if region is None:
        print("cycles       not counted here")
    else:
        cycles = region["cycles"]
        milliseconds = 1e3 * cycles["median"] / record["clock_hz"]
        print(
            f"{REGION}   {cycles['median']:,} cycles ({cycles['min']:,} to {cycles['max']:,}),"
            f" {milliseconds:.2f} ms at {clock_text(record)}"
        )
    print(f"stack        {record['memory']['stack']:,} bytes")
