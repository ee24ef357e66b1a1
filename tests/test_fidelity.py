"""The stated error of the cycle model is the one that its published figures give."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebnn.sim.core import CORES
from ebnn.sim.published import model_error, published_boards

_PAGE = (Path(__file__).parents[1] / "docs" / "fidelity.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("core", "mean_percent", "worst_percent"),
    [("cortex-m0plus", 0.1, 1.0), ("cortex-m3", 1.5, 5.0), ("cortex-m4", 1.5, 5.0)],
)
def test_error_against_published_boards_is_within_the_aim(
    core: str, mean_percent: float, worst_percent: float
) -> None:
    error = published_boards()[core].error
    assert error.mean_percent <= mean_percent
    assert error.worst_percent <= worst_percent


@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m7", "cortex-m33"])
def test_core_without_a_measurement_states_no_error(core: str) -> None:
    assert core in CORES
    assert model_error(core, 0) is None


def test_the_error_is_stated_only_for_the_board_parameter_it_was_measured_with() -> None:
    assert model_error("cortex-m4f", 1) == published_boards()["cortex-m4"].error
    assert model_error("cortex-m4f", 0) is None
    assert model_error("cortex-m3", 0) == published_boards()["cortex-m3"].error


def test_fidelity_page_shows_every_published_figure_and_its_error() -> None:
    for board in published_boards().values():
        for one in board.measurements:
            row = f"| {one.program} | {one.published_cycles:g} |"
            row = row if one.published_cycles < 1e6 else f"| {one.program} | 3229950 |"
            lines = [line for line in _PAGE.splitlines() if line.startswith(row)]
            assert any(f"{one.error_percent:+.2f} %" in line for line in lines), row
        error = board.error
        assert f"mean {error.mean_percent:.2f} %, worst {error.worst_percent:.2f} %" in _PAGE
