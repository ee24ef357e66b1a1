"""`ebnn search` end to end on a small data set: measured limits, a verified front, resumption."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

from ebnn import checkpoint, lowered, reference
from ebnn.data import load_dataset
from ebnn.search.footprint import Limits, assess
from ebnn.search.history import open_history
from ebnn.search.interrupts import interrupts_held, interrupts_noted
from ebnn.search.space import Space
from ebnn.sim import board
from ebnn.sim.errors import UserError

TRIALS = 4
LIMITS = ["--ram", "4k", "--paper-memory", "2k", "--latency", "190us"]
SHORT = ["--trials", str(TRIALS), "--epochs", "10", "--finalists", "1", "--workers", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the digits as a file, which is quicker to read than to ask scikit-learn for."""
    digits = load_dataset("digits")
    path = tmp_path_factory.mktemp("data") / "some.npz"
    np.savez(
        path,
        x_train=digits.x_train[:900],
        y_train=digits.y_train[:900],
        x_test=digits.x_test[:100],
        y_test=digits.y_test[:100],
    )
    return path


def command(data: Path, *options: str) -> list[str]:
    start = [sys.executable, "-m", "ebnn.cli", "search", "-b", "arduino-zero"]
    return [*start, "--dataset", str(data), *options]


def run(data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(data, *options), capture_output=True, text=True, check=False)


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "search.json").read_text())
    return found


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search that nothing interrupted."""
    folder = tmp_path_factory.mktemp("search") / "whole"
    done = run(data, *LIMITS, *SHORT, "-o", str(folder))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert f"{TRIALS} candidates within ram 4,096 bytes, paper 2,048 bytes" in done.stdout
    return folder


def test_what_does_not_fit_by_measured_figures_is_not_trained(whole: Path) -> None:
    found = results(whole)
    assert found["finished"] and found["count"]["proposed"] == TRIALS
    assert [one["number"] for one in found["candidates"]] == list(range(TRIALS))
    assert {one["fits"] for one in found["candidates"]} == {True, False}
    limits = found["limits"]
    for one in found["candidates"]:
        taken = [(one[name], limit) for name, limit in limits.items() if limit is not None]
        assert one["fits"] == all(value is not None and value <= limit for value, limit in taken)
        assert bool(one["rungs"]) == one["fits"]
        assert one["fits"] or "--latency: 0." in one["reason"]


def test_the_front_has_no_network_that_another_beats(whole: Path) -> None:
    found = results(whole)
    figures = {
        one["number"]: (-one["validation"]["accuracy"], one["paper_bytes"], one["cycles"])
        for one in found["candidates"]
        if one["fits"]
    }
    for one in found["candidates"]:
        if not one["fits"]:
            continue
        own = figures[one["number"]]
        beaten = any(
            other != own and all(a <= b for a, b in zip(other, own, strict=True))
            for other in figures.values()
        )
        assert (one in found["front"]) == (not beaten)


def test_the_best_third_is_trained_for_longer(whole: Path) -> None:
    fitting = [one for one in results(whole)["candidates"] if one["fits"]]
    longer = [one for one in fitting if len(one["rungs"]) > 1]
    assert len(fitting) == 3 and len(longer) == 1
    first = [one["rungs"][0]["correct"] for one in fitting]
    assert longer[0]["rungs"][0]["correct"] == max(first)
    assert [rung["epochs"] for rung in longer[0]["rungs"]] == results(whole)["rung_epochs"]


def test_the_fronts_network_is_verified_and_kept_with_its_record(data: Path, whole: Path) -> None:
    found = results(whole)
    line = found["front"][0]
    network = line["network"]
    assert network["exact"] and network["passed"] and network["reason"] is None
    folder = whole / network["folder"]
    record = json.loads((folder / "arduino-zero.json").read_text())
    schema = json.loads(Path(board.__file__).with_name("record.schema.json").read_text())
    jsonschema.validate(record, schema)
    assert record["memory"]["ram"] == line["ram_bytes"] <= found["limits"]["ram_bytes"]
    assert record["memory"]["flash"] == line["flash_bytes"]
    assert sum(record["paper"].values()) == line["paper_bytes"]
    assert record["at_clock"]["cycles"]["max"] == line["cycles"]
    assert record["lowering"] == {"name": "fast", "objective": line["objective"]}
    trained = checkpoint.load(folder / "model.safetensors")
    assert str(trained.architecture) == line["architecture"]
    assert trained.metadata["validation"] == "0.0"  # on all training samples
    dataset = load_dataset(data)
    integers = lowered.load(folder / "model.lowered")
    predictions = reference.run(integers, dataset.x_test).predictions
    assert record["predictions"] == predictions.tolist()
    correct = int(np.sum(predictions == dataset.y_test))
    assert network["test"] == {
        "correct": correct,
        "total": len(dataset.y_test),
        "accuracy": correct / len(dataset.y_test),
    }


def test_the_picture_and_the_page_show_every_trained_network_and_the_budget(whole: Path) -> None:
    found = results(whole)
    svg = ElementTree.parse(whole / "search.svg").getroot()
    name = "{http://www.w3.org/2000/svg}"
    titles = [one.findtext(f"{name}title") or "" for one in svg.iter(f"{name}circle")]
    assert len(titles) == found["count"]["trained"]
    assert any(found["front"][0]["architecture"] in title for title in titles)
    assert "budget 2,048" in [text.text for text in svg.iter(f"{name}text")]
    page = (whole / "search.html").read_text()
    assert all(line["architecture"] in page for line in found["front"])
    assert "<svg" in page and "<script" not in page and "href=" not in page


def without_times(value: Any) -> Any:
    """Results without what depends on the clock, the paths and the command line."""
    if isinstance(value, dict):
        left = value.keys() - {"seconds", "command"}
        return {name: without_times(value[name]) for name in sorted(left)}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def finished_trials(storage: Path) -> int:
    if not storage.exists():
        return 0
    try:
        with sqlite3.connect(storage) as database:
            (count,) = database.execute(
                "SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'"
            ).fetchone()
            return int(count)
    except sqlite3.OperationalError:  # no table yet
        return 0


def wait_for(count: int, storage: Path, process: subprocess.Popen[str]) -> None:
    while finished_trials(storage) < count:
        assert process.poll() is None, "ended before it could be stopped"
        time.sleep(0.02)


def children(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def refusal(storage: Path) -> str:
    """What another search in the same file is told."""
    space = Space((1, 8, 8), 10)
    with (
        pytest.raises(UserError) as caught,
        open_history(storage, space, {"dataset": "other"}, 0, uses_paper=True),
    ):
        pass
    return str(caught.value)


def test_a_killed_search_goes_on_to_the_front_of_an_uninterrupted_one(
    data: Path, whole: Path, tmp_path: Path
) -> None:
    folder, storage = tmp_path / "killed", tmp_path / "search.db"
    options = [*LIMITS, *SHORT, "-o", str(folder), "--storage", str(storage)]
    with subprocess.Popen(command(data, *options), text=True) as process:
        wait_for(1, storage, process)
        assert "another search is at work on it" in refusal(storage)
        workers = children(process.pid)
        process.send_signal(signal.SIGKILL)
    assert workers
    until = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < until, "workers outlive the search that was killed"
        time.sleep(0.05)
    assert "is of a search with board arduino-zero, not None: give the same" in refusal(storage)
    with subprocess.Popen(
        command(data, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for(2, storage, process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors == "interrupted\n"
    assert not results(folder)["finished"]
    done = run(data, *options)
    assert done.returncode == 0, done.stderr
    assert without_times(results(folder)) == without_times(results(whole))


def test_an_interrupt_waits_for_the_end_of_the_databases_work() -> None:
    done: list[int] = []

    @interrupts_held()
    def work(number: int) -> None:
        signal.raise_signal(signal.SIGINT)
        done.append(number)

    for number in range(2):
        with pytest.raises(KeyboardInterrupt), interrupts_noted():
            work(number)
    assert done == [0, 1]


def test_an_interrupt_within_a_finalizer_is_not_printed_and_comes_again() -> None:
    class Connection:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    printed: list[object] = []
    with (
        patch.object(sys, "unraisablehook", printed.append),
        pytest.raises(KeyboardInterrupt),
        interrupts_noted() as check,
    ):
        Connection()  # let go at once
        assert not printed
        check()


def test_a_budget_that_nothing_keeps_is_refused_before_any_training(
    data: Path, tmp_path: Path
) -> None:
    done = run(data, "--paper-memory", "200", *SHORT, "-o", str(tmp_path / "s"))
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: no network of this space fits 200 bytes; the smallest needs [\d,]+ of parameters"
        r" and temporaries \(.+\): raise --paper-memory\n",
        done.stderr,
    ), done.stderr
    assert finished_trials(tmp_path / "s" / "search.db") == 0


def test_the_smaller_lowering_is_taken_where_the_faster_one_is_a_byte_too_large() -> None:
    space = Space((1, 28, 28), 10)
    network = space.network(next(space.ladder()))
    assert network is not None
    m4, limits, found = board.load_board("generic-m4f"), Limits(), []
    for _ in range(3):
        taken = assess(network, m4, limits)
        assert taken.footprint is not None and taken.fits
        found.append(taken.footprint)
        limits = Limits(ram_bytes=taken.footprint.ram_bytes - 1)
    assert [one.objective for one in found] == ["cycles", "flash", "ram"]
    assert found[0].cycles < found[1].cycles and found[1].flash_bytes < found[2].flash_bytes


def test_the_smaller_lowering_of_a_signal_takes_less_ram_and_more_cycles() -> None:
    space = Space((2, 1, 64), 4)
    network = space.network(list(space.ladder())[2])
    assert network is not None
    m4 = board.load_board("generic-m4f")
    fast = assess(network, m4, Limits()).footprint
    assert fast is not None and fast.objective == "cycles"
    less = assess(network, m4, Limits(ram_bytes=fast.ram_bytes - 1))
    assert less.footprint is not None and less.fits
    assert less.footprint.objective == "flash"
    assert less.footprint.ram_bytes < fast.ram_bytes
    assert less.footprint.cycles > fast.cycles


def test_a_missing_optuna_is_named_with_what_to_install(data: Path, tmp_path: Path) -> None:
    script = "import sys; sys.modules['optuna'] = None; from ebnn.cli import main; sys.exit(main())"
    arguments = command(data, *SHORT, "-o", str(tmp_path))[3:]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "error: ebnn search needs Optuna: pip install 'ebnn[search]'\n"
