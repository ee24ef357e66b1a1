"""The multiplier of M0 and M0+ that takes 32 cycles, as a board says that it has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sim_images import ENGINES, assert_explained, build, function

from ebnn.sim import Machine, load_board
from ebnn.sim.errors import UserError

_TOML = """
title = "t"
core = "{core}"
clock_hz = 1
source = "s"
{keys}
[[memory]]
name = "f"
kind = "flash"
address = 0x08000000
size_bytes = 131072
[[memory]]
name = "r"
kind = "ram"
address = 0x20000000
size_bytes = 65536
"""


def _board(folder: Path, core: str, keys: str) -> Path:
    path = folder / "b.toml"
    path.write_text(_TOML.format(core=core, keys=keys))
    return path


@pytest.mark.parametrize("engine", ENGINES)
# MOVS 1, two MULS, BX 1 + 2 on the M0 and 1 + 1 on the M0+
@pytest.mark.parametrize(("core", "leave"), [("m0", 3), ("m0plus", 2)])
@pytest.mark.parametrize(
    ("keys", "multiply"),
    [("", 1), ('multiplier = "single-cycle"', 1), ('multiplier = "small"', 32)],
)
def test_muls_takes_what_the_board_says(
    tmp_path: Path, engine: str, core: str, leave: int, keys: str, multiply: int
) -> None:
    body = "    movs r1, #3\n    muls r0, r1\n    muls r0, r1\n    bx lr"
    elf = build(tmp_path, core, assembly=function("twice", body))
    board = load_board(_board(tmp_path, f"cortex-{core}", keys))
    machine = Machine(elf, board=board, regions=("twice",), engine=engine)
    assert machine.call("twice", 5) == 45
    assert_explained(machine)
    assert machine.region("twice").cycles == 1 + 2 * multiply + leave
    assert machine.stalls().get("multiply", 0) == 2 * (multiply - 1)
    model = machine.record().to_dict()["model"]
    assert model["small_multiplier"] == (multiply == 32)
    assert (model["error"] is None) == (multiply == 32)


@pytest.mark.parametrize(
    ("core", "keys", "says"),
    [
        ("cortex-m0", 'multiplier = "slow"', "'single-cycle' or 'small', not 'slow'"),
        ("cortex-m4", 'multiplier = "small"', "an option of the Cortex-M0 and M0+ alone"),
    ],
)
def test_a_wrong_multiplier_is_one_clear_error(
    tmp_path: Path, core: str, keys: str, says: str
) -> None:
    with pytest.raises(UserError) as error:
        load_board(_board(tmp_path, core, keys))
    assert says in str(error.value)
