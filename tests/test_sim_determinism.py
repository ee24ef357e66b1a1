"""The same ELF, input and options give the same bytes of record, in any process and engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from random_networks import random_checkpoint, random_samples
from sim_images import CORES, build, function
from test_sim_fuzz import BASELINE, CALLER, MAINLINE
from test_toolchain import EVERYTHING

from ebnn.architecture import InputSpec, parse
from ebnn.firmware import build_model
from ebnn.inputs import encode_input
from ebnn.lowered import lower
from ebnn.sim import Machine
from ebnn.sim.board import load_board
from ebnn.toolchain.firmware import build_firmware

_BOARDS = ["generic-m0plus", "generic-m4f", "stm32f407-discovery", "nrf52840-dk",
           "raspberry-pi-pico"]  # fmt: skip


def _record(elf: Path, seed: int, *options: str) -> bytes:
    """The record that the command prints, from a process with its own hash seed."""
    command = [sys.executable, "-m", "ebnn.sim", "run", str(elf), "--json", "-", *options]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": str(seed)},
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1, 3), done.stderr
    return done.stdout


def _without_engine(record: bytes) -> dict[str, object]:
    data: dict[str, object] = json.loads(record)
    del data["engine"]
    return data


@pytest.mark.parametrize(
    ("board", "options"),
    [
        *((board, ()) for board in _BOARDS),
        ("generic-m4f", ("--ram", "1200")),
        ("stm32f407-discovery", ("--max-cycles", "3000")),
    ],
)
def test_two_processes_and_both_engines_print_the_same_record(
    board: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    source = tmp_path / "main.c"
    source.write_text(EVERYTHING)
    elf = build_firmware([source], load_board(board), tmp_path / "main.elf")
    chosen = ("--board", board, "--region", "printf", *options)
    first = _record(elf, 1, *chosen, "--engine", "native")
    assert _record(elf, 2, *chosen, "--engine", "native") == first
    python = _record(elf, 3, *chosen, "--engine", "python")
    assert _without_engine(python) == _without_engine(first)


@pytest.mark.parametrize("core", CORES)
def test_assembly_counts_alike_on_both_engines(core: str, tmp_path: Path) -> None:
    work = BASELINE if core.startswith("m0") else MAINLINE
    if core in ("m3", "m4"):
        work = "\n".join(line for line in work.splitlines() if not line.startswith("    v"))
    elf = build(tmp_path, core, CALLER, function("work", work))
    first = _record(elf, 1, "--core", core, "--region", "work")
    python = _record(elf, 2, "--core", core, "--region", "work", "--engine", "python")
    assert _without_engine(python) == _without_engine(first)


def test_many_watched_instructions_in_long_blocks_count_alike_on_both_engines(
    tmp_path: Path,
) -> None:
    # Unicorn cuts long blocks where its buffer is full, which hooks fill: here with more of them
    # than the engines hook one by one (loads that may go to slow RAM), and 32-bit loads whose cost
    # depends on where a block begins.
    watched = "    ldr r0, [sp]\n    adds r0, r0, #1\n" * 300
    long_block = "    ldr.w r2, [r3, #4]\n    eor.w r4, r4, r5\n" * 400
    body = f"    push {{r4, lr}}\n    mov r3, sp\n{watched}    nop\n{long_block}    pop {{r4, pc}}"
    c = "void work(void); int main(void) { work(); work(); return 0; }"
    elf = build(tmp_path, "m4f", c, function("work", body))
    options = ("--board", "stm32f407-discovery", "--region", "work")
    first = _record(elf, 1, *options)
    python = _record(elf, 2, *options, "--engine", "python")
    assert _without_engine(python) == _without_engine(first)


@pytest.mark.parametrize("lowering", ["fast", "reference", "unfused"])
@pytest.mark.parametrize("board_name", ["generic-m0plus", "generic-m4f", "stm32f407-discovery"])
def test_a_network_counts_alike_on_both_engines(
    lowering: str, board_name: str, tmp_path: Path
) -> None:
    architecture = parse("conv3x3-3 pool2, fc-10", InputSpec(1, 8, 8))
    network = lower(random_checkpoint(architecture, seed=3))
    board = load_board(board_name)
    build_model(network, board, tmp_path / "model.elf", tmp_path / "c", lowering)
    sample = encode_input(random_samples(architecture.input, 1, seed=4), architecture.input)[0]
    records = []
    for engine in ("native", "python"):
        machine = Machine(
            tmp_path / "model.elf", board=board, engine=engine, regions=("ebnn_infer",)
        )
        machine.run_until("main")
        address = machine.symbol("ebnn_input").address
        machine.write(address, sample.tobytes())
        machine.call("ebnn_infer", address, 0)
        records.append(_without_engine(machine.record().to_json().encode()))
    assert records[0] == records[1]
