"""A RAM whose first access in a row takes longer: counts worked out by hand, on both engines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sim_images import ENGINES, assert_explained, build, function

from ebnn.sim import Machine, load_board
from ebnn.sim.board import Board, generic_board
from ebnn.sim.errors import UserError
from ebnn.sim.slow_ram import SlowRam

_SLOW = SlowRam(0x20008000, 0x4000, first_access_cycles=1, starved_cycles=1)
_FAST_BASE, _SLOW_BASE = 0x20004000, 0x20008000

# Each with the cycles of the manual's table alone (return: BX, 1 + 2), and what the slow RAM adds.
_BODIES = {
    # LDR 2, NOP 1, LDR 2: each load begins anew.
    "loads": ("ldr r1, [r0]\n nop\n ldr r2, [r0, #4]", 2 + 1 + 2, 2),
    # LDR 2, LDR 1: the second is pipelined behind the first.
    "pipelined": ("ldr r1, [r0]\n ldr r2, [r0, #4]", 2 + 1, 1),
    # STR 1, NOP 1: through the write buffer.
    "store": ("str r1, [r0]\n nop", 1 + 1, 0),
    # STM of three 1 + 3, NOP 1, LDM of two 1 + 2: once for each instruction, not for each word.
    "multiple": ("stm r0, {r1, r2, r3}\n nop\n ldm r0, {r1, r2}", 4 + 1 + 3, 2),
    # Either register may point: MOVS 1, address computed just before 1, LDR 2.
    "indexed": ("movs r3, #0\n ldr r1, [r3, r0]", 1 + 1 + 2, 1),
    # LDREQ that runs, IT folded away into CMP: 1 + 0 + 2; and one that is skipped, 1 + 0 + 1.
    "executed": ("cmp r0, r0\n it eq\n ldreq r1, [r0]", 3, 1),
    "skipped": ("cmp r0, r0\n it ne\n ldrne r1, [r0]", 2, 0),
    # STR 1 and four split ADD.W: the third waits for its fetch.
    "starved": ("str r1, [r0]\n" + " add.w r2, r2, #1\n" * 4, 1 + 4, 1),
    # The same with two: none waits. Aligned (two 16-bit instructions first): neither.
    "short run": ("str r1, [r0]\n" + " add.w r2, r2, #1\n" * 2 + " nop", 1 + 2 + 1, 0),
    "aligned": ("nop\n str r1, [r0]\n" + " add.w r2, r2, #1\n" * 4, 1 + 1 + 4, 0),
    # STR 1, split ADD.W, split LDR.W 2 and three split ADD.W: the wait is behind the load alone.
    "anew": (
        "str r1, [r0]\n add.w r2, r2, #1\n ldr.w r3, [r0]\n" + " add.w r2, r2, #1\n" * 3,
        1 + 1 + 2 + 3 + 1,  # and one of the rule for split instructions behind a split load
        1 + 1,
    ),
}


def _board() -> Board:
    return replace(generic_board("cortex-m4"), slow_ram=_SLOW)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slow_ram")
    bodies = [
        function(name.replace(" ", "_"), f" {body}\n bx lr") for name, (body, *_) in _BODIES.items()
    ]
    return build(folder, "m4", assembly="".join(bodies))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", list(_BODIES))
def test_slow_ram_adds_what_was_counted_by_hand(image: Path, name: str, engine: str) -> None:
    _, cycles, extra = _BODIES[name]
    symbol = name.replace(" ", "_")
    for base, added in ((_FAST_BASE, 0), (_SLOW_BASE, extra)):
        machine = Machine(image, board=_board(), regions=(symbol,), engine=engine)
        machine.call(symbol, base)
        assert_explained(machine)
        assert machine.region(symbol).cycles == cycles + 3 + added
        assert machine.stalls().get("slow ram", 0) == added


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_stack_at_the_end_of_slow_ram_lies_in_it(tmp_path: Path, engine: str) -> None:
    elf = build(tmp_path, "m4", assembly=function("pushes", " push {r4, lr}\n pop {r4, pc}"))
    top = Machine(elf, board=generic_board("cortex-m4")).initial_sp
    slow = SlowRam(top - 4096, 4096, 1)
    for one, added in ((None, 0), (slow, 2)):
        board = replace(generic_board("cortex-m4"), slow_ram=one)
        machine = Machine(elf, board=board, regions=("pushes",), engine=engine)
        machine.call("pushes")
        assert machine.region("pushes").cycles == 3 + 3 + 2 + added


def test_a_ram_limit_below_slow_ram_leaves_nothing_to_follow(image: Path) -> None:
    machine = Machine(image, board=_board(), ram_bytes=0x8000, regions=("loads",))
    machine.call("loads", _FAST_BASE)
    assert "slow ram" not in machine.stalls()


def test_the_record_names_the_slow_ram(image: Path) -> None:
    model = Machine(image, board=_board()).record().to_dict()["model"]
    assert model["slow_ram"]["address"] == _SLOW.address
    plain = Machine(image, board=generic_board("cortex-m4")).record().to_dict()["model"]
    assert plain["slow_ram"] is None


def test_sram2_of_stm32f407_lies_behind_sram1() -> None:
    slow = load_board("stm32f407-discovery").slow_ram
    assert slow is not None
    assert slow.address == 0x20000000 + 112 * 1024
    assert slow.last_address == 0x20000000 + 128 * 1024


_TOML = """
title = "t"
core = "cortex-m4"
clock_hz = 1
source = "s"
[[memory]]
name = "f"
kind = "flash"
address = 0
size_bytes = 1024
[[memory]]
name = "r"
kind = "ram"
address = 0x20000000
size_bytes = 1024
[slow_ram]
"""
_KEYS = "address = 0x20000000\nsize_bytes = 512\nfirst_access_cycles = 1\nstarved_cycles = 1\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (_KEYS + "cycles = 1", "'cycles' is no key of [slow_ram]"),
        (_KEYS.replace("512", "2048"), "does not lie in the first ram memory, 'r'"),
        (_KEYS.replace("_cycles = 1", "_cycles = -1"), "numbers from 0 to 4096"),
        ("address = 0x20000000", "needs 'size_bytes'"),
    ],
)
def test_a_wrong_description_is_one_clear_error(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "b.toml"
    path.write_text(_TOML + text)
    with pytest.raises(UserError) as error:
        load_board(path)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
