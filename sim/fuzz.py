"""Feeds the simulator mutated images and random code: every one must end in an exit code.

    python -m ebnn.sim.fuzz IMAGE.elf... [--count 5000] [--seed 1] [--jobs 2]

Prints how many ended with which exit code. What a mutant is, and the options that it is run with,
follow from the seed and its number alone. A mutant fails the campaign when it crashes the process,
raises anything but a `UserError`, says more than one line, takes longer than it may, opens a file
of the host, or ends differently on the two engines. A crash is a failure that no count hides, so
mutants run in child processes which say what they are at.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import UserError, run_command

HANG_SECONDS = 60  # without a word from a child


@dataclass
class Campaign:
    """What came of it: exit codes, one line for each failure, the largest peak of memory."""

    ends: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    peak_mib: int = 0

    def add(self, other: Campaign) -> None:
        self.ends += other.ends
        self.failures += other.failures
        self.peak_mib = max(self.peak_mib, other.peak_mib)

    def report(self) -> dict[str, object]:
        return {
            "mutants": sum(self.ends.values()) + len(self.failures),
            "exit_codes": {str(code): self.ends[code] for code in sorted(self.ends)},
            "peak_mib": self.peak_mib,
            "failures": self.failures,
        }


def campaign(images: Sequence[Path], numbers: range, seed: int, jobs: int = 1) -> Campaign:
    """Run the mutants of these numbers of the campaign `seed`, shared out to `jobs` processes."""
    total = Campaign()
    parts: list[Campaign] = [Campaign() for _ in range(jobs)]
    workers = []
    for number, part in enumerate(parts):
        count = len(numbers)
        share = numbers[count * number // jobs : count * (number + 1) // jobs]
        worker = threading.Thread(target=_run_part, args=(images, share, seed, part))
        worker.start()
        workers.append(worker)
    for worker, part in zip(workers, parts, strict=True):
        worker.join()
        total.add(part)
    return total


def _run_part(images: Sequence[Path], numbers: range, seed: int, part: Campaign) -> None:
    first = numbers.start
    while first < numbers.stop:
        command = [sys.executable, "-m", "ebnn.sim.fuzz_child", str(seed), str(first),
                   str(numbers.stop), *map(str, images)]  # fmt: skip
        first = follow(command, first, part)


def follow(command: list[str], first: int, part: Campaign) -> int:
    """Follow one child until it ends; the number of the mutant to go on with."""
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    words: queue.Queue[str | None] = queue.Queue()
    errors: list[str] = []
    readers = [
        threading.Thread(target=_read_words, args=(child, words)),
        threading.Thread(target=lambda: errors.extend(child.stderr or ())),
    ]
    for reader in readers:
        reader.start()
    at, hung = first, False
    while True:
        try:
            line = words.get(timeout=HANG_SECONDS)
        except queue.Empty:
            hung = True
            child.kill()
            continue
        if line is None:
            break
        word, _, value = line.partition(" ")
        if word == "at":
            at = int(value)
        elif word == "exit":
            part.ends[int(value)] += 1
        elif word == "failed":
            part.failures.append(f"mutant {at}: {value}")
        elif word == "peak":
            part.peak_mib = max(part.peak_mib, int(value))
    status = child.wait()
    for reader in readers:
        reader.join()
    if status != 0:
        last = (errors or [""])[-1].strip()
        what = f"no end in {HANG_SECONDS} s" if hung else f"status {status}: {last}"
        part.failures.append(f"mutant {at}: {what}")
    return at + 1


def _read_words(child: subprocess.Popen[str], words: queue.Queue[str | None]) -> None:
    for line in child.stdout or ():
        words.put(line.rstrip("\n"))
    words.put(None)


def _main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ebnn.sim.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("image", type=Path, nargs="+", help="good images, to be mutated in turn")
    parser.add_argument("--count", type=int, default=5000, help="mutants (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the campaign (default: 1)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    args = parser.parse_args(argv)
    if args.count < 1 or args.jobs < 1:
        raise UserError("--count and --jobs must be at least 1")
    from .mutants import read_seed

    for image in args.image:
        read_seed(image)
    result = campaign(args.image, range(args.count), args.seed, args.jobs)
    print(json.dumps(result.report(), indent=2))
    return 1 if result.failures else 0


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(_main, argv)


if __name__ == "__main__":
    raise SystemExit(main())
