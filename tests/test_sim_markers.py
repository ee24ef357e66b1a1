"""A region between two labels is counted to the cycle, and the labels cost nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sim_images import ENGINES, assert_explained, build, function

from ebnn.sim import Machine, load_board
from ebnn.sim.cli import main
from ebnn.sim.errors import UserError
from ebnn.toolchain.firmware import build_firmware

_LOOP = function(
    "loop100",
    "    nop\nloop_start:\n    movs r0, #100\n1:  subs r0, #1\n    bne 1b\n"
    "loop_end:\n    nop\nafter:\n    nop\n    bx lr",
)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("core", "cycles"), [("m0", 399), ("m0plus", 300), ("m3", 300)])
def test_a_region_between_labels_is_counted_to_the_cycle(
    tmp_path: Path, engine: str, core: str, cycles: int
) -> None:
    elf = build(tmp_path, core, assembly=_LOOP)
    regions = ("loop_start..loop_end", "loop_end..after", "loop_start..after")
    machine = Machine(elf, core=core, engine=engine, regions=regions)
    machine.run_until("main")
    machine.call("loop100")
    machine.call("loop100")
    # MOVS 1, SUBS 100 times 1, BNE 99 times taken and once not: the manuals' counts.
    assert machine.region(regions[0]).cycles == cycles
    assert machine.region(regions[0]).instructions == 201
    assert machine.region(regions[1]).cycles == 1  # labels in the midst of a basic block
    assert machine.region(regions[2]).cycles == cycles + 1
    assert machine.regions()[regions[0]]["count"] == 2
    assert_explained(machine)


def test_watching_labels_changes_no_count_and_no_function(tmp_path: Path) -> None:
    elf = build(tmp_path, "m4f", assembly=_LOOP)
    totals = []
    for regions in ((), ("loop_start..loop_end",)):
        machine = Machine(elf, regions=regions)
        machine.run_until("main")
        machine.call("loop100")
        totals.append((machine.cycles, machine.instructions, machine.stalls()))
    assert totals[0] == totals[1]
    named = machine.elf.function_at(machine.symbol("after").address)
    assert named is not None
    assert named.name == "loop100"


@pytest.mark.parametrize("board", ["nrf52840-dk@0ws", "arduino-zero@0ws"])
def test_the_macros_make_a_region_of_their_name(
    tmp_path: Path, board: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "program.c"
    code = """
#include "region.h"
volatile int sum;
__attribute__((noipa)) static void work(int n) {
    MARK(EBNN_REGION_BEGIN(adding);)
    for (int i = 0; i < n; i++) { sum += i; }
    MARK(EBNN_REGION_END(adding);)
    sum = 0;
}
int main(void) { work(5); work(50); return 0; }
"""
    elf = tmp_path / "program.elf"
    records = []
    for marked in (False, True):
        source.write_text(f"#define MARK(x) {'x' if marked else ''}\n" + code)
        build_firmware([source], load_board(board), elf)
        region = ["--region", "adding"] if marked else []
        assert main(["run", str(elf), "--board", board, "--json", "-", *region]) == 0
        records.append(json.loads(capsys.readouterr().out))
    found = records[1]["regions"]["adding"]
    assert found["count"] == 2
    assert found["cycles"]["max"] > 5 * found["cycles"]["min"]
    assert found["cycles"]["total"] < records[1]["cycles"]


def test_functions_bound_regions_too_and_unknown_markers_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elf = build(tmp_path, "m3", assembly=_LOOP)
    machine = Machine(elf, regions=("reset..main",))
    machine.run_until("main")
    with pytest.raises(UserError, match="has not run"):
        machine.region("reset..main")
    machine.run()
    assert machine.region("reset..main").instructions == 1  # BL main
    assert main(["run", str(elf), "--region", "reset..mian"]) == 2
    assert "did you mean main" in capsys.readouterr().err
