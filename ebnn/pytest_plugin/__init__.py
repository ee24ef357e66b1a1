"""pytest's fixture `cortex_m` and marker `budget`: firmware in the emulator, held to its budgets.

Every pytest session of an installation loads this module: it imports nothing but pytest, and does
nothing for tests that do not ask for the fixture.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ebnn.pytest_plugin.factory import CortexM

_KEY = pytest.StashKey["CortexM"]()
_FIXTURE, _BOARD = "cortex_m", "ebnn_board"
_REPORTED = "ebnn_firmware"
_PACKAGE = Path(__file__).parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ebnn", "firmware in an emulated Cortex-M")
    group.addoption(
        "--ebnn-board",
        action="append",
        metavar="BOARD",
        help="board of the tests that name none themselves; repeat it to run them on each",
    )
    group.addoption(
        "--ebnn-elf", metavar="FILE", help="image of the tests that name none themselves"
    )
    group.addoption(
        "--ebnn-records", metavar="DIR", help="write the run record of each run there, as JSON"
    )
    group.addoption(
        "--ebnn-markdown",
        metavar="FILE",
        help="write the budgets as Markdown; added to $GITHUB_STEP_SUMMARY",
    )
    parser.addini("ebnn_boards", "as --ebnn-board, one or several", type="args", default=[])
    parser.addini("ebnn_elf", "as --ebnn-elf", default="")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "budget(*names, cycles=, region=, ram=, stack=, heap=, static=, flash=): what every run of "
        "cortex_m in the test may take: budget(cycles='200k', region='step', ram='12k'); names are "
        "tables [tool.ebnn.budgets.NAME] of pyproject.toml",
    )
    config.addinivalue_line(
        "markers", "boards(*names): run the test, which uses cortex_m, on each of these boards"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each board, where there are several; the id of a single one stays as it is."""
    if _BOARD not in metafunc.fixturenames:
        return
    boards = _boards(metafunc.config, metafunc.definition)
    directly = [
        str(name).strip()
        for mark in metafunc.definition.iter_markers("parametrize")
        for name in (mark.args[0].split(",") if isinstance(mark.args[0], str) else mark.args[0])
    ]
    if len(boards) > 1 and _BOARD not in directly:
        metafunc.parametrize(_BOARD, boards)


def _boards(config: pytest.Config, test: Any) -> list[str]:
    """The boards to run a test on: the command line's, else its marker's, else the file's."""
    marker = test.get_closest_marker("boards")
    found = config.getoption("--ebnn-board") or (
        marker.args if marker else config.getini("ebnn_boards")
    )
    return list(dict.fromkeys(map(str, found)))


@pytest.fixture
def ebnn_board(request: pytest.FixtureRequest) -> str | None:
    """The name of the board that a test is to use: `--ebnn-board`, the marker, or `ebnn_boards`."""
    boards = _boards(request.config, request.node)
    return boards[0] if boards else None


@pytest.fixture
def cortex_m(request: pytest.FixtureRequest, ebnn_board: str | None) -> Generator[CortexM]:
    """Runs firmware: `run = cortex_m("fw.elf", board="nrf52840-dk", ram="15k")`.

    `cortex_m.boot(...)` stops at main, to call functions. Budget markers hold for every run.
    """
    from ebnn.pytest_plugin.budgets import budgets_of
    from ebnn.pytest_plugin.factory import CortexM, Defaults
    from ebnn.sim.errors import UserError

    config = request.config
    elf = config.getoption("--ebnn-elf") or config.getini("ebnn_elf") or None
    defaults = Defaults(elf, ebnn_board, (config.rootpath, config.invocation_params.dir))
    item = request.node
    wrong = ""
    try:
        budgets = budgets_of(item.iter_markers("budget"), config.rootpath)
    except UserError as error:
        wrong = str(error)
    if wrong:
        pytest.fail(wrong, pytrace=False)
    factory = CortexM(defaults, budgets)
    item.stash[_KEY] = factory
    yield factory
    factory.close()
    del item.stash[_KEY]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Look at the budgets when the test has run: one that is over fails it."""
    try:
        result = yield
    except (Exception, pytest.fail.Exception):
        if _KEY in item.stash:
            from ebnn.pytest_plugin.session import report_beside

            report_beside(item, item.stash[_KEY])
        raise
    if _KEY in item.stash:
        from ebnn.pytest_plugin.session import check

        check(item, item.stash[_KEY])
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hide our own frames of a failure, and give the summary its figures."""
    factory = item.stash.get(_KEY, None) if _FIXTURE in getattr(item, "fixturenames", ()) else None
    if _FIXTURE in getattr(item, "fixturenames", ()) and call.excinfo is not None:
        from ebnn.pytest_plugin.session import hide_own_frames

        hide_own_frames(call, _PACKAGE)
    report = yield
    if factory is not None and call.when == "call":
        from ebnn.pytest_plugin.session import report_facts

        # An attribute of plain data: pytest-xdist brings it from its workers.
        setattr(report, _REPORTED, report_facts(factory))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [
        (report.nodeid, getattr(report, _REPORTED))
        for found in terminalreporter.stats.values()
        for report in found
        if hasattr(report, _REPORTED)
    ]
    if not reports:
        return
    from ebnn.pytest_plugin.summary import markdown_problem, summary_lines

    lines = summary_lines(reports)
    if lines and terminalreporter.verbosity > -2:
        terminalreporter.section("firmware")
        for line in lines:
            terminalreporter.write_line(line)
    path = terminalreporter.config.getoption("--ebnn-markdown")
    problem = markdown_problem(path, reports) if path else None
    if problem:
        terminalreporter.write_line(f"error: {problem}", red=True)
