"""An image without a board runs where it was linked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from random_networks import random_checkpoint

from ebnn.architecture import InputSpec, parse
from ebnn.firmware import build_model
from ebnn.lowered import lower
from ebnn.sim.board import load_board

BOARDS = ["nrf52840-dk", "stm32f407-discovery", "arduino-zero", "generic-m33"]


@pytest.mark.parametrize("name", BOARDS)
def test_an_image_for_any_chip_runs_without_naming_the_board(tmp_path: Path, name: str) -> None:
    network = lower(random_checkpoint(parse("fc-10", InputSpec(1, 4, 4)), 1))
    elf = tmp_path / "model.elf"
    build_model(network, load_board(name), elf, tmp_path / "c")
    done = subprocess.run(
        [sys.executable, "-m", "ebnn.sim", "run", str(elf), "--ram", "15k"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("class ")
