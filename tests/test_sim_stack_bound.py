"""The compiler's static bound of the stack stands beside the measured peak."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest

from ebnn.sim import Machine, load_board
from ebnn.sim.errors import UserError
from ebnn.toolchain.firmware import build_firmware
from ebnn.toolchain.gcc import find_gcc

_SCHEMA = json.loads((Path(__file__).parent.parent / "sim" / "record.schema.json").read_text())

_COMMON = """
#include <string.h>
volatile int sink;
__attribute__((noipa)) int leaf(int n) { volatile char b[40]; b[n & 31] = (char)n; return b[1]; }
__attribute__((noipa)) int big(int n) { volatile char b[1200]; b[n] = 1; return leaf(n) + b[3]; }
"""
_PLAIN = _COMMON + "int main(void) { sink = sink ? big(3) + leaf(2) : leaf(1); return 0; }"


def _machine(folder: Path, code: str, board: str = "nrf52840-dk", optimize: str = "-O2") -> Machine:
    source = folder / "program.c"
    source.write_text(code)
    elf = build_firmware([source], load_board(board), folder / "program.elf", optimize=optimize)
    return Machine(elf, board=load_board(board))


@pytest.mark.parametrize("board", ["nrf52840-dk", "arduino-zero"])
@pytest.mark.parametrize("optimize", ["-O0", "-Os", "-O2"])
def test_the_bound_is_the_peak_where_the_deepest_chain_runs(
    tmp_path: Path, board: str, optimize: str
) -> None:
    machine = _machine(tmp_path, _PLAIN.replace("sink ?", "!sink ?"), board, optimize)
    machine.run()
    memory = machine.record().to_dict()["memory"]
    jsonschema.validate(machine.record().to_dict(), _SCHEMA)
    assert memory["static_stack_bound"] == memory["stack"]
    chain = [(one["function"], one["frame_bytes"]) for one in memory["static_stack_chain"]]
    assert chain == [(one["function"], one["frame_bytes"]) for one in memory["call_chain"]]
    assert [name for name, _ in chain] == ["Reset_Handler", "main", "big", "leaf"]
    assert {one["source"] for one in memory["static_stack_chain"]} == {"compiler"}


def test_the_bound_covers_what_did_not_run(tmp_path: Path) -> None:
    machine = _machine(tmp_path, _PLAIN)
    machine.run()
    memory = machine.record().to_dict()["memory"]
    assert memory["stack"] < 1200 < memory["static_stack_bound"]


def test_frames_without_the_compilers_word_come_from_the_code(tmp_path: Path) -> None:
    code = (
        _COMMON.replace("int leaf(int n) {", "int unused(int n) {")
        + """
int leaf(int n);
__asm__(".thumb\\n.syntax unified\\n.global leaf\\n.type leaf, %function\\n"
        "leaf: push {r4-r7, lr}\\n"
        " sub sp, #100\\n add sp, #100\\n pop {r4-r7, pc}\\n .size leaf, . - leaf\\n");
int main(void) { sink = big(3); return 0; }
"""
    )
    machine = _machine(tmp_path, code.replace("__attribute__((noipa)) int big", "int leaf(int n);\n"
                                              "__attribute__((noipa)) int big"))  # fmt: skip
    machine.run()
    memory = machine.record().to_dict()["memory"]
    assert memory["static_stack_chain"][-1] == {
        "function": "leaf",
        "frame_bytes": 120,
        "source": "code",
    }
    assert memory["static_stack_bound"] == memory["stack"]


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("recursion: again > again", "__attribute__((noipa)) int again(int n) "
         "{ volatile int k = n; return n ? again(n - 1) + k : 1; }\n"
         "int main(void) { return again(2); }"),
        ("main calls through a register", "int (*volatile chosen)(int) = leaf;\n"
         "int main(void) { return chosen(2); }"),
        ("variable takes stack by an amount", "__attribute__((noipa)) int variable(int n) "
         "{ volatile char b[n]; b[0] = 1; return b[n - 1]; }\n"
         "int main(void) { return variable(20); }"),
    ],
)  # fmt: skip
def test_what_has_no_bound_is_named(tmp_path: Path, reason: str, code: str) -> None:
    machine = _machine(tmp_path, _COMMON + code)
    machine.run()
    memory = machine.record().to_dict()["memory"]
    assert memory["static_stack_bound"] is None
    assert memory["static_stack_unknown"][0].startswith(reason)


def test_a_far_jump_within_a_function_is_no_recursion(tmp_path: Path) -> None:
    # An ARMv6-M's branches reach 2 KB; GCC goes further with BL, past literals.
    body = " ".join(f"x = x * {1000003 + 2 * n}u ^ x >> {n % 7 + 1};" for n in range(400))
    code = f"""{_COMMON}
__attribute__((noipa)) unsigned long_one(unsigned x) {{
    volatile char b[200]; b[3] = 1;
    for (unsigned n = 0; n < 3; ++n) {{
        if (x & 1) {{ {body} }} else {{ x += (unsigned)leaf(1); {body} }}
    }}
    return x + (unsigned)b[3];
}}
int main(void) {{ sink = (int)long_one(3); return 0; }}
"""
    machine = _machine(tmp_path, code, "arduino-zero")
    machine.run()
    memory = machine.record().to_dict()["memory"]
    disassembly = subprocess.run(
        [find_gcc().path.with_name("arm-none-eabi-objdump"), "-d", tmp_path / "program.elf"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert re.search(r"\tbl\t\w+ <long_one\+", disassembly)
    assert memory["static_stack_unknown"] == []
    assert memory["static_stack_bound"] == memory["stack"]


def test_what_a_subroutine_inside_a_function_returns_to_is_followed(tmp_path: Path) -> None:
    code = """
int twice(int n);
__asm__(".thumb\\n.syntax unified\\n.global twice\\n.type twice, %function\\n"
        "twice: push {r4, lr}\\n bl 1f\\n push {r0-r7}\\n add sp, #32\\n bl 1f\\n pop {r4, pc}\\n"
        "1: push {r4}\\n adds r0, r0, r0\\n pop {r4}\\n bx lr\\n .size twice, . - twice\\n");
int main(void) { return twice(3) - 12; }
"""
    machine = _machine(tmp_path, code)
    assert machine.run() == 0
    memory = machine.record().to_dict()["memory"]
    (last,) = (one for one in memory["static_stack_chain"] if one["function"] == "twice")
    assert last == {"function": "twice", "frame_bytes": 40, "source": "code"}
    assert memory["static_stack_bound"] == memory["stack"]


def test_static_functions_of_one_name_are_told_apart(tmp_path: Path) -> None:
    other = tmp_path / "other.c"
    frame = "static __attribute__((noipa)) int work(int n) { volatile char b[%d]; b[n] = 1; %s }\n"
    other.write_text("int other(int n);\n" + frame % (96, "return b[n];")
                     + "int other(int n) { return work(n) + 1; }")  # fmt: skip
    source = tmp_path / "program.c"
    source.write_text("int other(int n);\n" + frame % (32, "return b[n] + other(n);")
                      + "int main(void) { return work(3) - 3; }")  # fmt: skip
    board = load_board("nrf52840-dk")
    machine = Machine(build_firmware([source, other], board, tmp_path / "p.elf"), board=board)
    machine.run()
    names = [one.function for one in machine.deepest_stack.chain()]
    assert names == ["Reset_Handler", "main", "work", "other", "work"]
    assert None not in {machine.elf.function_at(f.address) for f in machine.elf.functions}


def test_without_the_file_there_is_no_bound_and_no_complaint(tmp_path: Path) -> None:
    machine = _machine(tmp_path, _PLAIN)
    (tmp_path / "program.su").unlink()
    machine = Machine(machine.elf.path, board=machine.board)
    machine.run()
    memory = machine.record().to_dict()["memory"]
    assert (memory["static_stack_bound"], memory["static_stack_unknown"]) == (None, [])


def test_a_file_that_gcc_did_not_write_is_refused_in_one_line(tmp_path: Path) -> None:
    machine = _machine(tmp_path, _PLAIN)
    (tmp_path / "program.su").write_text("a.c:1:1:f\t8\tstatic\nnonsense\n")
    with pytest.raises(UserError, match=r"program\.su:2: not a line of GCC's"):
        Machine(machine.elf.path, board=machine.board)


def test_the_file_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    _machine(tmp_path, _PLAIN)
    text = (tmp_path / "program.su").read_text()
    assert "program.c:5:28:big\t1208\tstatic\n" in text
    assert "/" not in text
