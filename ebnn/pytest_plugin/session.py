"""What the hooks do for a test that used `cortex_m`; loaded only then."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import pytest

from ebnn.pytest_plugin.factory import CortexM
from ebnn.pytest_plugin.last_pass import changes, remember
from ebnn.pytest_plugin.run import FirmwareFailed
from ebnn.pytest_plugin.verdict import Verdict, failure_text, verdicts
from ebnn.sim.errors import UserError
from ebnn.sim.files import write_result
from ebnn.sim.record import RunRecord

_MOST_OUTPUT = 100_000  # characters of a run's output in a report


def check(item: pytest.Item, factory: CortexM) -> None:
    """Fail the test where a budget is over, or none could be looked at."""
    _report_output(item, factory)
    _write_records(item, factory)
    if not factory.runs:
        if factory.budgets and not factory.could_not_start:
            _fail("the test has budgets, but made no run: call cortex_m(...)")
        return
    found = verdicts(factory.runs, factory.budgets)
    if all(one.is_kept for one in found):
        remember(item, factory.runs, found)
    else:
        _fail(_text(item, factory, found))


def report_beside(item: pytest.Item, factory: CortexM) -> None:
    """The test has failed by itself: show beside its own message the budgets that are over, and
    what has changed since it passed."""
    _report_output(item, factory)
    _write_records(item, factory)
    found = verdicts(factory.runs, factory.budgets)
    # Where the firmware did not get to its end, that a region did not either says nothing new.
    found = [one for one in found if one.used is not None]
    if not all(one.is_kept for one in found):
        item.add_report_section("call", "budgets", _text(item, factory, found))
    elif lines := changes(item, factory.runs, []):
        item.add_report_section("call", "changes", "\n".join(lines))


def _text(item: pytest.Item, factory: CortexM, found: Sequence[Verdict]) -> str:
    failed = [one for one in found if not one.is_kept]
    lines = changes(item, factory.runs, failed)
    return "\n".join([failure_text(failed, len(factory.runs)), *([""] if lines else []), *lines])


def _report_output(item: pytest.Item, factory: CortexM) -> None:
    for number, run in enumerate(factory.runs, 1):
        text = (run.output + run.errors)[-_MOST_OUTPUT:]
        if text:
            which = f"firmware (run {number})" if len(factory.runs) > 1 else "firmware"
            item.add_report_section("call", which, text)


def _write_records(item: pytest.Item, factory: CortexM) -> None:
    folder = item.config.getoption("--ebnn-records")
    if not folder:
        return
    path = item.config.invocation_params.dir / folder
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _fail(f"--ebnn-records {path}: cannot make the folder ({error.strerror})")
    name = re.sub(r"[^\w.@-]+", "-", item.nodeid).strip("-")
    for number, run in enumerate(factory.runs, 1):
        try:
            write_result(
                str(path / f"{name}-{number}.json"), RunRecord(run.record).to_json(), "the record"
            )
        except UserError as error:
            _fail(str(error))


def _fail(message: str) -> NoReturn:
    pytest.fail(message, pytrace=False)


def report_facts(factory: CortexM) -> dict[str, Any]:
    """What a test's report carries for the summary."""
    found = verdicts(factory.runs, factory.budgets)
    return {"runs": len(factory.runs), "budgets": [dict(one.facts()) for one in found]}


def hide_own_frames(call: pytest.CallInfo[None], package: Path) -> None:
    """Of an error that is meant for the user, show the user's own code alone."""
    error = call.excinfo.value if call.excinfo is not None else None
    if not isinstance(error, UserError | FirmwareFailed):
        return
    error.__cause__, error.__suppress_context__ = None, True
    kept: TracebackType | None = None
    steps = list(_steps(error.__traceback__))
    for one in reversed(steps):
        if not Path(one.tb_frame.f_code.co_filename).is_relative_to(package):
            kept = TracebackType(kept, one.tb_frame, one.tb_lasti, one.tb_lineno)
    if kept is not None:
        error.__traceback__ = kept
        call.excinfo = pytest.ExceptionInfo.from_exception(error)


def _steps(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next
