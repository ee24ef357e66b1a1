"""Each cycle rule against a count worked out by hand from Arm's manuals (tests/microbenchmarks)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from ebnn.sim import Machine
from ebnn.sim.board import generic_board
from ebnn.sim.core import core_named
from ebnn.sim.cost import BlockCost, BoardTiming, block_cost, divide_cycles
from ebnn.sim.thumb import Instruction
from ebnn.sim.thumb_decode import decode_range

_FOLDER = Path(__file__).parent / "microbenchmarks"


def _rules() -> Iterator[tuple[str, str, str, int]]:
    """File, function, core and hand count."""
    for path in sorted(_FOLDER.glob("*.s")):
        text = path.read_text()
        cores = re.findall(r"^@ cores: (.*)$", text, re.M)[0].split()
        functions = re.findall(r"^@ cycles ([\d ]+):.*?\n(?:.*\n)*?(\w+):$", text, re.M)
        assert functions
        for counts, function in functions:
            for core, count in zip(cores, counts.split(), strict=True):
                yield path.stem, function, core, int(count)


@cache
def _functions(stem: str, core: str, folder: Path) -> dict[str, tuple[Instruction, ...]]:
    return _assemble(_FOLDER / f"{stem}.s", core, folder / f"{stem}-{core}.o")


def _assemble(source: Path, core: str, output: Path) -> dict[str, tuple[Instruction, ...]]:
    """Instructions of each function of an assembly file, as if placed at address 0."""
    cpu = "cortex-m4" if core == "m4f" else core_named(core).name
    fpu = ["-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"] if core == "m4f" else []
    command = ["arm-none-eabi-gcc", f"-mcpu={cpu}", "-mthumb", *fpu, "-c", str(source)]
    subprocess.run([*command, "-o", str(output)], check=True)
    with output.open("rb") as stream:
        elf = ELFFile(stream)
        text: Any = elf.get_section_by_name(".text")
        symbols: Any = elf.get_section_by_name(".symtab")
        code = text.data()
        starts = {
            symbol["st_value"] & ~1: symbol.name
            for symbol in symbols.iter_symbols()
            if symbol["st_info"]["bind"] == "STB_GLOBAL"
        }
    found = {}
    for start, name in starts.items():
        body: list[Instruction] = []
        for instruction in decode_range(code[start:], start):
            body.append(instruction)
            if instruction.kind.value in ("branch to register", "pop pc"):
                break
        found[name] = tuple(body)
    return found


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("microbenchmarks")


@pytest.mark.parametrize(("stem", "function", "core", "cycles"), list(_rules()))
def test_rule_counts_what_the_manual_says(
    stem: str, function: str, core: str, cycles: int, folder: Path
) -> None:
    cost = _cost(_functions(stem, core, folder)[function], core)
    assert cost.cycles + cost.taken_cycles == cycles


@pytest.mark.parametrize("engine", ["native", "python"])
@pytest.mark.parametrize("core", ["m0", "m0plus", "m3", "m4"])
def test_machine_measures_each_rule_as_a_region(core: str, engine: str, folder: Path) -> None:
    stems = ["all_cores"] if core.startswith("m0") else ["all_cores", "mainline"]
    board = generic_board(core_named(core).name)
    pointer = board.ram.address + 256
    for stem in stems:
        elf = folder / f"{stem}-{core}.elf"
        command = ["arm-none-eabi-gcc", f"-mcpu={board.core}", "-mthumb", "-nostdlib"]
        start = board.flash.address + 1024
        command += [f"-Ttext={start:#x}", f"-Wl,-e{start:#x}", str(_FOLDER / f"{stem}.s")]
        subprocess.run([*command, "-o", str(elf)], check=True)
        expected = {rule[1]: rule[3] for rule in _rules() if rule[0] == stem and rule[2] == core}
        machine = Machine(elf, board=board, regions=tuple(expected), engine=engine)
        machine.write(pointer, pointer.to_bytes(4, "little") * 2)
        measured = {}
        for function in expected:
            # r3 serves as an address, or as a small factor of the M3's long multiplies
            third = 1 if function.endswith("long") else pointer
            machine.call(function, pointer, pointer, 0, third)
            measured[function] = machine.region(function).cycles
        assert measured == expected


def _cost(
    body: tuple[Instruction, ...],
    core: str,
    before: Instruction | None = None,
    store_penalty_cycles: int = 0,
) -> BlockCost:
    return block_cost(core_named(core), BoardTiming(store_penalty_cycles), body, before)


def _code(*halfwords: int, address: int = 0) -> tuple[Instruction, ...]:
    code = b"".join(value.to_bytes(2, "little") for value in halfwords)
    return tuple(decode_range(code, address))


@pytest.mark.parametrize(("core", "cycles"), [("m0", 402), ("m0+", 302), ("m3", 303), ("m4", 303)])
def test_counted_loop_takes_the_hand_count(core: str, cycles: int) -> None:
    # movs r0, #100; 1: subs r0, #1; bne 1b; bx lr
    entry = _cost(_code(0x2064, 0x3801, 0xD1FD), core)
    loop = _cost(_code(0x3801, 0xD1FD, address=2), core)
    leave = _cost(_code(0x4770, address=6), core)
    total = entry.cycles + entry.taken_cycles
    total += 98 * (loop.cycles + loop.taken_cycles) + loop.cycles
    assert total + leave.cycles + leave.taken_cycles == cycles


def test_branch_to_a_split_wide_instruction_costs_one_more_on_m3_and_m4() -> None:
    wide = (0xF101, 0x0001)  # add.w r0, r1, #1
    for core in ("m3", "m4"):
        assert _cost(_code(*wide, address=2), core).entry_cycles == 1
        assert _cost(_code(*wide, address=4), core).entry_cycles == 0


def test_taken_cbz_costs_three_and_one_more_behind_what_computes_its_register() -> None:
    cbz, computed = _code(0xB108), _code(0x1C40, 0xB108)  # cbz r0, .+6; adds r0, r0, #1
    for core in ("m3", "m4"):
        assert _cost(cbz, core).cycles + _cost(cbz, core).taken_cycles == 3
        assert _cost(computed, core).cycles + _cost(computed, core).taken_cycles == 5
        assert _cost(cbz, core).cycles == 1  # not taken


def test_falling_into_a_block_keeps_the_pipeline() -> None:
    load, other = _code(0x6808, 0x684A)  # ldr r0, [r1]; ldr r2, [r1, #4]
    assert _cost((other,), "m4").cycles == 2
    assert _cost((other,), "m4", before=load).cycles == 1


def test_executed_conditional_load_adds_its_second_cycle() -> None:
    body = _code(0x2800, 0xBF08, 0x6808, 0x4770)  # cmp; it eq; ldreq r0, [r1]; bx lr
    extra = {one.address: one.extra_cycles for one in _cost(body, "m4").dynamic}
    assert extra == {4: 1}


def test_loads_under_one_condition_pipeline_behind_each_other() -> None:
    # cmp; itt eq; ldreq r0, [r1]; ldreq r2, [r1, #4]; bx lr: 2 and 1 where they run, 1 and 1 if not
    body = _code(0x2800, 0xBF04, 0x6808, 0x684A, 0x4770)
    assert {one.address: one.extra_cycles for one in _cost(body, "m4").dynamic} == {4: 1}


def test_store_penalty_shows_only_on_a_load_directly_behind_a_store() -> None:
    behind = _code(0x6008, 0x684A)  # str r0, [r1]; ldr r2, [r1, #4]
    apart = _code(0x6008, 0x1C40, 0x684A)
    assert _cost(behind, "m4", store_penalty_cycles=1).stalls["store penalty"] == 1
    assert "store penalty" not in _cost(apart, "m4", store_penalty_cycles=1).stalls


@pytest.mark.parametrize("core", ["m0", "m0plus", "m3", "m4", "m4f", "m7", "m33"])
def test_cycles_are_instructions_and_stalls_exactly(core: str, folder: Path) -> None:
    for body in _functions("all_cores", "m0", folder).values():
        cost = _cost(body, core)
        assert cost.cycles == cost.instruction_count + sum(cost.stalls.values())


@pytest.mark.parametrize(
    ("dividend", "divisor", "signed"),
    [(0, 0, False), (5, 9, False), (0xFFFFFFFF, 1, False), (0x80000000, 1, True), (7, 7, True)],
)
def test_division_takes_two_to_twelve_cycles(dividend: int, divisor: int, signed: bool) -> None:
    assert 2 <= divide_cycles(core_named("m4").timing, dividend, divisor, signed) <= 12


def test_division_takes_longer_for_longer_quotients() -> None:
    timing = core_named("m3").timing
    counts = [divide_cycles(timing, 1 << bits, 1, False) for bits in range(32)]
    assert counts == sorted(counts) and counts[-1] > counts[0]
