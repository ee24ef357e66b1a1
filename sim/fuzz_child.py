"""One process of the fuzzing campaign: runs mutants and says, line by line, how each ended.

    python -m ebnn.sim.fuzz_child SEED FIRST STOP IMAGE.elf...

"at N" before mutant N, then "exit CODE" or "failed WHY"; "peak MIB" at the end. Not for people:
`fuzz.py` starts it.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from .board import Board, board_names, load_board
from .cli import main as run_cli
from .default_board import default_board
from .elf import Elf
from .errors import UserError
from .faults import BudgetExceeded
from .machine import Machine
from .mutants import Seed, mutant, read_seed
from .stack_usage import usage_path

_MAX_CYCLES = 20_000
_TIMEOUT_SECONDS = 5.0
_SMALL_BYTES = 64 << 10  # of flash and RAM: large memories take longer to fill than most runs
_CORES = ("m0", "m0+", "m3", "m4", "m4f", "m7", "m33")
_ADDRESS_SPACE_BYTES = 2 << 30
_CHANGES = frozenset(
    {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate",
     "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect",
     "socket.bind", "shutil.rmtree"}
)  # fmt: skip


class Sandbox:
    """Hears of every file that the process opens or changes, by Python's audit events."""

    def __init__(self, allowed: Path) -> None:
        self.watching = False
        self.broken: str | None = None
        self._allowed = {str(allowed), str(usage_path(allowed))}
        # Modules are loaded when they are first needed.
        folders = [folder for folder in sys.path if folder]  # modules are imported while it runs
        roots = (sys.prefix, sys.base_prefix, str(Path(__file__).resolve().parents[1]), *folders)
        self._code = tuple(str(Path(root).resolve()) for root in roots)
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.watching or (event != "open" and event not in _CHANGES):
            return
        if event == "open":
            path, mode, flags = arguments
            writes = (isinstance(flags, int) and flags & 3) or "w" in str(mode)
            name = str(path)
            if not writes and (name in self._allowed or self._is_code(name)):
                return
        self.broken = f"{event} {arguments!r}"[:300]

    def _is_code(self, name: str) -> bool:
        return name.startswith(self._code) or str(Path(name).resolve()).startswith(self._code)


@dataclass(frozen=True)
class Options:
    """What a mutant is run with."""

    core: str | None
    board: Board | None
    ram_bytes: int | None
    call: str | int | None
    other_engine: bool  # run it on the Python engine too, which must end the same
    through_cli: bool
    follows_memory: bool = False


def draw_options(seed: Seed, small_board: Board, random: Random) -> Options:
    board = small_board if random.random() < 0.9 else None
    if board is not None and random.random() < 0.3:  # wait states and caches of a product's flash
        like = load_board(random.choice(board_names()))
        board = replace(
            board,
            store_penalty_cycles=like.store_penalty_cycles,
            flash_timing=like.flash_timing,
        )
    names = seed.functions or ("main",)
    return Options(
        core=random.choice((None,) * 12 + _CORES),
        board=board,
        ram_bytes=random.choice((None, None, None, None, random.randrange(1, 70_000))),
        call=random.choice((None,) * 6 + (random.choice(names), random.getrandbits(32))),
        other_engine=random.random() < 0.2,
        through_cli=random.random() < 0.1,
        follows_memory=random.random() < 0.1,
    )


def _small_board(seed: Seed) -> Board:
    board = default_board(Elf(seed.path), seed.core)
    return replace(
        board,
        memories=tuple(
            replace(one, size_bytes=min(one.size_bytes, _SMALL_BYTES)) for one in board.memories
        ),
    )


@dataclass(frozen=True)
class _End:
    code: int
    message: str
    record: dict[str, Any] | None


def _run(path: Path, options: Options, engine: str) -> _End:
    """Run one image; any exception that is not a `UserError` passes through."""
    machine: Machine | None = None
    words = io.StringIO()
    code, message, record = 0, "", None
    try:
        machine = Machine(
            path,
            board=options.board,
            core=options.core,
            ram_bytes=options.ram_bytes,
            engine=engine,
            max_cycles=_MAX_CYCLES,
            timeout_seconds=_TIMEOUT_SECONDS,
            output=words,
            errors=words,
            touched=options.follows_memory,
            uninitialized="warn" if options.follows_memory else None,
        )
        if options.call is None:
            machine.run()
        else:
            machine.call(options.call)
    except UserError as error:
        code, message = error.exit_code, str(error)
        if isinstance(error, BudgetExceeded) and error.budget == "timeout":
            return _End(code, "timeout", None)
    if machine is not None:
        record = json.loads(machine.record().to_json())
        del record["engine"]
        machine.close()
    return _End(code, message, record)


def _run_cli(path: Path, options: Options) -> str | None:
    """Run one image as a person would; what was wrong with how it ended."""
    arguments = ["run", str(path), "--max-cycles", str(_MAX_CYCLES), "--timeout", "5"]
    arguments += ["--profile"] if options.other_engine else []
    arguments += ["--core", options.core] if options.core else []
    arguments += ["--ram", str(options.ram_bytes)] if options.ram_bytes else []
    arguments += ["--call", str(options.call)] if isinstance(options.call, str) else []
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        code = run_cli(arguments)
    last = errors.getvalue().rpartition("error: ")
    if code not in (0, 1, 2, 3):
        return f"exit code {code}"
    if code and (not last[1] or last[2].count("\n") != 1 or not last[2].endswith("\n")):
        return f"exit code {code} with {errors.getvalue()[-300:]!r}"
    return None


def judge(path: Path, options: Options) -> tuple[int, str | None]:
    """Exit code, and what was wrong with it."""
    end = _run(path, options, "auto")
    wrong = None
    if end.code not in (0, 1, 2, 3):
        wrong = f"exit code {end.code}"
    elif end.message and not end.message.isprintable():
        wrong = f"not one printable line: {end.message!r}"
    elif options.other_engine and end.message != "timeout":
        other = _run(path, options, "python")
        if other.message != "timeout" and other != end:
            wrong = "the Python engine ends otherwise: " + _difference(end, other)
    if wrong is None and options.through_cli:
        wrong = _run_cli(path, options)
    return end.code, wrong


def _difference(native: _End, python: _End) -> str:
    if (native.code, native.message) != (python.code, python.message):
        return f"{native.code} {native.message!r}, {python.code} {python.message!r}"[:400]
    first, second = native.record or {}, python.record or {}
    keys = [key for key in first if first[key] != second.get(key)]
    return ", ".join(f"{key} {first[key]!r}, {second.get(key)!r}" for key in keys)[:400]


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    statm = Path("/proc/self/statm")
    if statm.exists():
        reserved_bytes = int(statm.read_text().split()[0]) * resource.getpagesize()
        if reserved_bytes > _ADDRESS_SPACE_BYTES:
            return  # AddressSanitizer reserves terabytes
    _soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE_BYTES, hard))


def peak_mib() -> int:
    """Peak memory of this process alone; 0 where the system does not tell.

    Linux hands getrusage's figure on through exec: a small child of a large process seems large.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line) >> 10


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    campaign_seed, first, stop = (int(text) for text in arguments[:3])
    seeds = [read_seed(Path(text)) for text in arguments[3:]]
    boards = [_small_board(seed) for seed in seeds]
    words = sys.stdout
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutant.elf"
        usage_path(path).touch()  # a compiler that said nothing: every frame is read from the code
        sys.dont_write_bytecode = True  # of modules that are loaded while the sandbox watches
        sandbox = Sandbox(path)
        _bound_memory()
        for number in range(first, stop):
            words.write(f"at {number}\n")
            words.flush()
            random = Random(f"{campaign_seed}:{number}")
            which = number % len(seeds)
            path.write_bytes(mutant(seeds[which], random))
            options = draw_options(seeds[which], boards[which], random)
            sandbox.broken, sandbox.watching = None, True
            code, wrong = judge(path, options)
            sandbox.watching = False
            wrong = wrong or sandbox.broken
            words.write(f"exit {code}\n" if wrong is None else f"failed {wrong}\n")
        words.write(f"peak {peak_mib()}\n")
        words.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
