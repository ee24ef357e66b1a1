"""Flash that is slower than the core: counts worked out by hand, on both engines."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_images import ENGINES, assert_explained, build, function

from ebnn.sim import Machine, load_board
from ebnn.sim.board import Board, generic_board
from ebnn.sim.errors import UserError
from ebnn.sim.flash_timing import FlashTiming

# 16 instructions of 2 bytes in two lines of 16, the return in a third.
_STRAIGHT = function("straight", "    nop\n" * 16 + "    bx lr").replace(".p2align 2", ".p2align 4")
# 8 instructions of 4 bytes.
_WIDE = function("wide", "    nop.w\n" * 8 + "    bx lr").replace(".p2align 2", ".p2align 4")
# A line that sets up, then a loop of two lines that runs ten times.
_LOOP = function(
    "loop",
    "    movs r0, #10\n" + "    nop\n" * 7 + "1:\n" + "    nop\n" * 12
    + "    subs r0, #1\n    bne 1b\n    bx lr",
).replace(".p2align 2", ".p2align 4")  # fmt: skip
# Loads from lines 0, 2, 4 and again 0, 2 of a table; all code in one line, the loads in another.
_LOADS = (
    function(
        "loads",
        "    ldr r1, [r0]\n    ldr r1, [r0, #32]\n    ldr r1, [r0, #64]\n    ldr r1, [r0]\n"
        "    ldr r1, [r0, #32]\n    bx lr",
    ).replace(".p2align 2", ".p2align 4")
    + "    .p2align 6\n    .global table\ntable:\n    .space 128\n"
)


def _board(core: str, timing: FlashTiming) -> Board:
    return replace(generic_board(core), flash_timing=timing)


def _cycles(elf: Path, name: str, core: str, timing: FlashTiming, engine: str, *args: int) -> int:
    machine = Machine(elf, board=_board(core, timing), regions=(name,), engine=engine)
    machine.call(name, *args)
    assert_explained(machine)
    if timing.wait_states:
        assert machine.stalls()["flash wait states"] > 0
    return machine.region(name).cycles


@pytest.fixture(scope="module")
def m0plus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("m0plus"), "m0plus", assembly=_STRAIGHT + _LOOP + _LOADS)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("timing", "waits"),
    [
        (FlashTiming(0), 0),
        (FlashTiming(5, 16), 3 * 5),  # each of three lines
        (FlashTiming(5, 16, prefetch=True), 5),  # 8 cycles in a line hide the 5 of the next
        # each next line is read once the one before has come: ready 11 later, needed 8 later
        (FlashTiming(10, 16, prefetch=True), 10 + 2 * (11 - 8)),
        (FlashTiming(5, 8), 5 * 5),
    ],
)
def test_straight_code_waits_for_each_line(
    m0plus: Path, engine: str, timing: FlashTiming, waits: int
) -> None:
    # 16 of 1 cycle, BX 2
    assert _cycles(m0plus, "straight", "cortex-m0plus", timing, engine) == 18 + waits


@pytest.mark.parametrize("engine", ENGINES)
def test_wide_instructions_outrun_the_prefetch(tmp_path: Path, engine: str) -> None:
    elf = build(tmp_path, "m4", assembly=_WIDE)
    timing = FlashTiming(5, 16, prefetch=True)
    # 8 of 1 cycle, BX 3; the first line 5, and each next one is needed 4 cycles after that, while
    # a read takes 6
    assert _cycles(elf, "wide", "cortex-m4", timing, engine) == 11 + 5 + 2 + 2


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("timing", "waits"),
    [
        (FlashTiming(3, 16), 3 * (1 + 2 * 10)),  # the buffer holds one line: the loop has two
        (FlashTiming(3, 16, instruction_cache_lines=2, instruction_cache_ways=2), 3 * 3),
        (FlashTiming(3, 16, instruction_cache_lines=64, instruction_cache_ways=64), 3 * 3),
        # lines 0, 1, 2 in two sets of one way: 0 and 2 share one, but 0 is not needed again
        (FlashTiming(3, 16, instruction_cache_lines=2, instruction_cache_ways=1), 3 * 3),
    ],
)
def test_a_cache_keeps_what_a_loop_needs(
    m0plus: Path, engine: str, timing: FlashTiming, waits: int
) -> None:
    # 8 before the loop; ten times 13, nine branches of 2 and one not taken; BX 2
    by_hand = 8 + 130 + 18 + 1 + 2
    assert _cycles(m0plus, "loop", "cortex-m0plus", timing, engine) == by_hand + waits


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("lines", "ways", "misses"),
    [
        (1, 1, 5),
        (2, 1, 5),  # lines 0, 2 and 4 all fall into set 0
        (2, 2, 5),  # the least recently used gives way: 4 pushes 0 out, 0 then 2, 2 then 4
        (4, 4, 3),
        (8, 8, 3),
    ],
)
def test_loads_from_flash_have_a_cache_of_their_own(
    m0plus: Path, engine: str, lines: int, ways: int, misses: int
) -> None:
    timing = FlashTiming(4, 16, data_cache_lines=lines, data_cache_ways=ways)
    machine = Machine(m0plus, board=_board("cortex-m0plus", timing))
    cycles = _cycles(
        m0plus, "loads", "cortex-m0plus", timing, engine, machine.symbol("table").address
    )
    # five loads of 2, BX 2; the code is one line
    assert cycles == 12 + 4 + 4 * misses


@pytest.mark.parametrize("engine", ENGINES)
def test_one_cache_can_serve_code_and_data(m0plus: Path, engine: str) -> None:
    shared = FlashTiming(
        4, 16, instruction_cache_lines=4, instruction_cache_ways=4, data_cache_lines=0
    )
    machine = Machine(m0plus, board=_board("cortex-m0plus", shared))
    table = machine.symbol("table").address
    # the code's line and three of the table fill it
    assert _cycles(m0plus, "loads", "cortex-m0plus", shared, engine, table) == 12 + 4 + 4 * 3


@pytest.mark.parametrize("engine", ENGINES)
def test_loads_from_ram_do_not_wait(m0plus: Path, engine: str) -> None:
    timing = FlashTiming(4, 16)
    assert _cycles(m0plus, "loads", "cortex-m0plus", timing, engine, 0x20000000) == 12 + 4


_PROGRAM = """
static const int table[64] = {3, 1, 4, 1, 5, 9, 2, 6};
static int depth(int n) { return n ? table[n & 63] + depth(n / 2) : 1; }
int main(void) {
    volatile int sum = 0;
    for (int i = 0; i < 200; i++) sum += depth(i * 7) + table[i & 63] / (i + 1);
    return sum & 1;
}
"""


@cache
def _program(folder: Path) -> Path:
    return build(folder, "m4", _PROGRAM, optimize="-O1")


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    wait_states=st.integers(1, 60),
    line_bits=st.integers(2, 5),
    prefetch=st.booleans(),
    instruction=st.tuples(st.integers(0, 4), st.integers(0, 3)),
    data=st.one_of(st.none(), st.tuples(st.integers(0, 3), st.integers(0, 2))),
)
def test_both_engines_count_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    wait_states: int,
    line_bits: int,
    prefetch: bool,
    instruction: tuple[int, int],
    data: tuple[int, int] | None,
) -> None:
    elf = _program(tmp_path_factory.getbasetemp())
    timing = FlashTiming(
        wait_states,
        1 << line_bits,
        prefetch,
        1 << sum(instruction),
        1 << instruction[1],
        0 if data is None else 1 << sum(data),
        0 if data is None else 1 << data[1],
    )
    records = []
    for engine in ("native", "python"):
        machine = Machine(elf, board=_board("cortex-m4", timing), engine=engine)
        machine.run()
        assert_explained(machine)
        record = machine.record().to_dict()
        del record["engine"]
        records.append(record)
    assert records[0] == records[1]
    assert records[0]["model"]["wait_states"] == wait_states


def test_a_record_states_the_flash_and_no_error_that_was_not_measured(m0plus: Path) -> None:
    board = load_board("stm32f407-discovery")
    assert (board.clock_hz, board.flash_timing.wait_states) == (168_000_000, 5)
    elf = m0plus  # runs on an M4 as well
    model = Machine(elf, board=board).record().to_dict()["model"]
    assert model["wait_states"] == 5
    assert model["flash"]["prefetch"] is True
    assert model["error"]["measurements"] == 4  # those at 5 wait states on this board
    other = Machine(elf, board=load_board("nucleo-l4r5zi")).record().to_dict()["model"]
    assert (other["wait_states"], other["error"]) == (5, None)
    measured = Machine(elf, board=load_board("stm32f407-discovery@24mhz")).record().to_dict()
    assert measured["clock_hz"] == 24_000_000
    assert measured["board"] == "stm32f407-discovery@24mhz"
    assert measured["model"]["flash"] is None
    assert measured["model"]["error"]["measurements"] > 0


def test_a_record_names_the_oscillator_of_the_clock(m0plus: Path) -> None:
    board = load_board("raspberry-pi-pico@reset")
    record = Machine(m0plus, board=load_board("stm32f407-discovery@reset")).record().to_dict()
    assert (record["clock_hz"], record["clock_source"]) == (16_000_000, "HSI")
    assert board.clock_source == "ring oscillator, between 1.8 and 12 MHz"
    assert board.without_wait_states().clock_source == board.clock_source
    # Another clock without a word on its source has none that we know of.
    assert load_board("stm32f407-discovery@24mhz").clock_source is None


def test_every_board_has_a_profile_without_wait_states() -> None:
    board = load_board("raspberry-pi-pico@0ws")
    assert board == load_board("raspberry-pi-pico").without_wait_states()
    assert board.clock_hz == load_board("raspberry-pi-pico").clock_hz
    assert board.flash_timing.wait_states == 0
    assert load_board("generic-m4@0ws") == load_board("generic-m4")


_TOML = """
title = "t"
core = "cortex-m4"
clock_hz = 1
source = "s"
[[memory]]
name = "f"
kind = "flash"
address = 0
size_bytes = 1024
[[memory]]
name = "r"
kind = "ram"
address = 0x20000000
size_bytes = 1024
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[flash_timing]\nwait_states = -1", "wait_states = -1"),
        ("[flash_timing]\nwait_states = 1\nline_byte = 8", "'line_byte' is no key"),
        ("[flash_timing]\nwait_states = 1\nline_bytes = 12", "power of two"),
        ("[flash_timing]\nwait_states = 1\nprefetch = 1", "prefetch = 1 is not true or false"),
        ("[flash_timing]\nprefetch = true", "needs 'wait_states'"),
        (
            "[flash_timing]\nwait_states = 1\ninstruction_cache_lines = 6\n"
            "instruction_cache_ways = 2",
            "6 lines in 2 ways",
        ),
        ("[flash_timing]\nwait_states = 1\ninstruction_cache_lines = 0", "at least 1"),
        ("flash_timing = 5", "[flash_timing] table"),
        ("profile = 5", "[profile.NAME] table"),
    ],
)
def test_a_wrong_flash_description_is_one_clear_error(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "b.toml"
    path.write_text(_TOML + text if text.startswith("[") else text + _TOML)
    with pytest.raises(UserError) as error:
        load_board(path)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_profile_names_those_that_exist() -> None:
    with pytest.raises(UserError, match="choose one of 24mhz, reset, 0ws"):
        load_board("stm32f407-discovery@84mhz")


def test_the_profile_of_a_board_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(_TOML + "[flash_timing]\nwait_states = 2\n[profile.slow]\nwait_states = 0\n")
    assert load_board(f"{path}@slow").flash_timing.wait_states == 0
    assert load_board(path).flash_timing.wait_states == 2


def test_the_table_of_a_run_says_at_how_many_wait_states(m0plus: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ebnn.sim", "run", str(m0plus), "--board", "stm32f407-discovery"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "5 flash wait states, prefetch" in done.stdout, done.stderr
