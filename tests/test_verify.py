"""`ebnn verify` on a small network: the whole chain below training, with real compilers."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from in_process import run_ebnn
from random_networks import random_checkpoint, random_samples

from ebnn import checkpoint, emulation
from ebnn.architecture import InputSpec, parse
from ebnn.firmware import build_model
from ebnn.inputs import encode_input
from ebnn.lowered import lower
from ebnn.sim import board
from ebnn.sim.core import MODEL_VERSION
from ebnn.verification import emulate, stage
from ebnn.workers import worker_pool

ARCHITECTURE = parse("conv3x3-8 pool2, conv3x3-12, fc-10", InputSpec(1, 8, 8))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    checkpoint.save(random_checkpoint(ARCHITECTURE, 4), path)
    return path


def verify(model: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return run_ebnn("verify", model, "--dataset", "digits", "--samples", "60", *more)


@pytest.fixture(scope="module")
def records(model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    output = tmp_path_factory.mktemp("records") / "records.json"
    boards = ["--board", "generic-m4f", "--board", "generic-m0plus"]
    done = verify(model, *boards, "--ram", "15k", "--json", str(output))
    assert done.returncode == 0, done.stderr
    assert "correct of 60" in done.stdout
    assert re.search(rf"cycle model, version +{MODEL_VERSION} +{MODEL_VERSION} ", done.stdout)
    assert re.search(r"mean error, 0 wait states +[\d.]+ % +[\d.]+ % ", done.stdout)
    found: list[dict[str, Any]] = json.loads(output.read_text())
    return found


def test_every_prediction_agrees_on_both_cores(records: list[dict[str, Any]]) -> None:
    assert [record["core"] for record in records] == ["cortex-m4f", "cortex-m0plus"]
    for record in records:
        assert record["accuracy"]["agreement"] == record["accuracy"]["total"] == 60
        assert len(record["predictions"]) == 60
    assert records[0]["predictions"] == records[1]["predictions"]


def test_records_hold_the_schema(records: list[dict[str, Any]]) -> None:
    schema = json.loads(Path(board.__file__).with_name("record.schema.json").read_text())
    for record in records:
        jsonschema.validate(record, schema)


def test_cycles_are_instructions_plus_stalls(records: list[dict[str, Any]]) -> None:
    for record in records:
        assert record["cycles"] == record["instructions"] + sum(record["stalls"].values())


def test_the_region_counts_each_sample_once(records: list[dict[str, Any]]) -> None:
    for record in records:
        region = record["regions"]["ebnn_infer"]
        assert region["count"] == 60
        cycles = region["cycles"]
        assert 0 < cycles["min"] <= cycles["median"] <= cycles["max"]
        assert 60 * cycles["min"] <= cycles["total"] <= 60 * cycles["max"]


def test_ram_is_the_sum_of_its_kinds_and_one_byte_less_fails_by_name(
    model: Path, records: list[dict[str, Any]]
) -> None:
    for record in records:
        memory = record["memory"]
        assert memory["ram"] == memory["static"] + memory["heap"] + memory["stack"]
        name = record["board"]
        enough = verify(model, "--board", name, "--ram", str(memory["ram"]))
        assert enough.returncode == 0, enough.stderr
        short = verify(model, "--board", name, "--ram", str(memory["ram"] - 1))
        assert short.returncode == 1
        assert re.search(r"in \w+ \(.*\): 1 byte past --ram", short.stderr), short.stderr
        assert "Traceback" not in short.stderr


def test_the_papers_figure_is_held_to_the_byte(model: Path) -> None:
    reference = ("--board", "generic-m0", "--lowering", "reference", "--json", "-")
    (record,) = json.loads(verify(model, *reference).stdout)
    figure = record["paper"]["parameters"] + record["paper"]["temporaries"]
    short = verify(model, *reference, "--paper-memory", str(figure - 1))
    assert short.returncode == 1
    assert short.stderr.endswith(
        f"{figure:,} bytes of parameters and temporaries on generic-m0, 1 too many\n"
    )


def test_samples_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    checkpoint.save(random_checkpoint(parse("fc-10", InputSpec(1, 28, 28)), 1), path)
    done = verify(path, "--board", "generic-m4f")
    assert done.returncode == 2
    assert "(1, 8, 8)" in done.stderr


@pytest.mark.parametrize("kind", ["float", "bits", "bits:64,192"])
def test_a_trained_network_of_another_input_keeps_its_accuracy_in_the_emulator(
    tmp_path: Path, kind: str
) -> None:
    """Training and firmware must be fed the same: floats from 0 to 1, or bits."""
    path, records = tmp_path / "m.safetensors", tmp_path / "r.json"
    options = ["--arch", "conv3x3-8 pool2, fc-10", "--input", kind, "--epochs", "10", "--json"]
    trained = run_ebnn("train", "--dataset", "digits", *options, "--out", path)
    assert trained.returncode == 0, trained.stderr
    done = verify(path, "--board", "generic-m4f", "--samples", "1000", "--json", str(records))
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(records.read_text())
    assert (
        record["accuracy"]["correct"]
        == json.loads(trained.stdout)["networks"][0]["test"]["correct"]
    )


def test_agreement_is_counted_against_numpy_and_accuracy_against_the_labels() -> None:
    golden = np.array([1, 2, 3])
    found = stage("x", np.array([1, 2, 4]), np.array([1, 0, 4]), golden)
    assert (found.correct, found.agreeing, found.total) == (2, 2, 3)


def test_a_record_does_not_depend_on_how_many_processes_share_the_samples(tmp_path: Path) -> None:
    architecture = parse("conv3x3-3 pool2, fc-4", InputSpec(1, 6, 6))
    board_of = board.load_board("arduino-zero")
    elf = tmp_path / "model.elf"
    build_model(lower(random_checkpoint(architecture, 5)), board_of, elf, tmp_path / "c")
    x = random_samples(architecture.input, 3 * emulation.CHUNK_SAMPLES, seed=6)
    samples = encode_input(x, architecture.input)
    records = []
    for workers in (1, 3):
        with worker_pool(workers) as pool:
            run = emulate(pool, emulation.Firmware(elf, board_of, None), samples)
            records.append(run.record)
    assert records[0] == records[1]
    assert records[0]["cycles"] == records[0]["instructions"] + sum(records[0]["stalls"].values())
    assert records[0]["cycles"] >= records[0]["regions"]["ebnn_infer"]["cycles"]["total"]
