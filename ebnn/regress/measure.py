"""Runs what a baseline's entry names on one board, and takes every figure that the baseline holds.

Cycles are taken of all samples at zero wait states, and of a few with those of the board's flash;
where they went comes from one more run, profiled, of one sample or of the whole program.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebnn import reference
from ebnn.architecture import parse_input
from ebnn.data import NAMES, load_dataset
from ebnn.emulation import INPUT_SYMBOL, REGION, Firmware
from ebnn.firmware import build_model
from ebnn.inputs import encode_input, samples_of
from ebnn.lowered import LoweredNetwork
from ebnn.models import load_network
from ebnn.regress.baseline import Entry
from ebnn.regress.companion import Sections
from ebnn.regress.image import compile_flags, memory_symbols, toolchain
from ebnn.regress.network_facts import data_facts, digest, network_facts
from ebnn.regress.profiling import clocked_and_not, functions_of, profile_sample
from ebnn.sim import Machine
from ebnn.sim.board import Board
from ebnn.sim.core import MODEL_VERSION
from ebnn.sim.elf import Elf
from ebnn.sim.errors import UserError
from ebnn.toolchain.firmware import TOOLCHAIN_DIR
from ebnn.verification import emulate
from ebnn.workers import WorkerPool

_PREDICTIONS_A_LINE = 50


@dataclass(frozen=True)
class Subject:
    """What an entry measures on every board, loaded: samples (N, input_bytes), and a network's
    reference run of them."""

    entry: Entry
    network: LoweredNetwork | None = None
    evaluation: reference.Evaluation | None = None
    samples: NDArray[np.uint8] | None = None
    labels: NDArray[np.int64] | None = None
    facts: Sections = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """Figures as the baseline holds them, the companion's sections, and the run records."""

    board: Board
    toolchain: str
    figures: dict[str, Any]
    build: Sections
    record: dict[str, Any]
    elf: Elf
    predictions: NDArray[np.int64] | None = None


def load_subject(entry: Entry) -> Subject:
    """Load an entry's network and samples. Raises `UserError` where they cannot be had."""
    if entry.dataset is None:
        return Subject(entry)
    named = entry.dataset in NAMES
    dataset = load_dataset(entry.dataset if named else entry.folder / entry.dataset, entry.data_dir)
    x, labels = dataset.x_test[: entry.samples], dataset.y_test[: entry.samples]
    if entry.model is None:
        spec = parse_input(entry.input_kind, dataset.shape)
        samples = encode_input(samples_of(x, spec), spec)
        return Subject(entry, samples=samples, labels=labels, facts={"data": data_facts(x, labels)})
    network = load_network(entry.model)
    spec = network.architecture.input
    if x.shape[1:] != spec.sample_shape:
        raise UserError(
            f"{entry.dataset}: samples are {x.shape[1:]}, but {entry.model} takes"
            f" {spec.sample_shape} (channels, height, width)"
        )
    values = samples_of(x, spec)
    evaluation = reference.run(network, values, keep_activations=True)
    return Subject(
        entry,
        network,
        evaluation,
        encode_input(values, spec),
        labels,
        {"data": data_facts(x, labels), **network_facts(network, evaluation)},
    )


def measure(
    subject: Subject,
    board: Board,
    folder: Path,
    pool: WorkerPool,
    profiled: int | None = None,
) -> Measurement:
    """Every figure of `subject` on `board`; what it builds goes to `folder`.

    `profiled` is the sample to profile, by default the first of the slowest. Raises what
    the toolchain and the emulator raise: a missing compiler, a budget that does not hold, a fault.
    """
    entry = subject.entry
    path, sources = _image(subject, board, folder)
    firmware = Firmware(path, board, entry.ram_bytes)
    build: Sections = {"options": dict(entry.options())}
    figures: dict[str, Any] = {}
    predictions = None
    elf = Elf(path)
    if subject.samples is None:
        record = _run(firmware, entry, build, figures)
    else:
        _check_input(elf, subject.samples)
        run = emulate(pool, firmware, subject.samples)
        predictions, record = run.predictions, run.record
        figures["cycles"] = {REGION: _without_total(record["regions"][REGION]["cycles"])}
        if record["at_clock"]:
            figures["cycles_at_clock"] = {REGION: _without_total(record["at_clock"]["cycles"])}
        slowest = int(np.argmax(run.cycles))
        sample = slowest if profiled is None or profiled >= len(predictions) else profiled
        build["profiled"] = {"sample": sample}
        profile_sample(firmware, subject.samples[sample], build, figures)
        _count_predictions(subject, predictions, record, figures)
        build["predictions"] = _lines(predictions)
    memory = record["memory"]
    figures["ram"] = {
        "total": memory["ram"], **{kind: memory[kind] for kind in ("static", "heap", "stack")}
    }  # fmt: skip
    figures["flash"] = memory["flash"]
    build["machine"] = {"cycle model": MODEL_VERSION, **_board_facts(board)}
    build["flags"] = {str(index): flags for index, flags in enumerate(compile_flags(elf))}
    build["sources"] = sources
    build["stack"] = {
        str(index): [frame["function"], frame["frame_bytes"]]
        for index, frame in enumerate(memory["call_chain"])
    }
    build["memory"] = memory_symbols(elf, board)
    ordered = {name: figures[name] for name in _ORDER if name in figures}
    return Measurement(board, toolchain(elf), ordered, build, record, elf, predictions)


_ORDER = (
    "accuracy", "agreement", "exit_status", "cycles", "cycles_at_clock", "ram", "flash", "stalls",
    "stalls_at_clock",
)  # fmt: skip


_FIRMWARE_SOURCES = ("harness.c", "startup.c", "syscalls.c", "semihosting.c", "semihosting.h")
"""Of the toolchain's files those that go into a model's firmware."""


def _image(subject: Subject, board: Board, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The image to run, and a digest of each source that it was built from, where it was."""
    entry = subject.entry
    if subject.network is None:
        assert entry.elf is not None
        return entry.elf, {}
    elf, sources = folder / "model.elf", folder / "c"
    build_model(
        subject.network,
        board,
        elf,
        sources,
        entry.lowering,
        entry.optimize,
        entry.ram_bytes,
        flags=entry.flags,
    )
    files = [*sources.iterdir(), *(TOOLCHAIN_DIR / name for name in _FIRMWARE_SOURCES)]
    digests = {file.name: digest(file.read_bytes()) for file in files}
    return elf, dict(sorted(digests.items()))


def _check_input(elf: Elf, samples: NDArray[np.uint8]) -> None:
    elf.symbol(REGION)
    takes = elf.symbol(INPUT_SYMBOL).size_bytes
    if takes != samples.shape[1]:
        raise UserError(
            f"{elf.path}: {INPUT_SYMBOL} takes {takes:,} bytes, a sample has {samples.shape[1]:,}: "
            "choose the data set and input that it was built for"
        )


def _count_predictions(
    subject: Subject,
    predictions: NDArray[np.int64],
    record: dict[str, Any],
    figures: dict[str, Any],
) -> None:
    correct = int(np.sum(predictions == subject.labels))
    figures["accuracy"] = {"correct": correct, "samples": len(predictions)}
    record["predictions"] = [int(one) for one in predictions]
    record["accuracy"] = {"correct": correct, "total": len(predictions)}
    if subject.evaluation is not None:
        agreeing = int(np.sum(predictions == subject.evaluation.predictions))
        figures["agreement"] = {"equal": agreeing, "samples": len(predictions)}
        record["accuracy"]["agreement"] = agreeing


def _run(
    firmware: Firmware, entry: Entry, build: Sections, figures: dict[str, Any]
) -> dict[str, Any]:
    """The whole program, from reset to its exit, its regions measured."""
    record: dict[str, Any] = {}
    for suffix, board in clocked_and_not(firmware.board):
        machine = Machine(
            firmware.elf,
            board=board,
            ram_bytes=firmware.ram_bytes,
            regions=entry.regions,
            max_cycles=entry.max_cycles,
            output=io.StringIO(),
            errors=io.StringIO(),
            profile=True,
        )
        for name in entry.regions:
            machine.symbol(name)
        status = machine.run()
        regions = machine.regions()
        missing = [name for name in entry.regions if name not in regions]
        if missing:
            raise UserError(f"{entry.elf}: the region {missing[0]!r} did not run")
        figures[f"cycles{suffix}"] = {
            "program": {"total": machine.cycles},
            **{name: _without_total(regions[name]["cycles"]) for name in entry.regions},
        }
        figures[f"stalls{suffix}"] = dict(sorted(machine.stalls().items()))
        build[f"functions{suffix}"] = functions_of(machine.profile())
        if not record:
            record = machine.record().to_dict()
            figures["exit_status"] = status
        machine.close()
    return record


def _without_total(spread: Mapping[str, int]) -> dict[str, int]:
    return {key: spread[key] for key in ("min", "median", "max")}


def _lines(predictions: NDArray[np.int64]) -> dict[str, Any]:
    step = _PREDICTIONS_A_LINE
    return {
        str(at): [int(one) for one in predictions[at : at + step]]
        for at in range(0, len(predictions), step)
    }


def _board_facts(board: Board) -> dict[str, Any]:
    """What of a board decides cycles and fit."""
    facts = asdict(board)
    timing = facts.pop("flash_timing")
    for name in ("name", "title", "source", "profiles"):
        del facts[name]
    memories = {
        one["name"]: [one["kind"], one["address"], one["size_bytes"]]
        for one in facts.pop("memories")
    }
    return {**facts, **{f"memory {key}": value for key, value in memories.items()},
            **{f"flash {key}": value for key, value in timing.items()}}  # fmt: skip
