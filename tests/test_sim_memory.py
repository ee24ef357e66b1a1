"""The RAM limit holds to the byte, and says who went past it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sim_images import ENGINES, build

from ebnn.sim import Machine
from ebnn.sim.faults import Fault, RamExceeded

_DEEP = """
char buffer[100];
__attribute__((noinline)) int deep(int n) {
    volatile char big[100];
    big[0] = (char)n;
    return n ? deep(n - 1) + big[0] : 0;
}
int main(void) { buffer[0] = 1; return deep(5) + buffer[0]; }
"""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("core", ["m0", "m4f"])
def test_one_byte_under_the_need_fails_naming_the_function(
    tmp_path: Path, engine: str, core: str
) -> None:
    elf = build(tmp_path, core, _DEEP)
    plenty = Machine(elf, engine=engine)
    status = plenty.run()
    memory = plenty.record().to_dict()["memory"]
    assert memory["ram"] == memory["static"] + memory["heap"] + memory["stack"]
    assert memory["static"] == 104  # 100 bytes, up to the stack's alignment of 8
    exact = Machine(elf, engine=engine, ram_bytes=memory["ram"])
    assert exact.run() == status
    short = Machine(elf, engine=engine, ram_bytes=memory["ram"] - 1)
    with pytest.raises(RamExceeded, match=r"in deep .*: 1 byte past --ram") as caught:
        short.run()
    assert caught.value.grew == "stack"
    assert caught.value.over_by == 1
    assert short.record().to_dict()["exit"] == 1


def test_static_data_that_do_not_fit_are_refused_before_the_run(tmp_path: Path) -> None:
    elf = build(tmp_path, "m3", "char big[3000]; int main(void) { return big[0]; }")
    with pytest.raises(RamExceeded, match=r"largest: big 3,000: 952 bytes past --ram 2k"):
        Machine(elf, ram_bytes=2048)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_access_one_byte_past_the_limit_is_caught(tmp_path: Path, engine: str) -> None:
    code = """
__attribute__((noinline)) void poke(volatile char *at) { *at = 1; }
int main(void) { return 0; }
"""
    elf = build(tmp_path, "m3", code)
    machine = Machine(elf, engine=engine, ram_bytes=1500)
    machine.run_until("main")
    machine.call("poke", 0x20000000 + 1499)
    assert machine.read(0x20000000 + 1499, 1) == b"\1"
    with pytest.raises(RamExceeded, match=r"store to 0x200005dc in poke .*: 1 byte past"):
        machine.call("poke", 0x20000000 + 1500)


def test_a_stack_top_past_the_limit_is_moved_to_it_and_told(tmp_path: Path) -> None:
    elf = build(tmp_path, "m3")
    machine = Machine(elf, ram_bytes=1001)
    machine.run_until("main")
    assert machine.register("sp") == 0x20000000 + 1000
    assert machine.record().to_dict()["memory"]["stack_top_moved_from"] == 0x20010000


def test_the_stack_running_into_static_data_inside_the_limit_is_a_fault(tmp_path: Path) -> None:
    elf = build(tmp_path, "m3", _DEEP.replace("buffer[100]", "buffer[65000]"))
    with pytest.raises(Fault, match="static data"):
        Machine(elf).run()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_heap_is_told_apart(tmp_path: Path, engine: str) -> None:
    code = """
extern char end[];
static char *heap = end;
__attribute__((noinline)) void *_sbrk(int increment) {
    char *old = heap; heap += increment; return old;
}
int main(void) { _sbrk(64); _sbrk(200); _sbrk(-100); return 0; }
"""
    machine = Machine(build(tmp_path, "m4f", code), engine=engine)
    machine.write(0x20000000, machine.read(0x08010000, 4))  # what start-up code would copy
    machine.run()
    assert machine.record().to_dict()["memory"]["heap"] == 264
    small = Machine(machine.elf.path, engine=engine, ram_bytes=200)
    small.write(0x20000000, small.read(0x08010000, 4))
    with pytest.raises(RamExceeded, match="_sbrk") as caught:
        small.run()
    assert caught.value.grew == "heap"
