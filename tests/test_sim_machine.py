"""Running, measuring and calling: both engines count the same, and what the manuals say."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from sim_images import CORES, ENGINES, assert_explained, build, function

from ebnn.sim import Machine
from ebnn.sim.errors import UserError
from ebnn.sim.faults import BudgetExceeded, Fault

_SCHEMA = json.loads((Path(__file__).parent.parent / "sim" / "record.schema.json").read_text())

_LOOP = function("loop100", "    movs r0, #100\n1:  subs r0, #1\n    bne 1b\n    bx lr")

_PROGRAM = """
#include <stdint.h>
volatile uint32_t sink;
static uint32_t table[64];
__attribute__((noinline)) uint32_t divide(uint32_t a, uint32_t b) { return a / b; }
__attribute__((noinline)) int64_t wide(int32_t a, int32_t b) { return (int64_t)a * b; }
__attribute__((noinline)) int clamp(int x) { return x < 0 ? 0 : x > 99 ? 99 : x; }
__attribute__((noinline)) int fibonacci(int n) {
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}
int main(void) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 64; i++) { table[i] = i * 2654435761u; }
    for (uint32_t i = 1; i < 64; i++) {
        sum += divide(table[i], i) + (uint32_t)wide((int32_t)table[i], (int32_t)i * 70000);
        sum ^= (uint32_t)clamp((int)table[i] >> 20) + table[(sum >> 3) & 63];
    }
    sink = sum + (uint32_t)fibonacci(9);
    return (int)(sink & 127);
}
"""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("core", "cycles"), [("m0", 402), ("m0plus", 302), ("m3", 303), ("m4f", 303)]
)
def test_the_hand_counted_loop_takes_what_the_manual_says(
    tmp_path: Path, engine: str, core: str, cycles: int
) -> None:
    machine = Machine(build(tmp_path, core, assembly=_LOOP), engine=engine, regions=("loop100",))
    if core == "m0plus":  # build attributes cannot tell M0+ from M0
        machine = Machine(machine.elf.path, core=core, engine=engine, regions=("loop100",))
    machine.run_until("main")
    machine.call("loop100")
    assert machine.region("loop100").cycles == cycles
    assert machine.region("loop100").instructions == 202


@pytest.mark.parametrize("core", CORES)
def test_both_engines_give_the_same_record_on_every_core(tmp_path: Path, core: str) -> None:
    elf = build(tmp_path, core, _PROGRAM)
    records = []
    for engine in ("auto", "python", "auto"):
        machine = Machine(elf, core=core, engine=engine, regions=("divide", "clamp", "fibonacci"))
        status = machine.run()
        assert_explained(machine)
        data = machine.record().to_dict()
        del data["engine"]
        records.append((status, data))
    assert records[0] == records[1] == records[2]
    assert records[0][1]["regions"]["divide"]["count"] == 63
    assert records[0][1]["regions"]["fibonacci"]["count"] == 1  # recursion is one activation


def test_the_record_follows_its_schema(tmp_path: Path) -> None:
    machine = Machine(build(tmp_path, "m3", _PROGRAM), regions=("divide",))
    machine.run()
    jsonschema.validate(json.loads(machine.record().to_json()), _SCHEMA)


def test_the_record_of_a_fault_follows_the_schema_and_names_the_line(tmp_path: Path) -> None:
    elf = build(
        tmp_path, "m3", "int main(void) {\n  *(volatile int *)0x30000000 = 1;\n  return 0; }"
    )
    machine = Machine(elf)
    with pytest.raises(Fault, match="no memory there"):
        machine.run()
    record = machine.record().to_dict()
    jsonschema.validate(record, _SCHEMA)
    fault = record["fault"]
    assert (fault["kind"], fault["address"], fault["function"]) == ("unmapped", 0x30000000, "main")
    assert (fault["file"], fault["line"]) == ("image.c", 2)
    assert record["exit"] == 3
    assert_explained(machine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_call_leaves_the_firmware_where_it_was(tmp_path: Path, engine: str) -> None:
    machine = Machine(build(tmp_path, "m4f", _PROGRAM), engine=engine)
    machine.run_until("main")
    before = [machine.register(name) for name in ("sp", "lr")]
    assert machine.call("divide", 1000, 7) == 142
    assert machine.call("clamp", -5 & 0xFFFFFFFF) == 0
    assert [machine.register(name) for name in ("sp", "lr")] == before
    alone = Machine(machine.elf.path, engine=engine)
    assert machine.run() == alone.run()


def test_restore_brings_back_memory_and_registers(tmp_path: Path) -> None:
    machine = Machine(build(tmp_path, "m4f", _PROGRAM))
    machine.run_until("main")
    booted = machine.snapshot()
    first = machine.run()
    machine.restore(booted)
    assert machine.run() == first


@pytest.mark.parametrize("engine", ENGINES)
def test_firmware_reads_the_models_cycles_from_cyccnt(tmp_path: Path, engine: str) -> None:
    code = """
int measured(void) {
    *(volatile unsigned *)0xE000EDFC |= 1u << 24;
    *(volatile unsigned *)0xE0001000 |= 1;
    __asm volatile("nop");  // so that the first read does not wait for the store
    unsigned first = *(volatile unsigned *)0xE0001004;
    __asm volatile("nop\\n nop\\n nop\\n nop");
    return (int)(*(volatile unsigned *)0xE0001004 - first);
}
int main(void) { return measured(); }
"""
    machine = Machine(build(tmp_path, "m4f", code), engine=engine)
    assert machine.run() == 6  # LDR 2, four NOP 1 each


def test_a_hang_ends_at_max_cycles_naming_the_function(tmp_path: Path) -> None:
    machine = Machine(build(tmp_path, "m3", "int main(void) { for (;;) {} }"), max_cycles=10_000)
    with pytest.raises(BudgetExceeded, match="still running in main"):
        machine.run()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("core", "kind", "body"),
    [
        ("m0", "unaligned", "ldr r0, =0x20000002\n ldr r0, [r0]\n bx lr\n .ltorg"),
        ("m0", "unaligned", "ldr r0, =0x20000002\n str r0, [r0]\n bx lr\n .ltorg"),
        ("m0", "unaligned", "ldr r0, =0x20000001\n ldrh r0, [r0]\n bx lr\n .ltorg"),
        ("m0", "unaligned", "ldr r0, =0x20000001\n strh r0, [r0]\n bx lr\n .ltorg"),
        ("m0", "unaligned", "ldr r0, =0x20000002\n ldm r0!, {r1}\n bx lr\n .ltorg"),
        ("m0plus", "unaligned", "ldr r0, =0x20000002\n stm r0!, {r1}\n bx lr\n .ltorg"),
        ("m4f", "unaligned", "ldr r0, =0x20000002\n ldrd r1, r2, [r0]\n bx lr\n .ltorg"),
        ("m4f", "unaligned", "ldr r0, =0x20000002\n ldrex r1, [r0]\n bx lr\n .ltorg"),
        ("m3", "unaligned", "ldr r0, =0x20000002\n ldm r0, {r1, r2}\n bx lr\n .ltorg"),
        ("m3", "undefined", "udf #1"),
        ("m3", "not-on-core", ".hword 0xfb21, 0x0203\n bx lr"),
        ("m4", "not-on-core", ".hword 0xee20, 0x0a20\n bx lr"),
        ("m4f", "no-fpu", "vmul.f32 s0, s0, s1\n bx lr"),
        ("m0", "undefined", ".hword 0xfb90, 0xf0f1\n bx lr"),  # SDIV
        ("m0plus", "undefined", ".hword 0xfbb0, 0xf0f1\n bx lr"),  # UDIV
        ("m0", "undefined", ".hword 0xfba0, 0x0101\n bx lr"),  # UMULL
        ("m0plus", "undefined", ".hword 0xbf08\n nop\n bx lr"),  # IT
        ("m0", "undefined", ".hword 0xb100\n bx lr"),  # CBZ
        ("m3", "undefined", ".hword 0xee20, 0x0a20\n bx lr"),  # VMUL
        ("m3", "undefined", ".hword 0xfa80, 0xf081\n bx lr"),  # QADD
        ("m4f", "breakpoint", "bkpt #1"),
        ("m4f", "no-wake-up", "wfi\n bx lr"),
        ("m3", "write-to-flash", "ldr r0, =0x08000010\n str r0, [r0]\n bx lr\n .ltorg"),
        ("m3", "unmapped", "ldr r0, =0x12345671\n bx r0\n .ltorg"),
        ("m3", "divide-by-zero", "ldr r0, =0xe000ed14\n movs r1, #0x10\n str r1, [r0]\n"
         " movs r1, #0\n udiv r0, r0, r1\n bx lr\n .ltorg"),
    ],
)  # fmt: skip
def test_what_the_silicon_refuses_is_a_named_fault(
    tmp_path: Path, engine: str, core: str, kind: str, body: str
) -> None:
    elf = build(tmp_path, core, assembly=function("bad", body))
    machine = Machine(elf, engine=engine, max_cycles=10_000)
    machine.run_until("main")
    with pytest.raises(Fault) as caught:
        machine.call("bad")
    assert caught.value.kind in (kind, "not-on-core" if kind == "undefined" else kind)
    assert_explained(machine)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_instruction_that_the_core_lacks_may_stand_behind_a_change_of_sp(
    tmp_path: Path, engine: str
) -> None:
    body = " mov r1, sp\n mov sp, r1\n .hword 0xfb21, 0x0203\n nop\n bx lr"  # SMLAD
    machine = Machine(build(tmp_path, "m3", assembly=function("bad", body)), engine=engine)
    machine.run_until("main")
    with pytest.raises(Fault) as caught:
        machine.call("bad")
    assert caught.value.kind == "not-on-core"


@pytest.mark.parametrize("engine", ENGINES)
def test_unaligned_loads_inside_an_it_block_keep_its_conditions(
    tmp_path: Path, engine: str
) -> None:
    body = (
        "    cmp r0, #0\n    itet ne\n    ldrne r1, [r2, #1]\n    moveq r0, #99\n"
        "    addne r0, #7\n    itt eq\n    addeq r0, #1\n    bxeq lr\n    bx lr"
    )
    machine = Machine(build(tmp_path, "m4f", assembly=function("odd", body)), engine=engine)
    machine.run_until("main")
    assert machine.call("odd", 1, 0, 0x20000010) == 8
    assert machine.call("odd", 0, 0, 0x20000010) == 100
    assert machine.stalls()["unaligned access"] == 2  # a word at an odd address: byte, half, byte
    assert_explained(machine)


def test_an_unknown_symbol_suggests_near_names(tmp_path: Path) -> None:
    machine = Machine(build(tmp_path, "m3", _PROGRAM))
    with pytest.raises(UserError, match="did you mean divide"):
        machine.symbol("divid")


@pytest.mark.parametrize("engine", ENGINES)
def test_thousands_of_conditional_instructions_are_all_followed(
    tmp_path: Path, engine: str
) -> None:
    # Each third pair runs its addition (its result is not 0); M4: CMP 1, IT 1, ADDNE 1 either way,
    # LDRNE 2 where it runs and 1 where it is skipped.
    count = 4000
    body = "".join(
        f"    cmp r0, #{i % 3}\n    it ne\n    ldrne r1, [sp]\n    nop\n" for i in range(count)
    )
    elf = build(tmp_path, "m4", assembly=function("many", body + "    bx lr"))
    machine = Machine(elf, regions=("many",), engine=engine)
    machine.call("many", 0)
    skipped = len(range(0, count, 3))
    region = machine.region("many")
    assert region.instructions == 4 * count + 1
    loads = machine.stalls()["memory access"]
    machine.call("many", 1)
    # The same number is equal to 1 as to 0, but for the rounding of a third.
    assert machine.stalls()["memory access"] - loads == count - len(range(1, count, 3))
    assert loads == count - skipped
    assert_explained(machine)
