"""The stack's peak names every function on it, with the bytes that each held."""

from __future__ import annotations

import io
import json
from pathlib import Path

import jsonschema
import pytest
from sim_images import ENGINES, assert_explained, build, function

from ebnn.sim import Machine, load_board
from ebnn.sim.elf import Elf
from ebnn.sim.faults import Fault, RamExceeded
from ebnn.sim.stack_frames import StackFrames
from ebnn.sim.stack_values import Origin
from ebnn.toolchain.firmware import build_firmware

_SCHEMA = json.loads((Path(__file__).parent.parent / "sim" / "record.schema.json").read_text())

_KNOWN_FRAMES = (
    function("main", "    push {r4, lr}\n    sub sp, #24\n    bl inner\n    movs r0, #0\n"
             "    add sp, #24\n    pop {r4, pc}")
    + function("inner", "    push {r4-r7, lr}\n    sub sp, #4\n    movs r0, #1\n    cmp r0, #0\n"
               "    beq 1f\n    bl leaf\n1:  add sp, #4\n    pop {r4-r7, pc}")
    + function("leaf", "    sub sp, #16\n    str r0, [sp]\n    add sp, #16\n    bx lr")
)  # fmt: skip

_PROGRAM = """
volatile int sink;
__attribute__((noipa)) int leaf(int n) { volatile char b[40]; b[n & 31] = (char)n;
    return b[1]; }
__attribute__((noipa)) int big(int n) { volatile char b[1200]; b[n] = 1; b[5] = 2;
    return leaf(b[5]) + b[3]; }
__attribute__((noipa)) int recursive(int n) { volatile int k[3]; k[0] = n;
    return n ? k[0] + recursive(n - 1) + k[1] : big(n); }
__attribute__((noipa)) int variable(int n) { volatile char b[n]; b[0] = (char)n;
    b[n - 1] = 3; return recursive(b[0] & 3) + b[n - 1]; }
__attribute__((noipa)) int four(int n) {
    volatile long long d[2]; d[0] = n; d[1] = n + 1;
    return n > 9 ? (int)d[0] : variable(n + 31) + (int)d[1]; }
__attribute__((noipa)) int choose(int n) {
    switch (n) { case 0: return leaf(n); case 1: return leaf(3) + 1; case 2: return big(7);
    case 3: return leaf(2) * 3; case 4: return 77; case 5: return leaf(1) - 2;
    case 6: return four(6) + 1; default: return n * 5; } }
int main(void) { sink = choose(6); return 0; }
"""
_CHAIN = ["reset", "main", "choose", "four", "variable", "recursive", "recursive", "big", "leaf"]


def _chain(machine: Machine) -> list[tuple[str | None, int]]:
    return [(one.function, one.frame_bytes) for one in machine.deepest_stack.chain()]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("core", ["m0plus", "m4f"])
def test_hand_written_frames_are_told_to_the_byte(tmp_path: Path, core: str, engine: str) -> None:
    elf = build(tmp_path, core, "int unused;", _KNOWN_FRAMES)
    machine = Machine(elf, core=core, engine=engine)
    machine.run()
    assert _chain(machine) == [("reset", 0), ("main", 32), ("inner", 24), ("leaf", 16)]
    assert machine.record().to_dict()["memory"]["stack"] == 72


@pytest.mark.parametrize("core", ["m0plus", "m3", "m4f"])
@pytest.mark.parametrize("optimize", ["-O0", "-Os", "-O2"])
def test_every_frame_of_compiled_code_is_found(tmp_path: Path, core: str, optimize: str) -> None:
    elf = build(tmp_path, core, _PROGRAM, optimize=optimize)
    chains = []
    for engine in ("auto", "python"):
        machine = Machine(elf, core=core, engine=engine)
        machine.run()
        record = machine.record().to_dict()
        jsonschema.validate(record, _SCHEMA)
        chains.append(record["memory"]["call_chain"])
        total = sum(frame["frame_bytes"] for frame in chains[-1])
        assert record["memory"]["stack"] == (total + 7) & ~7
    assert chains[0] == chains[1]
    names = [frame["function"] for frame in chains[0]]
    # The compiler may unroll part of the recursion; what is left must stand in its place.
    assert [name for name in names if name != "recursive"] == [
        name for name in _CHAIN if name != "recursive"
    ]
    assert names[5] == "recursive"
    assert next(f["frame_bytes"] for f in chains[0] if f["function"] == "big") >= 1200


def test_a_call_from_outside_stands_on_what_the_firmware_was_doing(tmp_path: Path) -> None:
    elf = build(tmp_path, "m4f", "int unused;", _KNOWN_FRAMES)
    machine = Machine(elf)
    machine.run_until("inner")
    machine.call("leaf")
    assert _chain(machine) == [("reset", 0), ("main", 32), ("inner", 0), ("leaf", 16)]


def test_what_does_not_return_to_a_call_is_shown_as_unknown(tmp_path: Path) -> None:
    assembly = (
        function("main", "    push {r4, lr}\n    ldr r0, =1f + 1\n    mov lr, r0\n    b strange\n"
                 "    .p2align 2\n    nop\n1:  movs r0, #0\n    pop {r4, pc}\n    .ltorg")
        + function("strange", "    push {r4, r5, r6, lr}\n    pop {r4, r5, r6, pc}")
    )  # fmt: skip
    machine = Machine(build(tmp_path, "m3", "int unused;", assembly))
    machine.run()
    assert _chain(machine) == [(None, 8), ("strange", 16)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("core", ["m0plus", "m3"])
def test_sp_lowered_by_a_register_and_raised_in_one_block_is_followed(
    tmp_path: Path, core: str, engine: str
) -> None:
    body = (
        "    push {r4, lr}\n    ldr r0, =-1000\n    mov r1, sp\n    add sp, r0\n"
        "    push {r2, r3}\n    mov sp, r1\n    movs r0, #0\n    pop {r4, pc}\n    .ltorg"
    )
    elf = build(tmp_path, core, "int unused;", function("main", body))
    machine = Machine(elf, core=core, engine=engine)
    machine.run()
    assert _chain(machine) == [("reset", 0), ("main", 1016)]


def test_a_stack_overflow_shows_the_chain_that_did_it(tmp_path: Path) -> None:
    code = """
char buffer[65000];
__attribute__((noinline)) int deep(int n) {
    volatile char big[96]; big[0] = (char)n; return n ? deep(n - 1) + big[0] : 0; }
int main(void) { buffer[0] = 1; return deep(20) + buffer[0]; }
"""
    machine = Machine(build(tmp_path, "m3", code))
    with pytest.raises(Fault, match="static data"):
        machine.run()
    names = [name for name, _ in _chain(machine)]
    assert names[:2] == ["reset", "main"]
    assert set(names[2:]) == {"deep"}
    assert len(names) > 5


@pytest.mark.parametrize(("core", "optimize"), [("m0", "-O0"), ("m3", "-Os"), ("m4f", "-O2")])
def test_frames_agree_with_the_compilers_debug_information(
    tmp_path: Path, core: str, optimize: str
) -> None:
    from elftools.dwarf.callframe import FDE
    from elftools.elf.elffile import ELFFile

    elf = Elf(build(tmp_path, core, _PROGRAM, optimize=optimize))

    def read(address: int, size_bytes: int) -> bytes:
        for segment in elf.segments:
            offset = address - segment.address
            if offset >= 0 and offset + size_bytes <= len(segment.data):
                return segment.data[offset : offset + size_bytes]
        return bytes(size_bytes)

    frames = StackFrames(elf, read)
    ours = {elf.symbol(name).address for name in set(_CHAIN[1:]) if name in elf.symbols}
    compared = 0
    for entry in ELFFile(io.BytesIO(elf.data)).get_dwarf_info().CFI_entries():
        if not isinstance(entry, FDE) or entry["initial_location"] not in ours:
            continue
        table = sorted(entry.get_decoded().table, key=lambda row: row["pc"])
        for pc, state in frames.function(entry["initial_location"]).states.items():
            cfa = [row for row in table if row["pc"] <= pc][-1]["cfa"]
            assert state.value(cfa.reg) == (Origin.FRAME, -cfa.offset), hex(pc)
            compared += 1
    assert compared > 80


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("board_name", ["nrf52840-dk", "arduino-zero"])
def test_the_chain_goes_through_an_exception(tmp_path: Path, board_name: str, engine: str) -> None:
    source = tmp_path / "program.c"
    source.write_text("""
static volatile int ticks;
void SysTick_Handler(void);
__attribute__((noipa)) static int deep(int n) { volatile char b[500]; b[n] = 1; return b[0]; }
void SysTick_Handler(void) { ticks = 1 + deep(3) * 0; }
__attribute__((noipa)) static int wait(void) {
    volatile int spins[9] = {0};
    while (!ticks) { spins[3]++; }
    return spins[3];
}
int main(void) {
    *(volatile unsigned *)0xE000E014u = 500;
    *(volatile unsigned *)0xE000E018u = 0;
    *(volatile unsigned *)0xE000E010u = 7;
    return wait() > 0 ? 0 : 1;
}
""")
    board = load_board(board_name)
    elf = build_firmware([source], board, tmp_path / "program.elf")
    machine = Machine(elf, board=board, engine=engine)
    assert machine.run() == 0
    chain = _chain(machine)
    assert [name for name, _ in chain] == [
        "Reset_Handler", "main", "wait", "(exception)", "SysTick_Handler", "deep",
    ]  # fmt: skip
    assert dict(chain)["(exception)"] >= 32
    stack = machine.record().to_dict()["memory"]["stack"]
    assert stack - 8 < sum(size for _, size in chain) <= stack


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("core", ["m0plus", "m3"])
@pytest.mark.parametrize("optimize", ["-O0", "-O2"])
def test_an_alloca_that_leaps_into_static_data_is_caught(
    tmp_path: Path, core: str, engine: str, optimize: str
) -> None:
    code = """
char buffer[65000];
__attribute__((noipa)) int variable(int n) {
    volatile char b[n]; b[0] = 1; b[n - 1] = 2; return b[0]; }
int main(void) { buffer[0] = 1; return variable(2000) + buffer[0]; }
"""
    machine = Machine(build(tmp_path, core, code, optimize=optimize), core=core, engine=engine)
    with pytest.raises((Fault, RamExceeded), match="in variable"):
        machine.run()
    assert _chain(machine)[-1][0] == "variable"
    assert machine.ram_use().stack > 2000
    assert_explained(machine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("core", ["m0plus", "m3"])
def test_another_stack_in_static_data_is_none_of_this_one(
    tmp_path: Path, core: str, engine: str
) -> None:
    body = (
        "    push {r4, lr}\n    mov r4, sp\n    ldr r0, =other + 512\n    mov sp, r0\n"
        "    push {r1, r2}\n    bl 1f\n    mov sp, r4\n    movs r0, #0\n    pop {r4, pc}\n"
        "1:  sub sp, #64\n    add sp, #64\n    bx lr\n    .ltorg\n    .comm other, 1024"
    )
    machine = Machine(
        build(tmp_path, core, "int unused;", function("main", body)), core=core, engine=engine
    )
    assert machine.run() == 0
    assert machine.record().to_dict()["memory"]["stack"] == 8
