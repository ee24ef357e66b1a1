"""Where the cycles of one inference went, by function and by cause of the stalls."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebnn.emulation import INPUT_SYMBOL, REGION, Firmware
from ebnn.regress.companion import Sections
from ebnn.sim import Machine
from ebnn.sim.board import Board
from ebnn.sim.profile import Profile


def clocked_and_not(board: Board) -> list[tuple[str, Board]]:
    """The board at zero wait states, and as it is where that differs, with the figures' suffix."""
    found = [("", board.without_wait_states())]
    if board.flash_timing.wait_states:
        found.append(("_at_clock", board))
    return found


def profile_sample(
    firmware: Firmware,
    sample: NDArray[np.uint8],
    build: Sections,
    figures: dict[str, Any],
) -> None:
    """Where the cycles of one inference went, boot and the call from outside left out."""
    for suffix, board in clocked_and_not(firmware.board):
        machine = Machine(
            firmware.elf,
            board=board,
            ram_bytes=firmware.ram_bytes,
            output=io.StringIO(),
            profile=True,
        )
        machine.run_until("main")
        before, stalls_before = functions_of(machine.profile()), machine.stalls()
        address = machine.symbol(INPUT_SYMBOL).address
        machine.write(address, sample.tobytes())
        machine.call(REGION, address, 0)
        build[f"functions{suffix}"] = _difference(before, functions_of(machine.profile()))
        figures[f"stalls{suffix}"] = _less(machine.stalls(), stalls_before)
        machine.close()


def functions_of(profile: Profile) -> dict[str, dict[str, Any]]:
    """By name: own cycles, calls, instructions and stalls by cause."""
    return {
        one.name: {
            "cycles": one.self_cycles,
            "calls": one.calls,
            "instructions": one.instructions,
            "stalls": one.stalls,
        }
        for one in profile.functions
    }


def _difference(
    before: Mapping[str, dict[str, Any]], after: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    nothing: dict[str, Any] = {"cycles": 0, "calls": 0, "instructions": 0, "stalls": {}}
    found = {}
    for name, now in after.items():
        was = before.get(name, nothing)
        took: dict[str, Any] = {
            key: now[key] - was[key] for key in ("cycles", "calls", "instructions")
        }
        if any(took.values()):
            found[name] = {**took, "stalls": _less(now["stalls"], was["stalls"])}
    return dict(sorted(found.items(), key=lambda item: (-item[1]["cycles"], item[0])))


def _less(now: Mapping[str, int], was: Mapping[str, int]) -> dict[str, int]:
    causes = sorted({*now, *was})
    return {one: n for one in causes if (n := now.get(one, 0) - was.get(one, 0))}
