"""A Dask cluster of two workers on this machine does a search, one of them killed, and verifies."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ebnn import checkpoint, workers
from ebnn.data import load_dataset
from ebnn.emulation import Firmware
from ebnn.inputs import encode_input, samples_of
from ebnn.lowered import lower
from ebnn.sim.board import load_board
from ebnn.sim.errors import UserError
from ebnn.verification import emulate
from ebnn.workers import worker_pool

distributed = pytest.importorskip("distributed")

TRIALS = 3
EBNN = [sys.executable, "-m", "ebnn.cli"]
DASK = [sys.executable, "-m", "dask"]


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = tmp_path_factory.mktemp("dask") / "scheduler.json"
    command = [*DASK, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with subprocess.Popen(
        [*command, "--scheduler-file", str(file)], stderr=subprocess.DEVNULL
    ) as process:
        while not file.exists() or not file.read_text():
            assert process.poll() is None
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"]
        process.terminate()


def worker(scheduler: str, name: str, folder: Path) -> subprocess.Popen[bytes]:
    command = [*DASK, "worker", scheduler, "--name", name, "--nthreads", "1", "--no-nanny"]
    command += ["--no-dashboard", "--local-directory", str(folder)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def busy(client: Any) -> bool:
    """Whether every worker has a task."""
    tasks = client.processing()
    return len(tasks) == 2 and all(tasks.values())


def test_a_search_loses_and_doubles_no_candidate_when_a_worker_is_killed(
    scheduler: str, tmp_path: Path
) -> None:
    started = [worker(scheduler, name, tmp_path) for name in ("one", "two")]
    try:
        with distributed.Client(scheduler, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
            folder = tmp_path / "search"
            command = [*EBNN, "search", "--dataset", "digits", "-b", "arduino-zero", "--ram", "4k"]
            command += ["--trials", str(TRIALS), "--epochs", "10", "--finalists", "1"]
            command += ["--cluster", scheduler, "-o", str(folder)]
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as search:
                while not busy(client):
                    assert search.poll() is None
                    time.sleep(0.02)
                started[0].kill()
                _, errors = search.communicate(timeout=240)
            assert search.returncode == 0, errors
            assert len(client.nthreads()) == 1
        found = json.loads((folder / "search.json").read_text())
        assert found["finished"] and found["count"]["proposed"] == TRIALS
        networks = [(one["architecture"], one["input"]) for one in found["candidates"]]
        assert len(set(networks)) == TRIALS
        assert all(bool(one["rungs"]) == one["fits"] for one in found["candidates"])
        (best,) = [one["network"] for one in found["candidates"] if one["network"]]
        assert best["passed"]
        verifies_alike(folder / best["folder"] / "model.safetensors", scheduler, tmp_path)
    finally:
        for process in started:
            process.terminate()
            process.wait()


def verifies_alike(model: Path, scheduler: str, folder: Path) -> None:
    """`ebnn verify` tells the same, to the cycle, on the cluster and on this machine."""
    out = folder / "verified"
    command = [*EBNN, "verify", str(model), "--dataset", "digits", "--board", "arduino-zero"]
    command += ["--out", str(out), "--json", str(folder / "records.json")]
    done = subprocess.run(
        [*command, "--cluster", scheduler], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (there,) = json.loads((folder / "records.json").read_text())
    network = lower(checkpoint.load(model))
    x = samples_of(load_dataset("digits").x_test, network.architecture.input)
    firmware = Firmware(out / "arduino-zero.elf", load_board("arduino-zero"), None)
    with worker_pool(1) as pool:
        here = emulate(pool, firmware, encode_input(x, network.architecture.input))
    assert here.predictions.tolist() == there["predictions"]
    assert {name: there[name] for name in here.record} == here.record


def test_a_cluster_without_scheduler_or_workers_is_named(
    scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_CONNECT_SECONDS", 2)
    for address, problem in ((scheduler, "has no worker"), ("tcp://127.0.0.1:9", "no scheduler")):
        with pytest.raises(UserError, match=problem), worker_pool(cluster=address):
            pass
