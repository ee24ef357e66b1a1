"""Reads of RAM that nothing was written to are reported with their line, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from sim_images import ENGINES, assert_explained, build, function

from ebnn.sim import Machine, load_board
from ebnn.sim.cli import main
from ebnn.sim.faults import Fault
from ebnn.toolchain.firmware import build_firmware

_SCHEMA = json.loads((Path(__file__).parent.parent / "sim" / "record.schema.json").read_text())

# Each function's bug, or its absence, is its own; nothing above the stack pointer was written.
_PROGRAM = """
#include <stdint.h>
volatile int sink;
uint8_t unset[16];
__attribute__((noipa)) int of_stack(void) {
    volatile int never[4];
    return never[2] + 1;
}
__attribute__((noipa)) int of_static(int at) {
    return unset[at] + 1;
}
__attribute__((noipa)) int after_write(int at) {
    unset[at] = 3;
    return unset[at];
}
typedef struct { uint8_t tag; uint32_t value; } padded;
__attribute__((noipa)) void copy(padded *to, const padded *from) { *to = *from; }
__attribute__((noipa)) void copy_bytes(uint8_t *to, const uint8_t *from, int n) {
    for (int i = 0; i < n; i++) { to[i] = from[i]; }
}
__attribute__((noipa)) int of_padding(void) {
    padded a, b;
    a.tag = 1;
    a.value = 2;
    copy(&b, &a);
    copy_bytes((uint8_t *)&a, (const uint8_t *)&b, sizeof a);
    return a.tag + (int)a.value;
}
__attribute__((noipa)) int of_copied_garbage(void) {
    padded a, b;
    a.tag = 1;
    copy(&b, &a);
    return b.tag + (b.value > 7 ? 1 : 2);
}
int main(void) { return 0; }
"""
_FAULTY = {"of_stack": [], "of_static": [5], "of_copied_garbage": []}
_SOUND = {"after_write": [5], "of_padding": []}


def _machine(elf: Path, core: str, engine: str, mode: str = "warn") -> Machine:
    machine = Machine(elf, core=core, engine=engine, uninitialized=mode)
    machine.run_until("main")
    return machine


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("core", ["m0plus", "m4f"])
@pytest.mark.parametrize("optimize", ["-O1", "-O2"])  # -Os makes room by pushing: that writes
def test_reads_of_unwritten_bytes_are_reported_once_with_their_line(
    tmp_path: Path, core: str, engine: str, optimize: str
) -> None:
    elf = build(tmp_path, core, _PROGRAM, optimize=optimize)
    lines = (tmp_path / "image.c").read_text().splitlines()
    reads = {
        "of_stack": "return never[2] + 1;",
        "of_static": "return unset[at] + 1;",
        "of_copied_garbage": "return b.tag + (b.value > 7 ? 1 : 2);",
    }
    for name, arguments in _FAULTY.items():
        machine = _machine(elf, core, engine)
        machine.call(name, *arguments)
        machine.call(name, *arguments)
        assert [one.place.function for one in machine.uninitialized_reads] == [name], name
        place = machine.uninitialized_reads[0].place
        assert place.line is not None
        assert lines[place.line - 1].strip() == reads[name]
        record = machine.record().to_dict()
        jsonschema.validate(record, _SCHEMA)
    machine = _machine(elf, core, engine)
    machine.call("of_static", 5)
    report = machine.record().to_dict()["memory"]["uninitialized"][0]
    assert report["what"] == "unset+5"
    assert report["address"] == machine.symbol("unset").address + 5


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("core", ["m0plus", "m3", "m4f"])
@pytest.mark.parametrize("optimize", ["-O0", "-Os", "-O2"])
def test_copies_of_padding_and_written_bytes_are_not_reported(
    tmp_path: Path, core: str, engine: str, optimize: str
) -> None:
    elf = build(tmp_path, core, _PROGRAM, optimize=optimize)
    machine = _machine(elf, core, engine, "error")
    for name, arguments in _SOUND.items():
        machine.call(name, *arguments)
    assert machine.uninitialized_reads == []


@pytest.mark.parametrize("engine", ENGINES)
def test_error_ends_the_run_at_the_instruction(tmp_path: Path, engine: str) -> None:
    body = "    sub sp, #8\n    movs r1, #1\n    ldr r0, [sp, #4]\n    str r1, [sp]\n    bkpt #1"
    elf = build(tmp_path, "m3", assembly=function("bad", body))
    machine = _machine(elf, "m3", engine, "error")
    before = machine.instructions
    with pytest.raises(
        Fault, match=r"reads 0x2000fffc \(stack\), which was never written"
    ) as caught:
        machine.call("bad")
    assert caught.value.kind == "uninitialized"
    assert caught.value.place.pc == machine.symbol("bad").address + 4
    assert machine.instructions - before == 2  # the load does not count, nor what is behind it
    assert machine.record().to_dict()["exit"] == 3
    assert_explained(machine)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_the_host_wrote_is_written_and_a_snapshot_remembers(
    tmp_path: Path, engine: str
) -> None:
    elf = build(tmp_path, "m4f", _PROGRAM)
    machine = _machine(elf, "m4f", engine)
    booted = machine.snapshot()
    machine.write(machine.symbol("unset").address, b"\1" * 16)
    assert machine.call("of_static", 5) == 2
    assert machine.uninitialized_reads == []
    machine.restore(booted)
    machine.call("of_static", 5)
    assert [one.what for one in machine.uninitialized_reads] == ["unset+5"]


@pytest.mark.parametrize("engine", ENGINES)
def test_unaligned_reads_are_judged_by_the_byte(tmp_path: Path, engine: str) -> None:
    body = "    ldr r0, [r0]\n    adds r0, #1\n    bx lr"
    elf = build(tmp_path, "m3", assembly=function("word", body))
    machine = _machine(elf, "m3", engine)
    machine.write(0x20000101, b"\1\2\3\4")
    assert machine.call("word", 0x20000101) == 0x04030202
    assert machine.uninitialized_reads == []
    machine.call("word", 0x20000102)
    assert [one.address for one in machine.uninitialized_reads] == [0x20000105]


@pytest.mark.parametrize("board", ["nrf52840-dk", "arduino-zero"])
def test_start_up_code_and_the_c_library_read_nothing_unwritten(
    tmp_path: Path, board: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "program.c"
    source.write_text("""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int table[8] = {5, 3, 8, 1, 9, 2, 7, 4};
static char text[64];
static int order(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int main(void) {
    qsort(table, 8, sizeof table[0], order);
    char *copy = malloc(40);
    strcpy(copy, "some text");
    memcpy(text, copy, strlen(copy) + 1);
    printf("%s %d %x\\n", text, table[3], 255);
    free(copy);
    return strcmp(text, "some text");
}
""")
    elf = build_firmware([source], load_board(board), tmp_path / "program.elf", optimize="-O2")
    arguments = ["run", str(elf), "--board", board, "--uninitialized", "error"]
    assert main(arguments) == 0
    assert "some text 4 ff" in capsys.readouterr().out


def test_the_command_warns_or_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = _PROGRAM.replace("return 0; }\n", "return of_static(3) & 0; }\n")
    elf = build(tmp_path, "m3", code)
    assert main(["run", str(elf), "--uninitialized", "warn"]) == 0
    warned = capsys.readouterr().err
    assert warned.count("warning: reads ") == 1
    assert "(unset+3), which was never written, in of_static (image.c:" in warned
    assert main(["run", str(elf), "--uninitialized", "error", "--json", "-"]) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["fault"]["kind"] == "uninitialized"
    assert captured.err.count("error: reads ") == 1
