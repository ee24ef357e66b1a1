"""`check` and `update`: every entry on every board, against the baseline or into it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ebnn.files import write_whole
from ebnn.regress.baseline import Baseline, Entry, load_baseline
from ebnn.regress.baseline_text import drop, put
from ebnn.regress.companion import Companion, build_key, companion_path, load_companion
from ebnn.regress.disagreement import explain_disagreement
from ebnn.regress.image import memory_symbols
from ebnn.regress.judge import Job, judge
from ebnn.regress.measure import load_subject, measure
from ebnn.regress.outcome import Report
from ebnn.sim.board import Board, load_board
from ebnn.sim.elf import Elf
from ebnn.sim.errors import UserError
from ebnn.workers import WorkerPool, worker_pool

OnProgress = Callable[[str], None]


def check(
    path: Path,
    only: Sequence[str] = (),
    strict: bool = False,
    on_progress: OnProgress = lambda name: None,
) -> Report:
    """Measure what the baseline at `path` names and hold it against its figures.

    An entry that cannot be measured is an outcome with an error. Raises `UserError` where the
    baseline itself cannot be used.
    """
    baseline = load_baseline(path)
    companion = load_companion(companion_path(path))
    entries = _chosen(baseline, only)
    outcomes, records = [], {}
    with worker_pool() as pool:
        for job in _measure(entries, baseline, companion, pool, on_progress):
            outcomes.append(judge(job, baseline, companion))
            if job.measurement is not None:
                records[outcomes[-1].name] = job.measurement.record
    return Report(str(path), tuple(outcomes), tuple(_notes(baseline)), strict, records)


def update(
    path: Path,
    only: Sequence[str] = (),
    prune: bool = False,
    on_progress: OnProgress = lambda name: None,
) -> Report:
    """Measure what the baseline at `path` names and write the figures to it.

    The report is the check against what was there before. Nothing is written where an entry cannot
    be measured. `prune` removes the figures of other toolchains, and of entries and boards that are
    gone.
    """
    baseline = load_baseline(path)
    companion = load_companion(companion_path(path))
    entries = _chosen(baseline, only)
    before = Companion(dict(companion.builds), dict(companion.models))
    text, outcomes, kept, failed = baseline.text, [], set(), False
    with worker_pool() as pool:
        for job in _measure(entries, baseline, Companion(), pool, on_progress):
            outcomes.append(judge(job, baseline, before))
            if job.measurement is None or job.subject is None:
                failed = True
                continue
            name = (job.entry.name, job.board, job.measurement.toolchain)
            kept.add(name)
            text = put(text, *name, job.measurement.figures)
            companion.builds[build_key(*name)] = job.measurement.build
            companion.models[job.entry.name] = job.subject.facts
    report = Report(str(path), tuple(outcomes), tuple(_notes(baseline)))
    if failed:
        return report
    if prune:
        text = _prune(baseline, text, companion, entries, kept)
    write_whole(path, text.encode())
    write_whole(companion_path(path), companion.to_text().encode())
    return report


def _prune(
    baseline: Baseline,
    text: str,
    companion: Companion,
    entries: Sequence[Entry],
    kept: set[tuple[str, str, str]],
) -> str:
    """Drop what was not measured just now, but of entries that were left out on purpose."""
    left_out = {one.name for one in baseline.entries} - {one.name for one in entries}
    for entry, boards in baseline.measured.items():
        for board, toolchains in boards.items():
            for toolchain in toolchains:
                if entry not in left_out and (entry, board, toolchain) not in kept:
                    text = drop(text, entry, board, toolchain)
    names = {one.name for one in baseline.entries}
    for key in list(companion.builds):
        entry = key.split(" / ")[0]
        if entry not in left_out and key not in {build_key(*one) for one in kept}:
            del companion.builds[key]
    for entry in list(companion.models):
        if entry not in names:
            del companion.models[entry]
    return text


def _chosen(baseline: Baseline, only: Sequence[str]) -> list[Entry]:
    names = [entry.name for entry in baseline.entries]
    for name in only:
        if name not in names:
            raise UserError(f"{baseline.path}: no entry {name!r}: choose from {', '.join(names)}")
    return [entry for entry in baseline.entries if not only or entry.name in only]


def _notes(baseline: Baseline) -> Iterator[str]:
    boards = {entry.name: entry.boards for entry in baseline.entries}
    for entry, measured in baseline.measured.items():
        for board in measured:
            if board not in boards.get(entry, ()):
                yield f"{entry} on {board} has figures but no entry: `update --prune` drops them"


def _measure(
    entries: Sequence[Entry],
    baseline: Baseline,
    companion: Companion,
    pool: WorkerPool,
    on_progress: OnProgress,
) -> Iterator[Job]:
    for entry in entries:
        try:
            subject = load_subject(entry)
        except UserError as error:
            for name in entry.boards:
                yield Job(None, entry, name, error=error)
            continue
        for name in entry.boards:
            on_progress(f"{entry.name} on {name}")
            with tempfile.TemporaryDirectory(prefix="ebnn-regress-") as folder:
                yield _measure_one(
                    Job(subject, entry, name),
                    Path(folder),
                    pool,
                    _profiled(companion, baseline, entry.name, name),
                )


def _measure_one(job: Job, folder: Path, pool: WorkerPool, profiled: int | None) -> Job:
    assert job.subject is not None
    board: Board | None = None
    try:
        board = load_board(job.entry.board_path(job.board))
        found = measure(job.subject, board, folder, pool, profiled)
        explanation = explain_disagreement(job.subject, found, folder)
        return replace(job, measurement=found, explanation=explanation)
    except UserError as error:
        return replace(job, error=error, image=_image_of(job.entry, board, folder))


def _image_of(entry: Entry, board: Board | None, folder: Path) -> dict[str, Any] | None:
    """What takes memory in an image that could not be run to its end."""
    elf = entry.elf or folder / "model.elf"
    try:
        return memory_symbols(Elf(elf), board) if board is not None else None
    except UserError:
        return None


def _profiled(companion: Companion, baseline: Baseline, entry: str, board: str) -> int | None:
    """The sample that the baseline profiled; the last toolchain's, where there are several."""
    for toolchain in reversed(list(baseline.of(entry, board))):
        build = companion.builds.get(build_key(entry, board, toolchain), {})
        sample = build.get("profiled", {}).get("sample")
        if isinstance(sample, int) and sample >= 0:
            return sample
    return None
