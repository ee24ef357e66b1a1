"""The speed of runs that count cycles, against plain emulation's: ratios of runs of one ELF.

Every way of running takes turns with the others, and the median over the rounds of the ratio to
bare Unicorn's turn counts, in time of the processor and not of the clock on the wall: what else the
machine does weighs little.

Bare Unicorn runs with no hook but one for the end. The machine also keeps stores to RAM on
Unicorn's fast path (sim/tlb.py), which gains more than counting costs: so that the cost of counting
itself shows, Unicorn with that and nothing counted takes its turn too.
"""

from __future__ import annotations

import ctypes
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from ebnn.architecture import InputSpec
from ebnn.benchmarks import DEMO_ARCHITECTURE, Figure, random_network
from ebnn.emulation import Firmware, run_samples
from ebnn.firmware import build_model
from ebnn.inputs import encode_input
from ebnn.sim import Machine
from ebnn.sim import unicorn_library as uc
from ebnn.sim.board import Board, load_board
from ebnn.sim.elf import Elf
from ebnn.sim.engine_native import find_library
from ebnn.sim.peripherals import PPB_BYTES, PPB_START
from ebnn.sim.tlb import Tlb
from ebnn.toolchain.firmware import build_firmware
from ebnn.workers import worker_pool

_ROUNDS = 5
_INFERENCES = 300
_CALLS = 2000
_IMAGES = 10_000
_STARTS = 5
_LINKED_RAM_BYTES = 15 * 1024
# Our cores in QEMU: machines whose flash and RAM begin where these boards' do.
_TARGETS = {
    "M4F": ("nrf52840-dk", "mps2-an386"),
    "M0+": ("arduino-zero", "microbit"),
}


@dataclass(frozen=True)
class _Way:
    """One way to run the ELF; `turn` does so once and gives the seconds it took."""

    name: str
    turn: Callable[[], float]


def simulator(folder: Path) -> list[Figure]:
    """Speed of the simulator against bare Unicorn, and QEMU where it is installed, on the demo's
    network; the overhead of a call; the start."""
    figures = []
    network = random_network(DEMO_ARCHITECTURE, InputSpec(1, 28, 28))
    for core, (board_name, qemu_machine) in _TARGETS.items():
        board = load_board(board_name)
        elf = folder / f"{board_name}.elf"
        build_model(
            network,
            board,
            elf,
            folder / "c",
            ram_bytes=_LINKED_RAM_BYTES,
            inferences=_INFERENCES,
        )
        figures += _speeds(core, elf, board, qemu_machine)
        figures.append(_many_images(core, elf, board.without_wait_states()))
    return figures + _overheads(folder)


def _speeds(core: str, elf: Path, board: Board, qemu_machine: str) -> list[Figure]:
    ways = [
        _Way("bare", lambda: _run_bare(elf, board)),
        _Way("fast stores", lambda: _run_bare(elf, board, fast_stores=True)),
        _Way("counted", lambda: _run_machine(elf, board.without_wait_states())),
        _Way("profiled", lambda: _run_machine(elf, board.without_wait_states(), profile=True)),
    ]
    qemu = shutil.which("qemu-system-arm")
    if qemu is not None:
        ways.append(_Way("qemu", lambda: _run_qemu(qemu, qemu_machine, elf)))
    rounds = [{way.name: way.turn() for way in ways} for _ in range(_ROUNDS)]

    def speed(name: str, of: str = "bare") -> float:
        return round(median(seconds[of] / seconds[name] for seconds in rounds), 3)

    waiting = rounds[0]["bare"] / _run_machine(elf, board)  # once: it takes the longest
    machine = _machine(elf, board.without_wait_states())
    machine.run()
    rate = machine.instructions / min(seconds["bare"] for seconds in rounds) / 1e6
    wait_states = board.flash_timing.wait_states
    figures = [
        Figure(f"{core}: bare Unicorn", round(rate), "M instructions/s"),
        Figure(
            f"{core}: cycles counted / bare",
            speed("counted"),
            "ratio of speeds",
            must=0.85,
            aim=0.92,
            at_least=True,
        ),
        Figure(
            f"{core}: cycles counted / bare with fast stores",
            speed("counted", of="fast stores"),
            "ratio of speeds",
        ),
        Figure(
            f"{core}: with a profile / bare",
            speed("profiled"),
            "ratio of speeds",
            must=0.5,
            at_least=True,
        ),
        Figure(
            f"{core}: {wait_states} flash wait states / bare",
            round(waiting, 3),
            "ratio of speeds",
        ),
    ]
    if qemu is not None:
        name = f"{core}: QEMU -icount, start included / bare"
        figures.append(Figure(name, speed("qemu"), "ratio of speeds"))
    return figures


def _machine(elf: Path, board: Board, profile: bool = False) -> Machine:
    return Machine(elf, board=board, output=io.StringIO(), regions=(), profile=profile)


def _run_machine(elf: Path, board: Board, profile: bool = False) -> float:
    machine = _machine(elf, board, profile)
    started = time.process_time()
    machine.run()
    seconds = time.process_time() - started
    machine.close()
    return seconds


def _run_bare(elf: Path, board: Board, fast_stores: bool = False) -> float:
    """The same image in Unicorn with no hook but the one that ends the run at its BKPT.

    `fast_stores`: and with the machine's own TLB.
    """
    image = Elf(elf)
    cpu = uc.Cpu(board.core)
    for memory in board.memories:
        cpu.map(memory.address, memory.size_bytes, uc.PROT_ALL)
    cpu.map(PPB_START, PPB_BYTES, uc.PROT_ALL)
    rams = [(one.address, one.size_bytes) for one in board.memories if one.kind == "ram"]
    tlb = Tlb(cpu, rams, find_library()) if fast_stores else None
    for segment in image.segments:
        cpu.write(segment.load_address, segment.data)
    cpu.set_register(uc.REG_SP, int.from_bytes(cpu.read(board.flash.address, 4), "little"))
    stop = uc.INTERRUPT_CALLBACK(lambda _uc, _number, _user: cpu.stop())
    cpu.hook(uc.HOOK_INTR, ctypes.cast(stop, ctypes.c_void_p))
    started = time.process_time()
    cpu.run(image.entry & ~1)
    seconds = time.process_time() - started
    cpu.close()
    del tlb  # whose memory the callbacks used
    return seconds


def _run_qemu(qemu: str, machine: str, elf: Path) -> float:
    command = [qemu, "-M", machine, "-icount", "shift=0", "-nographic", "-semihosting"]
    started = _children_seconds()
    subprocess.run([*command, "-kernel", str(elf)], check=True, capture_output=True, timeout=120)
    return _children_seconds() - started


def _children_seconds() -> float:
    used = os.times()
    return used.children_user + used.children_system


def _many_images(core: str, elf: Path, board: Board) -> Figure:
    """As `ebnn verify` runs them, boot and processes' start included."""
    spec = InputSpec(1, 28, 28)
    images = np.random.default_rng(1).integers(0, 256, (_IMAGES, *spec.shape), dtype=np.uint8)
    samples = encode_input(images, spec)
    started = time.perf_counter()
    with worker_pool(2) as pool:
        run_samples(pool, Firmware(elf, board, _LINKED_RAM_BYTES), samples)
    seconds = time.perf_counter() - started
    name = f"{core}: {_IMAGES:,} images on two processes"
    return Figure(name, round(seconds, 1), "seconds", must=15.0)


def _overheads(folder: Path) -> list[Figure]:
    source = folder / "nothing.c"
    source.write_text("int nothing(void) { return 0; }\nint main(void) { return nothing(); }\n")
    board = load_board("generic-m4f")
    elf = build_firmware([source], board, folder / "nothing.elf", optimize="-O0")
    machine = Machine(elf, board=board)
    machine.run_until("main")
    rounds = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        for _ in range(_CALLS):
            machine.call("nothing")
        rounds.append((time.process_time() - started) / _CALLS)
    command = [sys.executable, "-c", _START, str(elf)]
    # As installed: with the compiled modules that Python keeps, which the first start writes.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    starts = []
    for _ in range(_STARTS):
        began = time.time()
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        starts.append(float(done.stdout) - began)
    return [
        Figure("overhead of Machine.call", round(min(rounds) * 1e6, 1), "microseconds", must=50.0),
        Figure("start to first instruction", round(min(starts), 3), "seconds", must=0.15),
    ]


# What `python -m ebnn.sim run` does up to the first instruction; the time when it is there.
_START = """
import sys, time
import ebnn.sim.__main__
from ebnn.sim.cli import build_parser
args = build_parser().parse_args(["run", sys.argv[1], "--board", "generic-m4f", "--ram", "15k"])
from ebnn.sim.board import load_board
from ebnn.sim.machine import Machine
from ebnn.sim.sizes import parse_size
machine = Machine(args.elf, load_board(args.board), ram_bytes=parse_size(args.ram, "--ram"))
machine.run_until("Reset_Handler")
print(time.time())
"""
