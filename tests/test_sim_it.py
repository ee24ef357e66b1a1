"""Accesses inside IT blocks leave the code behind them unconditional, whatever watches memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sim_images import ENGINES, build, function

from ebnn.sim import Machine
from ebnn.sim.board import generic_board
from ebnn.sim.flash_timing import FlashTiming

# The return goes through a register; the flags then refuse the condition that the access had.
_ACCESSES = {
    "load": "ldrne r1, [r0]",
    "store": "strne r1, [r0]",
}
_CODE = "".join(
    function(name, f"cmp r0, #0\n it ne\n {access}\n cmp r0, r0\n bx lr")
    + function(f"behind_{name}", f"push {{lr}}\n bl {name}\n adds r0, #1\n pop {{pc}}")
    for name, access in _ACCESSES.items()
)
_RAM, _LAST_PAGE = 0x20001000, 0x20002000
_CPUID = 0xE000ED00


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("it"), "m4", assembly=_CODE)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("access", _ACCESSES)
@pytest.mark.parametrize(
    ("address", "touched"),
    [(_RAM, False), (_RAM, True), (_LAST_PAGE, False), (_CPUID, False)],
    ids=["ram", "followed", "last page", "register"],
)
def test_the_instruction_behind_the_return_runs(
    image: Path, address: int, touched: bool, access: str, engine: str
) -> None:
    ram_bytes = _LAST_PAGE + 16 - 0x20000000
    machine = Machine(image, engine=engine, ram_bytes=ram_bytes, touched=touched)
    assert machine.call(f"behind_{access}", address) == address + 1


@pytest.mark.parametrize("engine", ENGINES)
def test_it_runs_behind_a_load_from_slow_flash_too(image: Path, engine: str) -> None:
    timing = FlashTiming(line_bytes=16, wait_states=2)
    machine = Machine(image, board=replace(generic_board("m4"), flash_timing=timing), engine=engine)
    constant = machine.symbol("load").address & ~3
    assert machine.call("behind_load", constant) == constant + 1
