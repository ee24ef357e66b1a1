"""The board harness in the simulator: what it says of itself is what the simulator saw."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from harness_builds import build, network_of

from ebnn.board.protocol import ReportReader
from ebnn.board.record import board_record
from ebnn.board.simulated import simulate, simulated_record
from ebnn.emulation import REGION
from ebnn.sim import Machine
from ebnn.sim.board import as_it_leaves_reset, load_board
from ebnn.sim.board_uart import load_uart
from ebnn.sim.errors import UserError
from ebnn.toolchain.firmware import TOOLCHAIN_DIR, build_firmware

BOARDS = (
    "generic-m0", "generic-m0plus", "generic-m3", "generic-m4", "generic-m4f", "generic-m33",
    "generic-m7", "microbit-v1", "stm32f407-discovery", "nucleo-l4r5zi", "arduino-zero",
    "raspberry-pi-pico@0ws",
)  # fmt: skip


def cycles_agree(board_name: str, folder: Path, engine: str = "auto", **how: object) -> list[int]:
    """Hold the harness's cycles against the region's; returns them, without the counter's cost."""
    built = build(folder, board_name, **how)  # type: ignore[arg-type]
    board = built.harness.board(None)
    found, machine = simulate(built.harness, board, engine)
    simulated = simulated_record(found, machine, built.harness)
    recorded = board_record(found, built.harness, board, {"via": "test", "at": board.name})
    region = recorded["regions"][REGION]
    assert region["cycles"] == simulated["regions"][REGION]["cycles"]
    assert region["count"] == simulated["regions"][REGION]["count"] == 3
    # Paint does not show bytes at the deepest end that a function made room for and left alone.
    unseen = simulated["memory"]["stack"] - recorded["memory"]["stack"]
    assert 0 <= unseen <= 16
    assert simulated["memory"]["ram"] - recorded["memory"]["ram"] == unseen
    assert recorded["predictions"] == simulated["predictions"] == list(built.expected)
    assert recorded["accuracy"]["agreement"] == 3
    start = found.report.start
    assert start is not None
    assert start.counter == ("systick" if board.core.startswith("cortex-m0") else "dwt")
    assert start.cost_cycles > 0
    cycles: list[int] = recorded["cycles_each"]
    return cycles


@pytest.mark.parametrize("board_name", BOARDS)
def test_harness_counts_what_the_simulator_counts(board_name: str, tmp_path: Path) -> None:
    cycles_agree(board_name, tmp_path)


@pytest.mark.parametrize("optimize", ["-O0", "-O3", "-Os"])
def test_the_compilers_choices_do_not_matter(optimize: str, tmp_path: Path) -> None:
    cycles_agree("generic-m4f", tmp_path, optimize=optimize)


@pytest.mark.parametrize("output", ["rtt", "uart"])
def test_every_output_runs_in_the_simulator(output: str, tmp_path: Path) -> None:
    cycles_agree("microbit-v1", tmp_path, output=output)


def test_python_engine_hears_the_same(tmp_path: Path) -> None:
    native = cycles_agree("generic-m0plus", tmp_path / "native")
    assert cycles_agree("generic-m0plus", tmp_path / "python", engine="python") == native


def test_systick_is_followed_past_its_24_bits(tmp_path: Path) -> None:
    network = network_of("conv5x5-16 pool2, fc-10", side=22)
    cycles = cycles_agree("generic-m0", tmp_path, network=network, lowering="unfused")
    assert min(cycles) > 1 << 24  # else the network is too small for this test


def test_wait_states_add_little_to_the_stated_cost(tmp_path: Path) -> None:
    built = build(tmp_path, "stm32f407-discovery")
    board = load_board("stm32f407-discovery")
    assert board.flash_timing.wait_states == 5
    found, machine = simulate(built.harness, board)
    recorded = board_record(found, built.harness, board, {"via": "test", "at": board.name})
    simulated = machine.record().to_dict()["regions"][REGION]["cycles"]
    # What the fetch behind the call waits is outside of the region, and inside of the readings.
    assert 0 <= recorded["regions"][REGION]["cycles"]["max"] - simulated["max"] <= 12


def test_a_pico_counts_what_the_simulator_counts_once_its_cache_is_warm(tmp_path: Path) -> None:
    built = build(tmp_path, "raspberry-pi-pico")
    board = built.harness.board(None)
    assert (board.name, board.flash_timing.wait_states) == ("raspberry-pi-pico@reset", 256)
    found, machine = simulate(built.harness, board)
    recorded = board_record(found, built.harness, board, {"via": "test", "at": board.name})
    simulated = machine.record().to_dict()["regions"][REGION]["cycles"]
    measured = recorded["regions"][REGION]["cycles"]
    assert measured["median"] == simulated["median"]
    # The first sample fetches what stands around the call as well.
    assert measured["max"] - simulated["max"] in (256, 512)
    assert recorded["predictions"] == list(built.expected)


def test_a_hard_fault_is_told_by_its_place(tmp_path: Path) -> None:
    for name in ("generic-m0", "generic-m4f"):
        built = build(tmp_path / name, name)
        output = io.StringIO()
        machine = Machine(built.path, output=output, faults="deliver")
        at = machine.symbol(REGION).address & ~1
        machine.write(at, b"\x00\xde" * 2)  # UDF
        assert machine.run() == 1
        reader = ReportReader()
        reader.feed(output.getvalue().encode())
        fault = reader.report.fault
        assert fault is not None
        assert fault.pc == at


def test_harness_is_reproducible_and_its_id_its_own(tmp_path: Path) -> None:
    one, again = build(tmp_path / "one", "generic-m3"), build(tmp_path / "two", "generic-m3")
    other = build(tmp_path / "other", "generic-m3", count=2)
    assert one.path.read_bytes() == again.path.read_bytes()
    assert one.harness.build_id != other.harness.build_id
    assert one.harness.inputs_sha256 != other.harness.inputs_sha256


def test_uart_of_a_board_without_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"generic-m3: its description has no \[uart\] table"):
        build(tmp_path, "generic-m3", output="uart")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("open = 3", "needs 'open' (list)"),
        ("open = [['write', 4]]", "is none of ['write', address, value]"),
        ("open = [['poke', 4, 4]]", "is none of ['write', address, value]"),
        ("open = [['write', 5, 4]]", "0x5 is no address of a register"),
        ("open = [['wait', 4, 1, 2]]", "0x2 has bits outside 0x1"),
        ("open = [['write', 4, -1]]", "-1 is not a number of 32 bits"),
    ],
)
def test_bad_uart_tables_are_refused(line: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    table = "title = 't'\nsource = 's'\nbaud = 9600\ndata = 4\nbefore_byte = []\nafter_byte = []\n"
    path.write_text(f"[uart]\n{table}{line}\n")
    with pytest.raises(UserError) as caught:
        load_uart(path)
    assert complaint in str(caught.value)


def test_every_described_uart_can_be_read() -> None:
    found = [name for name in BOARDS if load_uart(name) is not None]
    assert found == ["microbit-v1", "stm32f407-discovery", "nucleo-l4r5zi"]


def test_the_board_leaves_reset_at_its_reset_clock() -> None:
    assert as_it_leaves_reset("nucleo-l4r5zi").clock_hz == 4_000_000
    assert as_it_leaves_reset("nucleo-l4r5zi@0ws") == load_board("nucleo-l4r5zi@0ws")
    assert as_it_leaves_reset("microbit-v1") == load_board("microbit-v1")


SWEEP = r"""
#include "cycle_counter.h"
#include "semihosting.h"
int32_t ebnn_infer(const void *input, int32_t *scores);
__attribute__((naked, noinline)) int32_t ebnn_infer(const void *input, int32_t *scores) {
    (void)input;
    (void)scores;
    __asm__ volatile("1: sub r0, #1\n\tbne 1b\n\tbx lr");
}
int main(void) {
    cycle_counter_start();
    const uint32_t cost = cycle_counter_cost();
    for (uintptr_t turns = 1; turns <= 400; turns++) {
        uint32_t cycles;
        counted_infer((const void *)turns, 0, &cycles);
        semihosting_write_u32(cycles - cost);
        semihosting_write("\n");
    }
    return 0;
}
"""


def test_systick_is_right_wherever_its_period_ends(tmp_path: Path) -> None:
    source = tmp_path / "sweep.c"
    source.write_text(SWEEP)
    elf = build_firmware(
        [source, TOOLCHAIN_DIR / "cycle_counter.c", TOOLCHAIN_DIR / "cycle_span.S"],
        load_board("generic-m0"),
        tmp_path / "sweep.elf",
        defines={"SYST_PERIOD": "512u", "SYST_MARGIN": "128u"},
    )
    output = io.StringIO()
    machine = Machine(elf, output=output)
    machine.run()
    counted = [int(line) for line in output.getvalue().split()]
    # 3 + 1 cycles a turn, 2 less in the last, 3 to return; and a handler's for each end of a period
    # of 512.
    extra = [cycles - (4 * turns + 1) for turns, cycles in enumerate(counted, 1)]
    handler_cycles = 36
    assert sorted(set(extra)) == [0, handler_cycles, 2 * handler_cycles, 3 * handler_cycles]
    steps = [turns for turns in range(1, 400) if extra[turns] != extra[turns - 1]]
    assert [steps[1] - steps[0], steps[2] - steps[1]] == [(512 - handler_cycles) // 4] * 2
