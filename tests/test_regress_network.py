"""`ebnn regress` on networks: flipped weights, other data and options, firmware that is wrong."""

from __future__ import annotations

import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ebnn import checkpoint, reference
from ebnn.architecture import InputSpec, parse
from ebnn.checkpoint import Checkpoint, CheckpointBlock, weight_shape
from ebnn.firmware import build_model
from ebnn.models import load_network
from ebnn.normalization import BatchNorm
from ebnn.regress import runner
from ebnn.regress.baseline import load_baseline
from ebnn.regress.disagreement import explain_disagreement
from ebnn.regress.measure import load_subject, measure
from ebnn.regress.outcome import Outcome
from ebnn.sim.board import load_board
from ebnn.workers import worker_pool

BOARD = "arduino-zero"
SPEC = InputSpec(1, 6, 6)
ARCHITECTURE = parse("conv3x3-4 pool2, fc-8, fc-4", SPEC)
SAMPLES = 30
BASELINE = f"""\
[entry.net]
model = "net.safetensors"
boards = ["{BOARD}"]
dataset = "data.npz"
samples = {SAMPLES}
ram = "4k"
"""


def lively_checkpoint() -> Checkpoint:
    """Random weights with thresholds in the middle of what the sums reach: every bit matters."""
    random = np.random.default_rng(3)
    blocks = []
    for index in range(len(ARCHITECTURE.blocks)):
        shape = weight_shape(ARCHITECTURE, index)
        weight = np.where(random.random(shape) < 0.5, 1, -1).astype(np.int8)
        sums = weight.reshape(len(weight), -1).sum(axis=1).astype(np.float32)
        ones = np.ones(shape[0], dtype=np.float32)
        mean = 127.5 * sums + 400 if index == 0 else 0 * sums
        norm = BatchNorm(gamma=ones, beta=0 * ones, mean=mean.astype(np.float32), variance=ones)
        blocks.append(CheckpointBlock(weight, norm))
    return Checkpoint(ARCHITECTURE, tuple(blocks))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that is right about two samples in three, and its baseline."""
    folder = tmp_path_factory.mktemp("network")
    checkpoint.save(lively_checkpoint(), folder / "net.safetensors")
    random = np.random.default_rng(5)
    x = random.integers(0, 256, (40, *SPEC.shape), dtype=np.uint8)
    golden = reference.run(load_network(folder / "net.safetensors"), x).predictions
    assert len(set(golden.tolist())) == 4
    labels = np.where(np.arange(len(x)) % 3 == 0, (golden + 1) % 4, golden)
    np.savez(folder / "data.npz", x_train=x, y_train=labels, x_test=x, y_test=labels)
    (folder / "ebnn-regress.toml").write_text(BASELINE)
    runner.update(folder / "ebnn-regress.toml")
    return folder


@pytest.fixture
def baseline(measured: Path, tmp_path: Path) -> Path:
    shutil.copytree(measured, tmp_path / "repository")
    return tmp_path / "repository" / "ebnn-regress.toml"


def check(baseline: Path) -> Outcome:
    (outcome,) = runner.check(baseline).outcomes
    return outcome


def edit(baseline: Path, old: str, new: str) -> None:
    text = baseline.read_text()
    assert old in text
    baseline.write_text(text.replace(old, new))


def flip(baseline: Path, block: int, *index: int) -> None:
    """Turn one weight of the checkpoint around."""
    path = baseline.parent / "net.safetensors"
    trained = checkpoint.load(path)
    weight = trained.blocks[block].weight.copy()
    weight[index] *= -1
    blocks = list(trained.blocks)
    blocks[block] = replace(blocks[block], weight=weight)
    checkpoint.save(replace(trained, blocks=tuple(blocks)), path)


def explained(outcome: Outcome) -> list[str]:
    return [line for one in outcome.explanations for line in one.lines]


def test_an_unchanged_network_passes(baseline: Path) -> None:
    outcome = check(baseline)
    assert (outcome.exit_code, outcome.failures, outcome.hints) == (0, [], [])
    assert {one.verdict for one in outcome.comparisons} == {"same"}


def test_the_baseline_holds_both_speeds_of_the_flash_and_the_predictions(baseline: Path) -> None:
    measured = tomllib.loads(baseline.read_text())["measured"]["net"][BOARD]
    (figures,) = measured.values()
    assert figures["accuracy"] == {"correct": 20, "samples": SAMPLES}
    assert figures["agreement"] == {"equal": SAMPLES, "samples": SAMPLES}
    fast, slow = figures["cycles"]["ebnn_infer"], figures["cycles_at_clock"]["ebnn_infer"]
    assert fast["max"] < slow["min"]
    assert "flash wait states" in figures["stalls_at_clock"]
    assert "flash wait states" not in figures["stalls"]


def test_a_flipped_weight_is_named_with_samples_layer_and_bit(baseline: Path) -> None:
    flip(baseline, 0, 2, 0, 1, 1)
    outcome = check(baseline)
    assert outcome.exit_code == 1
    cause = "weights changed in block 0 (conv3x3-4 pool2), output channel 2"
    assert outcome.failures[0] == cause
    lines = explained(outcome)
    first = next(line for line in lines if line.startswith("first layer that differs"))
    assert first.startswith("first layer that differs: block 0 (conv3x3-4 pool2), in sample ")
    bit = next(line for line in lines if line.startswith("first bit that differs in block 0"))
    assert re.search(r"channel 2, row \d, column \d: ([+-]1) -> (?!\1)[+-]1 \(\d+ of", bit)


def test_flipped_predictions_are_listed_and_counted(baseline: Path) -> None:
    for channel in range(4):
        for column in range(8):
            flip(baseline, 2, channel, column)  # the classifier says the opposite
    outcome = check(baseline)
    texts = " / ".join(outcome.failures)
    assert "weights changed in block 2 (fc-4), output channels 0, 1, 2, 3" in texts
    (changed,) = [one for one in outcome.comparisons if one.metric == "predictions"]
    assert changed.after and changed.verdict == "worse"
    lines = explained(outcome)
    assert any(line.startswith(f"samples that flipped: {changed.after}; ") for line in lines)
    rows = [line for line in lines if re.match(r"sample \d+, label \d: (\d) -> (?!\1)\d$", line)]
    assert len(rows) == min(8, changed.after)
    assert "no activation of a hidden layer differs there: it is the classifier" in lines


def test_a_retrained_network_is_held_to_its_accuracy_alone_where_that_is_asked(
    baseline: Path,
) -> None:
    edit(baseline, 'ram = "4k"', 'ram = "4k"\nallow = { changed = ["weights"], accuracy = "-90pt",'
         ' cycles = "+5%", ram = "+64", flash = "+64" }')  # fmt: skip
    flip(baseline, 2, 0, 0)
    outcome = check(baseline)
    assert outcome.exit_code == 0, outcome.failures
    assert any("weights changed in block 2" in hint for hint in outcome.hints)


def test_accuracy_fails_past_its_points(baseline: Path) -> None:
    """Labels are what they were; the network is not: two of thirty samples are 6.67 points."""
    from ebnn.regress.allowance import parse_allowances
    from ebnn.regress.compare import compare_figures

    was, now = ({"accuracy": {"correct": n, "samples": 30}} for n in (20, 18))
    for text, verdict in (("-6.6pt", "worse"), ("-6.67pt", "allowed"), ("-2", "allowed"),
                          ("-1", "worse")):  # fmt: skip
        allowances = parse_allowances("e", {"accuracy": text}, BOARD, "0")
        assert [one.verdict for one in compare_figures(was, now, allowances)] == [verdict], text


def test_a_changed_option_is_named(baseline: Path) -> None:
    edit(baseline, 'ram = "4k"', 'ram = "4k"\noptimize = "-O1"\nflags = ["-fno-inline"]')
    outcome = check(baseline)
    assert outcome.exit_code == 1
    assert "the entry's optimize changed: '-O3' -> '-O1'" in outcome.failures
    flags = "a compiler flag changed: -O3 -> -O1 -fno-inline"
    assert flags in outcome.failures
    assert any(line.startswith("cycles.ebnn_infer") for line in outcome.failures)
    assert any(line.startswith("ebnn_") and "instructions +" in line for line in explained(outcome))


def test_other_data_cannot_be_compared(baseline: Path) -> None:
    path = baseline.parent / "data.npz"
    with np.load(path) as file:
        arrays = {name: file[name].copy() for name in file.files}
    arrays["x_test"][3, 0, 0, 0] ^= 128
    np.savez(path, **arrays)
    outcome = check(baseline)
    assert "the data set changed (images): predictions cannot be compared" in outcome.failures
    assert "predictions" not in [one.metric for one in outcome.comparisons]


def test_changed_c_is_a_hint_where_figures_stay(baseline: Path) -> None:
    companion = baseline.with_name("ebnn-regress.explain.json")
    text = companion.read_text()
    ((kernel, digest),) = set(re.findall(r'"(head\w*\.c)": "(\w{8})"', text))
    companion.write_text(text.replace(f'"{kernel}": "{digest}"', f'"{kernel}": "00000000"'))
    outcome = check(baseline)
    assert (outcome.exit_code, outcome.hints) == (
        0,
        [f"the C that it is built from changed: {kernel}"],
    )


def test_firmware_that_differs_from_the_reference_is_led_to_the_first_bit(
    baseline: Path, tmp_path: Path
) -> None:
    """The build takes another network than the reference, as a wrong kernel would."""
    (entry,) = load_baseline(baseline).entries
    subject = load_subject(entry)
    for row in range(3):
        for column in range(3):
            flip(baseline, 0, 1, 0, row, column)
    other = load_network(baseline.parent / "net.safetensors")
    assert subject.evaluation is not None
    wrong = replace(subject, network=other)
    with worker_pool(1) as pool:
        found = measure(wrong, load_board(BOARD), tmp_path, pool)
    assert found.figures["agreement"]["equal"] < SAMPLES
    explanation = explain_disagreement(wrong, found, tmp_path)
    assert re.match(r"sample \d+: firmware (\d), reference (?!\1)\d", explanation.lines[0])
    first_bit = "first bit that differs: block 0 (conv3x3-4 pool2), channel 1, row "
    assert explanation.lines[1].startswith(first_bit)


def test_a_prebuilt_network_is_held_to_its_predictions(baseline: Path) -> None:
    folder = baseline.parent
    network = load_network(folder / "net.safetensors")
    build_model(network, load_board(BOARD), folder / "net.elf", folder / "c")
    baseline.write_text(
        f'[entry.image]\nelf = "net.elf"\nboards = ["{BOARD}"]\n'
        f'dataset = "data.npz"\nsamples = {SAMPLES}\n'
    )
    runner.update(baseline)
    assert check(baseline).exit_code == 0
    for channel in range(4):
        for column in range(8):
            flip(baseline, 2, channel, column)
    other = load_network(folder / "net.safetensors")
    build_model(other, load_board(BOARD), folder / "net.elf", folder / "c")
    outcome = check(baseline)
    assert any(line.startswith("predictions: ") for line in outcome.failures)
    assert any("other values in: " in hint and "block2_" in hint for hint in outcome.hints)


def test_a_model_that_does_not_fit_is_a_failed_budget(baseline: Path) -> None:
    edit(baseline, 'ram = "4k"', 'ram = "256"')
    outcome = check(baseline)
    assert outcome.exit_code == 1
    assert outcome.error is not None and "past --ram 256" in outcome.error
