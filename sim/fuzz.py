"""Feeds the simulator mutated images and random code: every one must end in an exit code.

    python -m ebnn.sim.fuzz IMAGE.elf [--count 5000] [--seed 1]

Prints how many ended with which exit code. A crash of the process is a failure that no count
hides, so the campaign runs in a child process which says what it was at.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .errors import UserError

_MAX_CYCLES = 50_000
_EXTREMES = (0, 1, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFF000, 0x20000000, 0x08000000)


def mutate(image: bytes, random_source: random.Random) -> bytes:
    """One mutant of an ELF image: headers, sizes, code bytes, or length changed."""
    data = bytearray(image)
    choice = random_source.randrange(5)
    if choice == 0:  # header and program header words
        for _ in range(random_source.randrange(1, 4)):
            at = random_source.randrange(16, min(len(data) - 4, 0x34 + 4 * 32)) & ~3
            value = random_source.choice((*_EXTREMES, random_source.getrandbits(32)))
            data[at : at + 4] = value.to_bytes(4, "little")
    elif choice == 1:  # a cut
        del data[random_source.randrange(len(data)) :]
    elif choice == 2:  # random bits anywhere
        for _ in range(random_source.randrange(1, 64)):
            data[random_source.randrange(len(data))] ^= 1 << random_source.randrange(8)
    else:  # random code where the code is
        start = random_source.randrange(0x1000, max(0x1001, min(len(data), 0x1400)))
        for at in range(start, min(len(data), start + random_source.randrange(2, 512))):
            data[at] = random_source.getrandbits(8)
    return bytes(data)


def run_one(path: Path, engine: str = "auto") -> int:
    """Exit code of one image; any exception that is not a `UserError` passes through."""
    from .machine import Machine

    try:
        machine = Machine(
            path,
            engine=engine,
            max_cycles=_MAX_CYCLES,
            timeout_seconds=5,
            output=io.StringIO(),
            errors=io.StringIO(),
        )
        machine.run()
        machine.record().to_json()
    except UserError as error:
        if "\n" in str(error):
            raise AssertionError(f"more than one line: {error}") from error
        return error.exit_code
    return 0


def _child(image: Path, first: int, count: int, seed: int) -> None:
    original = image.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutant.elf"
        for number in range(first, first + count):
            print(f"at {number}", flush=True)
            path.write_bytes(mutate(original, random.Random(f"{seed}:{number}")))
            print(f"exit {run_one(path)}", flush=True)


def campaign(image: Path, count: int, seed: int) -> tuple[Counter[int], list[str]]:
    """Exit codes of `count` mutants, and one line for each crash or wrong ending."""
    ends: Counter[int] = Counter()
    failures = []
    number = 0
    while number < count:
        command = [sys.executable, "-m", "ebnn.sim.fuzz", str(image), "--seed", str(seed)]
        command += ["--child", str(number), str(count - number)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        for line in done.stdout.splitlines():
            word, _, value = line.partition(" ")
            if word == "exit":
                ends[int(value)] += 1
            else:
                number = int(value)
        if done.returncode == 0:
            break
        lines = done.stderr.strip().splitlines() or [""]
        failures.append(f"mutant {number}: status {done.returncode}: {lines[-1]}")
        number += 1
    return ends, failures


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ebnn.sim.fuzz", description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        first, count = args.child
        _child(args.image, first, count, args.seed)
        return 0
    ends, failures = campaign(args.image, args.count, args.seed)
    report = {"mutants": args.count, "exit_codes": {str(c): ends[c] for c in sorted(ends)}}
    print(json.dumps({**report, "failures": failures}, indent=2))
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
