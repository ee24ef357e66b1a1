"""The lines that cost most, and who is on the stack: what failures of firmware are told with."""

from __future__ import annotations

from pathlib import Path

import pytest
from sim_images import ENGINES, build

from ebnn.sim import Machine
from ebnn.sim.faults import Fault
from ebnn.sim.producers import compile_flags

_C = """
volatile int sink;
__attribute__((noinline)) int leaf(unsigned address) {
    for (int i = 0; i < 20; i++)
        sink += i;
    return *(volatile int *)address + 1;
}
__attribute__((noinline)) int middle(unsigned address) { return leaf(address) + 1; }
__attribute__((noipa)) unsigned where(void) { return 0x50000000; }
int main(void) { return middle(where()) - 1; }
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_lines_sum_to_the_cycles_and_the_loop_is_first(tmp_path: Path, engine: str) -> None:
    machine = Machine(build(tmp_path, "m4", _C), engine=engine)
    machine.run_until("where")
    machine.call("leaf", 0x20000000)
    lines = machine.hot_lines()
    loop = {(line.source.place, line.function) for line in lines[:2]}
    assert loop == {("image.c:4", "leaf"), ("image.c:5", "leaf")}
    assert sum(line.cycles for line in lines) == machine.cycles
    assert [line.cycles for line in lines] == sorted((one.cycles for one in lines), reverse=True)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("core", ["m0", "m4"])
def test_backtrace_names_the_callers_of_a_fault(tmp_path: Path, engine: str, core: str) -> None:
    machine = Machine(build(tmp_path, core, _C, optimize="-O1"), engine=engine)
    machine.run_until("where")
    assert [frame.function for frame in machine.backtrace()] == ["reset", "main", "where"]
    with pytest.raises(Fault):
        machine.run()
    names = [frame.function for frame in machine.backtrace()]
    assert names == ["reset", "main", "middle", "leaf"]
    held = machine.stack_top - machine.register("sp")
    assert sum(frame.frame_bytes for frame in machine.backtrace()) == held


def test_the_compilers_flags_are_in_the_debug_information(tmp_path: Path) -> None:
    flags = compile_flags(Machine(build(tmp_path, "m4", _C, optimize="-Os")).elf)
    assert len(flags) == 1 and "-Os" in flags[0].split() and "-mcpu=cortex-m4" in flags[0]
    stripped = build(tmp_path, "m4", _C, options=["-Wl,--strip-debug"])
    assert compile_flags(Machine(stripped).elf) == []
