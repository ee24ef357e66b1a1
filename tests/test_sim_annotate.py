"""Annotated code: every instruction and line with what it cost, and in all the run's cycles."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from sim_images import CORES, ENGINES, build, function

from ebnn.sim import Machine, load_board
from ebnn.sim.annotate import AnnotatedFunction, Annotation, hottest
from ebnn.sim.cli import main
from ebnn.sim.cost import FLASH_WAIT
from ebnn.sim.elf import Elf
from ebnn.sim.faults import Fault
from ebnn.sim.source_lines import SourceLine, SourceTexts, source_lines

_NO_MAIN = "int unused;"

# Of each instruction the count, and its cycles on M0+ and M4, by the cores' manuals.
_COUNTED = [
    ("push {r4, lr}", 1, 3, 3),
    ("movs r4, #3", 1, 1, 1),
    ("adds r0, r0, r4", 3, 3, 3),
    ("subs r4, r4, #1", 3, 3, 3),
    ("bne 1b", 3, 5, 5),  # taken twice: 2 cycles; else 1
    ("ldr r0, [sp]", 1, 2, 2),
    ("ldr r1, [sp, #4]", 1, 2, 1),  # M4: pipelined behind a load
    ("bne 2f", 1, 1, 1),
    ("pop {r4, pc}", 1, 5, 5),
    (".word 0xbeefbeef", None, None, None),
    ("2: b 2b", 0, 0, 0),
]

_PROGRAM = """
unsigned char bytes[64];
__attribute__((noipa)) int pick(int a, int b) { return a > b ? a * 3 : b + 1; }
__attribute__((noipa)) int divide(int a, int b) { return a / (b | 1); }
__attribute__((noipa)) int choose(int a)
{
    switch (a & 7) {
        case 0: return pick(a, 1);
        case 1: return divide(a, 3);
        case 2: return a + 5;
        case 3: return a * a;
        case 4: return a - pick(1, a);
        case 5: return ~a;
        default: return 0;
    }
}
float scale = 1.5f;
__attribute__((noipa)) int scaled(int a) { return (int)(a * scale); }
int main(void)
{
#ifdef __ARM_FP
    *(volatile unsigned *)0xE000ED88 |= 0xFu << 20;
    __asm volatile("dsb; isb");
#endif
    int sum = 0;
    for (int i = 0; i < 40; i++)
        sum += choose(i);
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * sum);
    return scaled(sum) & 15;
}
"""


def _annotated(elf: Path, engine: str = "auto", **options: object) -> tuple[Machine, Annotation]:
    machine = Machine(elf, engine=engine, profile=True, max_cycles=10**7, **options)  # type: ignore[arg-type]
    machine.run()
    return machine, machine.annotate()


def _named(annotation: Annotation) -> dict[str, AnnotatedFunction]:
    return {one.name: one for one in annotation.functions}


def _assert_whole(machine: Machine, annotation: Annotation) -> None:
    """Every cycle, instruction and stall of the run is at an instruction of the listing."""
    stalls: Counter[str] = Counter()
    cycles = count = 0
    for one in annotation.functions:
        assert one.profile is not None
        assert one.cycles == one.profile.self_cycles
        addresses = [row.address for row in one.instructions]
        assert addresses == sorted(set(addresses))
        for row in one.instructions:
            assert row.cost.cycles == row.cost.count + sum(row.cost.stalls.values())
            stalls.update(row.cost.stalls)
            cycles += row.cost.cycles
            count += row.cost.count
    assert cycles == annotation.cycles == machine.cycles
    assert count == machine.instructions
    assert {cause: found for cause, found in stalls.items() if found} == machine.stalls()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("core", ["m0plus", "m4"])
def test_each_instruction_has_the_cycles_counted_by_hand(
    core: str, engine: str, tmp_path: Path
) -> None:
    body = "\n".join(
        ("1:  " if text.startswith("adds") else "    ") + text for text, *_ in _COUNTED
    )
    elf = build(tmp_path, core, _NO_MAIN, function("main", body))
    machine, annotation = _annotated(elf, engine, core=core)
    _assert_whole(machine, annotation)
    rows = _named(annotation)["main"].instructions
    expected = [(count, m0, m4) for _, count, m0, m4 in _COUNTED if count is not None]
    got = [(row.cost.count, row.cost.cycles) for row in rows]
    assert got == [(count, m0 if core == "m0plus" else m4) for count, m0, m4 in expected]
    assert [row.text.split()[0] for row in rows] == [
        "push", "movs", "adds", "subs", "bne", "ldr", "ldr", "bne", "pop", "b",
    ]  # fmt: skip
    # Each on a line of its own of the assembly file, in order, the data left out.
    lines = [row.source.number for row in rows if row.source is not None]
    first = lines[0]
    assert lines == [first + at for at in (*range(9), 10)]
    assert {row.source.place.split(":")[0] for row in rows if row.source} == {"image_s.s"}


@pytest.mark.parametrize("optimize", ["-O0", "-O2"])
@pytest.mark.parametrize("core", CORES)
def test_every_cycle_of_the_run_is_at_an_instruction(
    core: str, optimize: str, tmp_path: Path
) -> None:
    elf = build(tmp_path, core, _PROGRAM, optimize=optimize)
    machine, annotation = _annotated(elf, core=core)
    _assert_whole(machine, annotation)
    choose = _named(annotation)["choose"]
    assert sum(line.cost.cycles for line in choose.lines) == choose.cycles
    texts = {line.source.number: line.text for line in choose.lines}
    source = (elf.parent / "image.c").read_text().splitlines()
    assert texts == {number: source[number - 1] for number in texts}
    multiplied = next(n for n, text in texts.items() if text and "a * a" in text)
    assert next(x for x in choose.lines if x.source.number == multiplied).cost.count == 5


def test_wait_states_and_both_engines_agree_in_the_listing(tmp_path: Path) -> None:
    elf = build(tmp_path, "m4f", _PROGRAM)
    board = load_board("stm32f407-discovery")
    machine, annotation = _annotated(elf, "python", board=board)
    assert machine.stalls()[FLASH_WAIT] > 0
    _assert_whole(machine, annotation)
    assert _annotated(elf, "auto", board=board)[1] == annotation


@pytest.mark.parametrize("engine", ENGINES)
def test_a_faulting_block_is_listed_up_to_the_fault(engine: str, tmp_path: Path) -> None:
    code = function(
        "main", "    movs r0, #0x70\n    lsls r0, r0, #24\n    ldr r1, [r0]\n    movs r0, #0\n"
        "    bx lr"
    )  # fmt: skip
    machine = Machine(build(tmp_path, "m4", _NO_MAIN, code), engine=engine, profile=True)
    with pytest.raises(Fault):
        machine.run()
    annotation = machine.annotate()
    _assert_whole(machine, annotation)
    counts = [row.cost.count for row in _named(annotation)["main"].instructions]
    assert counts == [1, 1, 0, 0, 0]


def test_instructions_under_it_show_their_condition(tmp_path: Path) -> None:
    code = function(
        "main", "    cmp r0, r0\n    ite eq\n    moveq r0, #0\n    movne r0, #9\n    bx lr"
    )
    _, annotation = _annotated(build(tmp_path, "m4", _NO_MAIN, code))
    rows = _named(annotation)["main"].instructions
    assert [row.text.split()[0] for row in rows] == ["cmp", "ite", "moveq", "movne", "bx"]


def test_branches_name_where_they_lead(tmp_path: Path) -> None:
    _, annotation = _annotated(build(tmp_path, "m4", _PROGRAM))
    texts = [row.text for row in _named(annotation)["main"].instructions]
    assert any(text.startswith("bl ") and text.endswith("<choose>") for text in texts), texts


def test_without_symbols_and_lines_what_ran_is_listed(tmp_path: Path) -> None:
    elf = build(tmp_path, "m4", _PROGRAM)
    stripped = tmp_path / "stripped.elf"
    subprocess.run(["arm-none-eabi-strip", "-s", "-o", stripped, elf], check=True, timeout=60)
    machine, annotation = _annotated(stripped)
    _assert_whole(machine, annotation)
    rows = [row for one in annotation.functions for row in one.instructions]
    assert all(row.cost.count and row.source is None for row in rows)
    texts = {r.address: r.text for f in _annotated(elf)[1].functions for r in f.instructions}
    for row in rows:
        assert texts[row.address].split(" <")[0] == row.text


def test_lines_agree_with_addr2line(tmp_path: Path) -> None:
    elf = build(tmp_path, "m4", _PROGRAM)
    functions = _annotated(elf)[1].functions
    addresses = sorted(row.address for one in functions for row in one.instructions)
    lines = source_lines(Elf(elf), addresses)
    wanted = [hex(address) for address in addresses]
    told = subprocess.run(
        ["arm-none-eabi-addr2line", "-s", "-e", elf, *wanted],
        check=True, capture_output=True, text=True, timeout=60,
    ).stdout.splitlines()  # fmt: skip
    compared = 0
    for address, place in zip(addresses, told, strict=True):
        place = place.split(" ")[0]
        if not place.endswith(("?", ":0")):
            assert lines[address].place == place, hex(address)
            compared += 1
    assert compared > 50


def test_only_source_files_are_read(tmp_path: Path) -> None:
    elf = Elf(build(tmp_path, "m4", _PROGRAM))
    (tmp_path / "secret.txt").write_text("secret\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "code.c").write_text("int\tx;\x1b[31m\n")
    texts = SourceTexts(elf, [tmp_path / "more"])
    assert texts.text(SourceLine(str(tmp_path / "secret.txt"), 1)) is None
    assert texts.text(SourceLine("/elsewhere/code.c", 1)) == "int x;\ufffd[31m"
    assert texts.text(SourceLine("/elsewhere/code.c", 2)) is None
    assert texts.text(SourceLine("/elsewhere/none.c", 1)) is None


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("image"), "m4", _PROGRAM)


def test_the_command_lists_the_hottest_functions_or_those_asked_for(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine, annotation = _annotated(image)
    assert main(["annotate", str(image)]) == 0
    default = capsys.readouterr().out
    hot = hottest(machine.profile(), 0.9, 10)
    assert 0 < len(hot) < len(annotation.functions)
    for one in annotation.functions:
        assert (f"{one.name}: {one.cycles:,} cycles" in default) == (one.name in hot)
    assert "other functions: " in default
    head = r"generic-m4: Cortex-M4 at \d+ MHz, 0 flash wait states; cycle model version \d+, error "
    assert re.match(head, default.partition("\n")[0])
    assert main(["annotate", str(image), "--all"]) == 0
    everything = capsys.readouterr().out
    assert all(f"{one.name}: " in everything for one in annotation.functions)
    assert "other functions" not in everything
    assert main(["annotate", str(image), "--function", "divide"]) == 0
    divide = capsys.readouterr().out
    assert "divide: " in divide
    assert "return a / (b | 1);" in divide
    assert "choose: " not in divide
    assert not any(line != line.rstrip() for line in divide.splitlines())


def test_the_command_writes_json(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "listing.json"
    assert main(["annotate", str(image), "--all", "--json", str(path)]) == 0
    capsys.readouterr()
    assert main(["annotate", str(image), "--all", "--json", "-"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data == json.loads(path.read_text())
    rows = [row for one in data["functions"] for row in one["instructions"]]
    assert sum(row["cycles"] for row in rows) == data["cycles"]
    record = _annotated(image)[0].record().data
    for key in ("elf", "core", "board", "clock_hz", "model"):
        assert data[key] == record[key]
    assert {"address", "text", "file", "line", "count", "cycles", "stalls"} == set(rows[0])
    lines = [row for one in data["functions"] for row in one["lines"]]
    assert any(row["text"] and "a * a" in row["text"] for row in lines)
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_lines_leave_the_listing_whole(image: Path, tmp_path: Path) -> None:
    data = image.read_bytes()
    table = Elf(image).section_bytes(".debug_line")
    start = data.index(table)
    random = Random(1)
    for _ in range(25):
        mutant = bytearray(data)
        for _ in range(random.choice([1, 4, 16])):
            mutant[start + random.randrange(len(table))] = random.choice([0, 0xFF, 0x80, 1])
        elf = tmp_path / "mutant.elf"
        elf.write_bytes(mutant)
        machine, annotation = _annotated(elf)
        _assert_whole(machine, annotation)


@pytest.mark.parametrize(
    "arguments",
    [["--function", "nothing"], ["--function", "bytes"], ["--source", "/no/folder"],
     ["--all", "--function", "main"], ["--json", "/no/folder/file"]],
)  # fmt: skip
def test_bad_usage_is_one_line_and_exit_2(
    image: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["annotate", str(image), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


def test_without_capstone_the_way_to_get_it_is_told(
    image: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "capstone", None)
    assert main(["annotate", str(image)]) == 2
    captured = capsys.readouterr()
    assert captured.err == (
        "error: annotate needs the package capstone: pip install 'ebnn[annotate]'\n"
    )
    assert captured.out == ""


def test_a_fault_ends_the_listing_and_the_command_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elf = build(tmp_path, "m4", "int main(void) { return *(volatile int *)0x70000000; }")
    assert main(["annotate", str(elf)]) == 3
    captured = capsys.readouterr()
    assert "main: " in captured.out
    assert captured.err.startswith("error: ")
