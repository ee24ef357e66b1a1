"""Code in RAM, and stores to it: what runs is what lies there, however the page was used before."""

from __future__ import annotations

from pathlib import Path

import pytest
from sim_images import ENGINES, build, function

from ebnn.sim import Machine

_POKE = function("poke", "str r1, [r0]\n bx lr")
# Loads from every page of r0 to r1: more of them than Unicorn's TLB holds.
_SWEEP = function("sweep", "1:\n ldr r2, [r0]\n add r0, #1024\n cmp r0, r1\n bne 1b\n bx lr")
_NOP = b"\x00\xbf"
_PAGE = 0x20001000
_BORDER = _PAGE + 1024


def _return(value: int) -> bytes:
    """movs r0, #value; bx lr."""
    return bytes([value, 0x20, 0x70, 0x47])


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("ram_code"), "m4", assembly=_POKE + _SWEEP)


def _machine(image: Path, engine: str) -> Machine:
    machine = Machine(image, engine=engine)
    machine.run_until("main")
    return machine


def _poke(machine: Machine, address: int, code: bytes) -> None:
    machine.call("poke", address, int.from_bytes(code, "little"))


@pytest.mark.parametrize("engine", ENGINES)
def test_code_that_was_stored_runs_and_stored_again_runs_anew(image: Path, engine: str) -> None:
    machine = _machine(image, engine)
    for value in range(1, 6):
        _poke(machine, _PAGE, _return(value))
        assert machine.call(_PAGE) == value


@pytest.mark.parametrize("engine", ENGINES)
def test_data_beside_the_code_does_not_hide_a_store_to_it(image: Path, engine: str) -> None:
    machine = _machine(image, engine)
    data = _PAGE + 512
    for value in range(1, 4):
        _poke(machine, data, b"data")
        _poke(machine, _PAGE, _return(value))
        _poke(machine, data, b"more")
        assert machine.call(_PAGE) == value
        assert machine.read(data, 4) == b"more"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_store_behind_a_page_border_reaches_the_block_that_crosses_it(
    image: Path, engine: str
) -> None:
    machine = _machine(image, engine)
    start = _BORDER - 8
    machine.write(start, 2 * _NOP + b"\x40\xf2\x00\x00" + _return(9))  # movw r0, #0
    assert machine.call(start) == 9
    for value in range(1, 4):
        _poke(machine, _BORDER, _return(value))
        assert machine.call(start) == value


@pytest.mark.parametrize("engine", ENGINES)
def test_code_that_changes_what_lies_behind_it_runs_the_change(image: Path, engine: str) -> None:
    machine = _machine(image, engine)
    # str r1, [r0]; b to the code at r0, 16 bytes on; the first run stores what is there anyway.
    machine.write(_PAGE, b"\x01\x60\x05\xe0" + 6 * _NOP + _return(1))
    for value in (1, 2, 3):
        assert machine.call(_PAGE, _PAGE + 16, int.from_bytes(_return(value), "little")) == value


@pytest.mark.parametrize("engine", ENGINES)
def test_a_page_of_code_stays_one_when_the_tlb_has_lost_it(image: Path, engine: str) -> None:
    machine = _machine(image, engine)
    flash = machine.board.flash
    for value in range(1, 4):
        _poke(machine, _PAGE, _return(value))
        assert machine.call(_PAGE) == value
        machine.call("sweep", flash.address, flash.end)
        _poke(machine, _PAGE + 512, b"data")
