"""What came of one entry on one board, against the baseline: an `Outcome`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ebnn.regress.baseline import Baseline, Entry
from ebnn.regress.baseline_text import entry_header, header
from ebnn.regress.companion import Companion, build_key, companion_path
from ebnn.regress.compare import (
    changed_weights,
    compare_figures,
    compare_predictions,
    find_causes,
)
from ebnn.regress.explain import Current, explain, explain_ram
from ebnn.regress.measure import Measurement, Subject
from ebnn.regress.outcome import Cause, Explanation, Outcome
from ebnn.sim.elf import Elf
from ebnn.sim.errors import UserError
from ebnn.sim.lines import source_line


@dataclass(frozen=True)
class Job:
    """One entry on one board, as the baseline names it; `error` instead where it failed."""

    subject: Subject | None
    entry: Entry
    board: str
    measurement: Measurement | None = None
    explanation: Explanation | None = None
    error: UserError | None = None
    image: dict[str, Any] | None = None


def judge(job: Job, baseline: Baseline, companion: Companion) -> Outcome:
    """Hold what was measured against the figures of the same toolchain, else of the last one.

    Raises `UserError` where the baseline's figures are not what `update` writes.
    """
    entry, board = job.entry, job.board
    measured = baseline.of(entry.name, board)
    line = baseline.line_of(entry_header(entry.name))
    outcome = Outcome(entry.name, board, file=str(baseline.path), line=line)
    allowances = entry.allowances(board)
    if job.measurement is None:
        assert job.error is not None
        return _failed(outcome, job, job.error, companion, list(measured))
    found = job.measurement
    record = found.record
    models = [record["model"], *([record["at_clock"]["model"]] if record.get("at_clock") else [])]
    outcome = replace(outcome, toolchain=found.toolchain, models=tuple(models))
    if not measured:
        return replace(
            outcome,
            error=f"{outcome.name} has no figures in the baseline: run `ebnn regress update`",
            error_code=UserError.exit_code,
        )
    toolchain = found.toolchain if found.toolchain in measured else list(measured)[-1]
    line = baseline.line_of(header(entry.name, board, toolchain), entry_header(entry.name))
    outcome = replace(outcome, line=line)
    key = build_key(entry.name, board, toolchain)
    build = companion.builds.get(key, {})
    model = companion.models.get(entry.name, {})
    assert job.subject is not None
    facts, evaluation = job.subject.facts, job.subject.evaluation
    now = Current(job.subject.labels, evaluation.activations if evaluation else ())
    try:
        comparisons = compare_figures(measured[toolchain], found.figures, allowances)
        causes = find_causes(
            build, found.build, model, facts, (toolchain, found.toolchain), allowances
        )
        if model.get("data") == facts.get("data"):
            changed = bool(changed_weights(model, facts))
            comparisons += compare_predictions(build, found.build, allowances, changed)
        explanations = explain(build, found.build, model, facts, comparisons, now)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        file = companion_path(baseline.path).name
        raise UserError(
            f"{baseline.path}: the figures of {outcome.name} here or in {file} "
            f"are damaged ({error!r}): run `ebnn regress update`"
        ) from error
    if job.explanation is not None and job.explanation.lines:
        explanations.append(job.explanation)
    if not build:
        causes.append(Cause("companion", f"{companion_path(baseline.path).name} knows no more"))
    outcome = replace(
        outcome,
        comparisons=tuple(comparisons),
        causes=tuple(causes),
        explanations=tuple(explanations),
    )
    return _placed(outcome, found.elf, entry)


def _failed(
    outcome: Outcome,
    job: Job,
    error: UserError,
    companion: Companion,
    toolchains: Sequence[str],
) -> Outcome:
    """An entry that could not be measured; what grew, where there is an image."""
    explanations: list[Explanation] = []
    if job.image is not None and toolchains:
        build = companion.builds.get(build_key(outcome.entry, outcome.board, toolchains[-1]), {})
        explanations = explain_ram(build, {"memory": job.image}, static=True, stack=False)
    place = getattr(error, "place", None)
    if place is not None and place.file is not None:
        outcome = _at(outcome, job.entry, place.file, place.line)
    return replace(
        outcome,
        error=str(error),
        error_code=error.exit_code,
        explanations=tuple(one for one in explanations if one.lines),
    )


def _placed(outcome: Outcome, elf: Elf, entry: Entry) -> Outcome:
    """The source line of the function that grew most, where the source is in the repository."""
    for explanation in outcome.explanations:
        if explanation.function is None or entry.elf is None or not outcome.failures:
            continue
        symbol = elf.symbols.get(explanation.function)
        place = source_line(elf, symbol.address) if symbol else None
        if place is not None:
            return _at(outcome, entry, *place)
    return outcome


def _at(outcome: Outcome, entry: Entry, file: str, line: int) -> Outcome:
    """At a source line, where that file is found from here or from the baseline or the image."""
    folders = [Path.cwd(), entry.folder, *([entry.elf.parent] if entry.elf else [])]
    for folder in folders:
        if (folder / file).is_file():
            return replace(outcome, file=str(folder / file), line=line)
    return outcome
