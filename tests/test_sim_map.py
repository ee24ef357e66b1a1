"""The memory map adds up to the memories, and touched bytes are exact."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from sim_images import ENGINES, build, function

from ebnn.sim import Machine, load_board
from ebnn.sim.cli import main
from ebnn.sim.memory_picture import memory_pictures
from ebnn.sim.render_map import cells_of
from ebnn.toolchain.firmware import build_firmware

_SCHEMA = json.loads((Path(__file__).parent.parent / "sim" / "record.schema.json").read_text())

_HEAP = """
#include <stdlib.h>
int initialised[25] = {1};
char zeroed[1000];
const unsigned char weights[300] = {7};
int main(void) {
    volatile char *block = malloc(500);
    block[0] = (char)initialised[0];
    zeroed[5] = block[0];
    return weights[zeroed[5] & 7] - weights[1];
}
"""


@pytest.mark.parametrize("ram", [None, "6001"])
def test_the_parts_fill_each_memory_and_agree_with_the_record(
    tmp_path: Path, ram: str | None
) -> None:
    source = tmp_path / "program.c"
    source.write_text(_HEAP)
    board = load_board("nrf52840-dk")
    elf = build_firmware([source], board, tmp_path / "program.elf", optimize="-O0")
    machine = Machine(elf, board=board, ram_bytes=int(ram) if ram else None)
    machine.run()
    memory = machine.record().to_dict()["memory"]
    flash, ram_picture = memory_pictures(machine)
    for picture in (flash, ram_picture):
        assert sum(part.size_bytes for part in picture.parts) == picture.size_bytes
        assert sum(cells_of(picture)) == 64
        at = picture.address
        for part in picture.parts:
            assert part.address == at
            at = part.end
    sizes = {part.kind: part.size_bytes for part in ram_picture.parts}
    assert (sizes["heap"], sizes["stack"]) == (memory["heap"], memory["stack"])
    names = [part.name for part in ram_picture.parts if part.kind == "section"]
    assert names == [".data", ".bss"]
    assert "zeroed" in [symbol.name for symbol in ram_picture.symbols][:1]
    used = sum(p.size_bytes for p in ram_picture.parts if p.kind != "free")
    assert memory["ram"] - 8 < used <= memory["ram"]
    in_flash = sum(p.size_bytes for p in flash.parts if p.kind != "free")
    assert in_flash == memory["flash"]
    assert "initial values" in [part.name for part in flash.parts]


def test_the_map_needs_no_colours_when_piped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elf = build(tmp_path, "m3", "char big[3000]; int main(void) { return big[0]; }")
    assert main(["run", str(elf), "--ram", "6000", "--map", "--touched"]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    bars = [line for line in printed.splitlines() if line.startswith("[")]
    assert [len(bar) for bar in bars] == [66, 66]
    assert bars[1].count("a") == 32  # 3000 of 6000 bytes
    assert "largest: big 3,000" in printed
    assert "touched bytes" in printed


@pytest.mark.parametrize("engine", ENGINES)
def test_touched_bytes_are_exact(tmp_path: Path, engine: str) -> None:
    code = """
#include <stdint.h>
const uint8_t weights[64] = {1, 2, 3};
uint8_t state[40];
__attribute__((noipa)) void work(int n) { for (int i = 0; i < n; i++) { state[i] = weights[2 * i]; } }
int main(void) { return 0; }
"""  # noqa: E501
    assembly = function("skips", "    b 1f\n    nop\n    nop\n1:  ldrh r0, [r0]\n    bx lr")
    machine = Machine(build(tmp_path, "m4f", code, assembly), engine=engine, touched=True)
    machine.run_until("main")
    machine.call("work", 10)
    machine.call("skips", machine.symbol("state").address + 20)
    record = machine.record().to_dict()
    jsonschema.validate(record, _SCHEMA)
    rows = {row["name"]: row for row in record["memory"]["touched"]["symbols"]}

    def counts(name: str) -> list[int]:
        return [rows[name][key] for key in ("size_bytes", "read", "written", "executed", "touched")]

    assert counts("weights") == [64, 10, 0, 0, 10]
    assert counts("state") == [40, 2, 10, 0, 12]
    assert counts("skips") == [10, 0, 0, 6, 6]
    assert counts("main")[3] == 0
    sections = {row["name"]: row for row in record["memory"]["touched"]["sections"]}
    assert sections[".bss"]["written"] == 10


def test_both_engines_see_the_same_bytes(tmp_path: Path) -> None:
    source = tmp_path / "program.c"
    source.write_text(_HEAP)
    board = load_board("arduino-zero")
    elf = build_firmware([source], board, tmp_path / "program.elf")
    found = []
    for engine in ("auto", "python"):
        machine = Machine(elf, board=board, engine=engine, touched=True, uninitialized="warn")
        machine.run()
        found.append(machine.record().to_dict()["memory"])
    assert found[0] == found[1]
    assert found[0]["uninitialized"] == []
