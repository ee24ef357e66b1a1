"""pyOCD itself, with a probe whose other end is the simulator."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness_builds import Built, build

from ebnn.board.collect import NotCollected, collect
from ebnn.board.link import LinkFailed
from ebnn.board.pyocd_probe import open_pyocd
from ebnn.board.record import board_record
from ebnn.board.simulated import simulate
from ebnn.sim.errors import UserError

pytest.importorskip("pyocd", reason="pyOCD is not installed: pip install 'ebnn[board]'")

from pyocd.core.helpers import ConnectHelper
from pyocd.target import TARGET
from simulated_probe import SimulatedCore, SimulatedProbe, target_class

BOARD = "stm32f407-discovery"


@pytest.fixture(scope="module", params=["semihosting", "rtt"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("harness"), BOARD, output=request.param, count=4)


@pytest.fixture
def probe(built: Built, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedProbe]:
    board = built.harness.board(None)
    found = SimulatedProbe(SimulatedCore(built.harness, board))
    monkeypatch.setattr(ConnectHelper, "get_all_connected_probes", lambda **_: [found])
    monkeypatch.setitem(TARGET, "simulated_chip", target_class(board))
    yield found
    assert not found.is_open


def test_pyocd_flashes_and_hears_what_the_simulator_counts(
    built: Built, probe: SimulatedProbe
) -> None:
    board = built.harness.board(None)
    link = open_pyocd(built.harness, target="simulated_chip")
    try:
        collected = collect(link, built.harness, 10)
    finally:
        link.close()
    record = board_record(collected, built.harness, board, link.facts)
    assert record["probe"] == {
        "via": "pyocd",
        "at": "SIM0",
        "probe": "ebnn simulated probe",
        "target": "simulated_chip",
    }
    assert record["predictions"] == list(built.expected)
    _, machine = simulate(built.harness, board)
    region = machine.record().to_dict()["regions"]["ebnn_infer"]
    assert record["regions"]["ebnn_infer"]["cycles"] == region["cycles"]
    assert record["regions"]["ebnn_infer"]["count"] == 4


def test_a_probe_that_is_unplugged_is_told(built: Built, probe: SimulatedProbe) -> None:
    link = open_pyocd(built.harness, target="simulated_chip")
    heard = b""
    while b"@sample 0" not in heard:
        heard += link.read()
    probe.core.is_lost = True
    with pytest.raises(NotCollected, match=r"pyocd SIM0: lost \(the probe was unplugged\)"):
        collect(link, built.harness, 10)
    link.close()


def test_a_chip_without_that_flash_is_told(
    built: Built, probe: SimulatedProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ebnn.sim.board import load_board

    monkeypatch.setitem(TARGET, "simulated_chip", target_class(load_board("microbit-v1")))
    with pytest.raises(LinkFailed, match="--target"):
        open_pyocd(built.harness, target="simulated_chip")


def test_an_unknown_target_is_told(built: Built, probe: SimulatedProbe) -> None:
    with pytest.raises(LinkFailed, match=r"no_such_chip.*--target"):
        open_pyocd(built.harness, target="no_such_chip")


def test_no_probe_and_several_are_told(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    core = SimulatedCore(built.harness, built.harness.board(None))
    monkeypatch.setattr(ConnectHelper, "get_all_connected_probes", lambda **_: [])
    with pytest.raises(UserError, match="no debug probe is connected"):
        open_pyocd(built.harness)
    two = [SimulatedProbe(core, "A1"), SimulatedProbe(core, "B2")]
    monkeypatch.setattr(ConnectHelper, "get_all_connected_probes", lambda **_: two)
    with pytest.raises(UserError, match=r"several probes: A1 \(.*\), B2 \(.*\): choose with"):
        open_pyocd(built.harness)


def test_pyocd_missing_is_one_line(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyocd.core.helpers", None)
    with pytest.raises(UserError, match=re.escape("pip install 'ebnn[board]'")):
        open_pyocd(built.harness)


def test_a_uart_is_not_looked_for_with_a_probe(tmp_path: Path) -> None:
    built = build(tmp_path, BOARD, output="uart")
    with pytest.raises(UserError, match="build with --output rtt or semihosting"):
        open_pyocd(built.harness)


def test_a_pico_is_flashed_with_its_boot_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(tmp_path, "raspberry-pi-pico")
    board = built.harness.board(None)
    core = SimulatedCore(built.harness, board)
    monkeypatch.setattr(
        ConnectHelper, "get_all_connected_probes", lambda **_: [SimulatedProbe(core)]
    )
    monkeypatch.setitem(TARGET, "simulated_chip", target_class(board))
    link = open_pyocd(built.harness, target="simulated_chip")
    try:
        collected = collect(link, built.harness, 10)
    finally:
        link.close()
    stage = built.harness.elf.segments[0].data[:256]
    assert core.read_memory_block8(board.flash.address, 256) == list(stage)
    record = board_record(collected, built.harness, board, link.facts)
    assert record["predictions"] == list(built.expected)
    assert record["board"] == "raspberry-pi-pico@reset"
    assert (record["clock_hz"], record["clock_source"]) == (6_500_000, board.clock_source)
