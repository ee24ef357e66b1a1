"""`ebnn bench` prints what it measured, beside what it must meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebnn import simulator_benchmark
from ebnn.benchmarks import Figure


def test_a_figure_is_held_against_its_bound_in_the_right_direction() -> None:
    assert Figure("speed", 0.9, "ratio", must=0.85, at_least=True).ok
    assert not Figure("speed", 0.8, "ratio", must=0.85, at_least=True).ok
    assert Figure("bytes", 10, "bytes", must=10).ok
    assert not Figure("bytes", 11, "bytes", must=10).ok
    assert Figure("cycles", 10**9, "cycles").ok


def test_the_simulators_benchmark_measures_every_way_of_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator_benchmark, "_ROUNDS", 1)
    monkeypatch.setattr(simulator_benchmark, "_STARTS", 1)
    monkeypatch.setattr(simulator_benchmark, "_INFERENCES", 2)
    monkeypatch.setattr(simulator_benchmark, "_IMAGES", 4)
    figures = {figure.name: figure for figure in simulator_benchmark.simulator(tmp_path)}
    for core in ("M4F", "M0+"):
        counted = figures[f"{core}: cycles counted / bare"]
        assert (counted.must, counted.aim) == (0.85, 0.92)
        assert 0 < counted.value < 10
        assert 0 < figures[f"{core}: cycles counted / bare with fast stores"].value < 10
        assert figures[f"{core}: bare Unicorn"].value > 1
        assert figures[f"{core}: 4 images on two processes"].must == 15.0
    assert figures["M4F: 3 flash wait states / bare"].value < 1
    assert figures["overhead of Machine.call"].value > 0
    assert figures["start to first instruction"].value > 0
