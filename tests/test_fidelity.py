"""The stated error of the cycle model is the one that its published figures give."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebnn.sim.board import load_board
from ebnn.sim.core import CORES
from ebnn.sim.published import model_error, published_boards

_PAGE = (Path(__file__).parents[1] / "docs" / "fidelity.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("core", "mean_percent", "worst_percent"),
    [
        ("cortex-m0", 0.2, 1.0),
        ("cortex-m0plus", 0.1, 1.0),
        ("cortex-m3", 1.5, 5.0),
        ("cortex-m4", 0.5, 2.0),
    ],
)
def test_error_against_published_boards_is_not_above_what_was_reached(
    core: str, mean_percent: float, worst_percent: float
) -> None:
    error = published_boards()[core].error
    assert error.mean_percent <= mean_percent
    assert error.worst_percent <= worst_percent


def test_hand_written_code_on_m3_is_closer_than_compiled_code() -> None:
    board = published_boards()["cortex-m3"]
    assert board.error_of("assembly").mean_percent <= 1.0
    assert board.error_of("compiled").mean_percent <= 2.0


@pytest.mark.parametrize(
    ("core", "wait_states", "board", "mean_percent", "worst_percent"),
    [
        ("cortex-m0", 1, "stm32f0-discovery", 0.5, 1.0),
        ("cortex-m3", 2, "nucleo-f103rb", 4.0, 8.0),
        ("cortex-m4f", 5, "stm32f407-discovery", 4.0, 4.0),
    ],
)
def test_error_at_wait_states_is_stated_for_the_board_that_was_measured(
    core: str, wait_states: int, board: str, mean_percent: float, worst_percent: float
) -> None:
    error = model_error(core, 0, wait_states, board)
    assert error is not None
    assert error.mean_percent <= mean_percent
    assert error.worst_percent <= worst_percent
    assert load_board(board).flash_timing.wait_states == wait_states
    assert model_error(core, 0, wait_states + 1, board) is None
    assert model_error(core, 0, wait_states, "generic-m4f") is None


def test_stated_error_leaves_out_counts_that_were_not_measured() -> None:
    board = published_boards()["cortex-m0plus"]
    measured = [one for one in board.measurements if one.group == "assembly"]
    assert board.error.measurements == len(measured) < len(board.measurements)


@pytest.mark.parametrize("core", ["cortex-m7", "cortex-m33"])
def test_core_without_a_measurement_states_no_error(core: str) -> None:
    assert core in CORES
    assert model_error(core, 0) is None


def test_the_error_is_stated_only_for_the_board_parameter_it_was_measured_with() -> None:
    assert model_error("cortex-m4f", 0) == published_boards()["cortex-m4"].error
    assert model_error("cortex-m4f", 1) is None
    assert model_error("cortex-m3", 0) == published_boards()["cortex-m3"].error


def test_fidelity_page_shows_every_published_figure_and_its_error() -> None:
    for board in published_boards().values():
        for one in board.measurements:
            simulated = (one.simulated_cycles + one.harness_cycles) / one.runs
            figures = f"{one.published_cycles:.9g} | {simulated:.9g} | {one.error_percent:+.2f} %"
            assert f"| {one.program} | {figures} | {one.board} | {one.source} |" in _PAGE
        for group in board.groups:
            error = board.error_of(group)
            figures = f"mean {error.mean_percent:.2f} %, worst {error.worst_percent:.2f} %"
            assert f"{group}: {error.measurements} programs, {figures}" in _PAGE
        error = board.error
        assert f"mean {error.mean_percent:.2f} %, worst {error.worst_percent:.2f} %" in _PAGE
