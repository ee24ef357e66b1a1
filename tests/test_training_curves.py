"""A run's curves, as SVG and in TensorBoard, are those of its log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from in_process import run_ebnn

from ebnn.training_log import read_log

SVG = "{http://www.w3.org/2000/svg}"


def run(output: Path, *more: str) -> None:
    network = ["--dataset", "digits", "--arch", "conv3x3-8 pool2, fc-10", "--epochs", "3"]
    done = run_ebnn("train", *network, "-o", output, *more)
    assert done.returncode == 0, done.stderr


def test_the_picture_has_a_point_for_each_epoch_of_each_seed(tmp_path: Path) -> None:
    run(tmp_path / "m.safetensors", "--seeds", "2", "--plot", str(tmp_path / "m.svg"))
    root = ElementTree.parse(tmp_path / "m.svg").getroot()
    curves = [line.get("points", "").split() for line in root.iter(f"{SVG}polyline")]
    assert [len(points) for points in curves] == [3] * 6  # loss, training, held out of two seeds
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "m-seed0" in texts and "m-seed1" in texts
    # Further down is less: the loss falls as the log says.
    losses = [line["loss"] for line in read_log(tmp_path / "m-seed0.jsonl").epochs]
    heights = [float(point.split(",")[1]) for point in curves[0]]
    assert sorted(range(3), key=lambda i: -losses[i]) == sorted(range(3), key=lambda i: heights[i])


def test_without_held_out_samples_their_curve_is_empty(tmp_path: Path) -> None:
    more = ("--validation", "0", "--plot", str(tmp_path / "m.svg"))
    run(tmp_path / "m.safetensors", *more)
    assert read_log(tmp_path / "m.jsonl").end["validation"] is None  # type: ignore[index]
    root = ElementTree.parse(tmp_path / "m.svg").getroot()
    assert [line.get("points") for line in root.iter(f"{SVG}polyline")][2] == ""


def test_tensorboard_reads_the_logs_figures(tmp_path: Path) -> None:
    event_file_loader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    run(tmp_path / "m.safetensors", "--tensorboard", str(tmp_path / "board"))
    events = event_file_loader.EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    for name in ("loss", "training_accuracy", "validation_accuracy"):
        expected = [(line["epoch"], line[name]) for line in read_log(tmp_path / "m.jsonl").epochs]
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert [value for _, value in found] == pytest.approx([value for _, value in expected])


def test_without_tensorboard_the_option_says_how_to_get_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['tensorboard'] = None\n"
        "from ebnn.cli import main\nsys.argv[0] = 'ebnn'; sys.exit(main())"
    )
    more = ["train", "--dataset", "digits", "--arch", "fc-10", "--tensorboard", str(tmp_path)]
    command = [sys.executable, "-c", code, *more, "-o", str(tmp_path / "m")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "pip install 'ebnn[tensorboard]'" in done.stderr
    assert not (tmp_path / "m").exists()
