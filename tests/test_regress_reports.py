"""The reports of `ebnn regress`: every format holds what changed, and escapes what it must."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from test_regress import BASELINE, PROGRAM, Repository

from ebnn.regress import runner
from ebnn.regress.outcome import Cause, Comparison, Explanation, Outcome, Report
from ebnn.regress.report_ci import github_annotations, junit
from ebnn.regress.report_text import markdown

WORSE = Comparison("cycles.my_filter.max", "cycles", 100, 150, "worse")
BETTER = Comparison("flash", "bytes", 500, 400, "better")
SAME = Comparison("ram.total", "bytes", 64, 64, "same")
NASTY = "a<b>|`_*\x1b&\n::error::, 100%"
FAILING = Outcome(
    "net", "board", "GCC 12.2.1", (WORSE, BETTER, SAME),
    (Cause("flags", "a compiler flag changed: -O2 -> -Os", True), Cause("contents", NASTY)),
    (Explanation("cycles", ("my_filter 100 -> 150, +50 cycles: refill +50",), "my_filter"),),
    file="base.toml", line=7,
)  # fmt: skip
PASSING = Outcome("other", "board", "GCC 12.2.1", (SAME,), file="base.toml", line=9)
FAULTED = Outcome(
    "net", "tiny", error="store to 0x0 in f (a.c:3)", error_code=3, file="a.c", line=3
)
REPORT = Report("base.toml", (FAILING, PASSING, FAULTED))


def test_the_gravest_outcome_decides() -> None:
    assert [one.exit_code for one in REPORT.outcomes] == [1, 0, 3]
    assert REPORT.exit_code == 3
    assert Report("b", (FAILING, PASSING)).exit_code == 1
    better = Outcome("net", "board", "GCC", (BETTER,))
    assert Report("b", (better,)).exit_code == 0
    assert Report("b", (better,), strict=True).exit_code == 1


def test_junit_has_a_case_for_each_kind_of_figure() -> None:
    suites = Xml.fromstring(junit(REPORT).encode())
    assert [suite.get("name") for suite in suites] == [
        "net on board",
        "other on board",
        "net on tiny",
    ]
    failing, passing, faulted = suites
    cases = {case.get("name"): case for case in failing}
    assert list(cases) == ["as measured", "cycles", "flash", "ram"]
    failure = cases["cycles"].find("failure")
    assert failure is not None and failure.text is not None
    assert (
        failure.get("message")
        == "cycles.my_filter.max: 100 -> 150 cycles, +50 (+50.00 %), allowed 0"
    )
    assert "my_filter 100 -> 150, +50 cycles: refill +50" in failure.text
    assert cases["flash"].find("failure") is None
    flags = cases["as measured"].find("failure")
    assert flags is not None and flags.get("message") == "a compiler flag changed: -O2 -> -Os"
    assert failing.get("failures") == "2" and failing.get("tests") == "4"
    assert passing.get("failures") == passing.get("errors") == "0"
    assert faulted.get("errors") == "1"
    assert suites.get("failures") == "2" and suites.get("errors") == "1"


def test_junit_replaces_what_xml_cannot_hold() -> None:
    text = junit(REPORT)
    assert "\x1b" not in text
    assert any(
        "a<b>|`_*\ufffd&" in (one.text or "") for one in Xml.fromstring(text).iter("failure")
    )


def test_annotations_are_one_line_each_and_escaped() -> None:
    error, warning, fault = github_annotations(REPORT)
    assert all("\n" not in line for line in (error, warning, fault))
    assert error.startswith("::error file=base.toml,line=7,title=net on board%3A a compiler flag")
    message = error.split("::")[2]
    assert "cycles.my_filter.max: 100 -> 150 cycles, +50 (+50.00 %25), allowed 0%0A" in message
    assert error.count("%0A") >= 4
    assert warning.startswith("::warning file=base.toml,line=7,") and "tighten" in warning
    assert fault.startswith("::error file=a.c,line=3,")
    strict = Report("b", (Outcome("n", "b", "GCC", (BETTER,)),), strict=True)
    assert github_annotations(strict)[0].startswith("::error ")


def test_annotations_name_files_from_the_workflows_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    outcome = Outcome("n", "b", error="bad", error_code=2, file=str(tmp_path / "x/base.toml"))
    assert github_annotations(Report("b", (outcome,)))[0].startswith("::error file=x/base.toml,")


def test_markdown_is_one_table_with_folded_details() -> None:
    text = markdown(REPORT)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[2] == (
        r"| net on board | cycles.my\_filter.max | 100 | 150 | +50 (+50.00 %) | **worse** |"
    )
    assert len(rows) == 2 + 2 + 1 + 1
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 7 for row in rows)
    assert text.count("<details>") == text.count("</details>") == 2
    assert "<b>" not in text and "a&lt;b&gt;" in text
    assert "as in the baseline" in text
    # A name cannot end the table or the list that it stands in.
    assert "\n::error::" not in text


def _ebnn(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if "GITHUB" not in key}
    environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
    environment["GITHUB_STEP_SUMMARY"] = str(folder / "summary.md")
    return subprocess.run(
        [sys.executable, "-m", "ebnn.cli", "regress", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_writes_every_report_and_exits_with_the_code(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    repository.build()
    repository.baseline.write_text(BASELINE)
    folder = repository.folder
    assert _ebnn(folder, "check").returncode == 2
    updated = _ebnn(folder, "update")
    assert updated.returncode == 0, updated.stderr
    assert "filter on arduino-zero new" in updated.stdout
    passed = _ebnn(folder, "check")
    assert (passed.returncode, passed.stderr) == (0, "")
    assert re.match(r"filter on arduino-zero passed: (\d+) of \1 figures as in", passed.stdout)

    repository.build(PROGRAM.replace("history[16]", "history[80]"))
    (folder / "summary.md").write_text("earlier\n")
    failed = _ebnn(
        folder, "check", "--json", "report.json", "--junit", "report.xml",
        "--markdown", str(folder / "summary.md"), "--annotations",
    )  # fmt: skip
    assert failed.returncode == 1
    assert "worse: ram.static: 72 -> 328 bytes, +256 (+355.56 %), allowed 0" in failed.stdout
    assert "    history, zeroed: 64 -> 320 bytes, +256" in failed.stdout
    line = next(line for line in failed.stdout.splitlines() if line.startswith("::error "))
    assert "history, zeroed" in line
    report = json.loads((folder / "report.json").read_text())
    assert (report["schema"], report["exit"]) == ("ebnn-regress-report-1", 1)
    assert report["outcomes"][0]["failures"]
    assert "history, zeroed" in (folder / "report.xml").read_text()
    assert (folder / "summary.md").read_text().startswith("earlier\n### Firmware figures: failed")
    assert json.loads(_ebnn(folder, "check", "--json", "-").stdout) == report
    assert _ebnn(folder, "check", "--only", "nothing").returncode == 2
    assert _ebnn(folder, "check", "missing.toml").returncode == 2


def test_a_report_of_a_real_run_can_be_written_in_every_format(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    repository.build()
    repository.baseline.write_text(BASELINE)
    report = runner.check(repository.baseline)
    json.dumps(report.to_dict())
    assert Xml.fromstring(junit(report)).get("errors") == "1"
    assert "NOT MEASURED" in markdown(report)
    assert github_annotations(report)[0].startswith("::error file=")
