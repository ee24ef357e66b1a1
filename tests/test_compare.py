"""`ebnn compare`: the simulator's record of an ELF against the board's."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_images import build, function

from ebnn.comparison import compare, compare_all
from ebnn.comparison_plot import to_svg
from ebnn.comparison_report import to_markdown
from ebnn.published_records import published_records
from ebnn.record_file import Record, read_records, record_of
from ebnn.sim import Machine, board
from ebnn.sim.errors import UserError
from ebnn.sim.published import published_boards

_SCHEMA = json.loads(Path(board.__file__).with_name("record.schema.json").read_text())


def region(cycles: int, count: int = 3) -> dict[str, Any]:
    spread = {"min": cycles, "median": cycles, "max": cycles, "total": count * cycles}
    return {"count": count, "cycles": spread, "instructions": spread}


def sim_data(**changes: Any) -> dict[str, Any]:
    memory = {"flash": 9000, "static": 1000, "heap": 0, "stack": 304, "ram": 1304}
    data = {
        "schema": "ebnn-run-record-1",
        "kind": "sim",
        "elf": {"path": "model.elf", "sha256": "a" * 64},
        "core": "cortex-m4f",
        "board": "nrf52840-dk",
        "clock_hz": 64_000_000,
        "model": {"version": "1", "wait_states": 3, "error": None},
        "cycles": 400_000,
        "instructions": 300_000,
        "stalls": {"refill": 100_000},
        "regions": {"ebnn_infer": region(100_000), "conv": region(2_000)},
        "memory": {**memory, "ram_limit": 15360},
        "predictions": [7, 2, 1],
        "fault": None,
        "exit": 0,
    }
    return {**data, **changes}


def board_data(**changes: Any) -> dict[str, Any]:
    """What a board can tell: no stalls, no instructions, no heap."""
    cycles = {name: region(c) for name, c in (("ebnn_infer", 98_000), ("conv", 2_050))}
    for one in cycles.values():
        del one["instructions"]
    data = {
        key: sim_data()[key]
        for key in ("schema", "elf", "core", "board", "clock_hz", "predictions")
    }
    more = {"kind": "board", "regions": cycles, "memory": {"stack": 312}, "probe": "0669FF"}
    return {**data, **more, **changes}


def pair(sim: dict[str, Any], measured: dict[str, Any]) -> tuple[Record, Record]:
    return record_of(sim, "sim.json"), record_of(measured, "board.json")


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ebnn.cli", "compare", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )


def write(folder: Path, **files: object) -> list[Path]:
    paths = []
    for name, data in files.items():
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(json.dumps(data))
    return paths


def test_errors_are_of_the_simulator_relative_to_the_board() -> None:
    found = compare(*pair(sim_data(), board_data()))
    assert [one.name for one in found.regions] == ["ebnn_infer", "conv"]
    assert found.regions[0].error_percent == pytest.approx(100 * 2000 / 98000)
    assert found.regions[1].error_percent == pytest.approx(-100 * 50 / 2050)
    assert found.mean_percent == pytest.approx((2000 / 980 + 50 / 20.5) / 2)
    assert found.worst_percent == pytest.approx(50 / 20.5)
    assert found.passed


@pytest.mark.parametrize(
    ("measured", "passed"), [(100_000, True), (95_239, True), (95_238, False), (106_000, False)]
)
def test_a_region_more_than_5_percent_off_fails(measured: int, passed: bool) -> None:
    # 100,000 / 95,238.1 is 5 percent more
    found = compare(*pair(sim_data(), board_data(regions={"ebnn_infer": region(measured)})))
    assert found.passed is passed
    assert found.regions[0].within is passed


def test_one_different_prediction_fails_and_is_named() -> None:
    found = compare(*pair(sim_data(), board_data(predictions=[7, 3, 1])))
    assert not found.passed
    (difference,) = found.differences
    assert (difference.sample, difference.simulated, difference.measured) == (1, 2, 3)


def test_a_core_without_published_cycles_is_judged_only_with_a_tolerance() -> None:
    both = pair(
        sim_data(core="cortex-m7"),
        board_data(core="cortex-m7", regions={"ebnn_infer": region(50_000)}),
    )
    assert compare(*both).passed
    assert any("not judged" in note for note in compare(*both).notes)
    assert not compare(*both, 5.0).passed


def test_what_a_board_cannot_tell_may_be_missing() -> None:
    measured = board_data()
    del measured["memory"], measured["predictions"]
    found = compare(*pair(sim_data(), measured))
    assert found.passed
    assert found.predictions is None
    assert "predictions were not compared: none in board.json" in found.notes


def test_a_run_without_predictions_leaves_the_boards_own_check_against_the_reference() -> None:
    simulated = sim_data()
    del simulated["predictions"]
    for agreement, passed in ((3, True), (2, False)):
        accuracy = {"correct": 3, "total": 3, "agreement": agreement}
        found = compare(*pair(simulated, board_data(accuracy=accuracy)))
        assert found.passed is passed
        assert f"predictions: {agreement} of 3 as the numpy reference's" in to_markdown([found])


def test_a_board_without_a_counter_is_compared_by_its_predictions() -> None:
    for predictions, passed in (([7, 2, 1], True), ([7, 2, 0], False)):
        found = compare(*pair(sim_data(), board_data(regions={}, predictions=predictions)))
        assert found.passed is passed
        assert found.mean_percent is None
        assert "no cycles: board.json has no regions" in found.notes
        ElementTree.fromstring(to_svg([found]))
        assert "| region |" not in to_markdown([found])
    with pytest.raises(UserError, match=r"board\.json: no region in common: it has none"):
        compare(*pair(sim_data(), board_data(regions={}, predictions=None)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"elf": {"path": "other.elf", "sha256": "b" * 64}}, "other.elf (sha256 bbbbbbbbbbbb)"),
        ({"core": "cortex-m4"}, "different cores: cortex-m4f and cortex-m4"),
        ({"predictions": [7, 2]}, "different inputs: 3 and 2 predictions"),
        ({"regions": {"ebnn_infer": region(98_000, count=4)}}, "region ebnn_infer ran 3 and 4"),
        ({"inputs": {"sha256": "d" * 64, "samples": 3}}, "sha256 cccccccccccc and dddddddddddd"),
        ({"regions": {"main": region(98_000)}}, "no region in common: it has main, sim.json has"),
        ({"fault": {"message": "lost the probe"}}, "board.json: its run ended in a fault: lost"),
    ],
)
def test_records_that_cannot_be_compared_are_refused_by_what_differs(
    changes: dict[str, Any], says: str
) -> None:
    simulated = sim_data(inputs={"sha256": "c" * 64, "samples": 3})
    with pytest.raises(UserError) as refused:
        compare(*pair(simulated, board_data(**changes)))
    assert says in str(refused.value)
    assert "board.json" in str(refused.value)


def test_a_board_may_run_each_sample_several_times() -> None:
    measured = board_data(regions={"ebnn_infer": region(98_000, count=6)})
    assert compare(*pair(sim_data(), measured)).passed


def test_verify_records_are_compared_at_the_boards_clock() -> None:
    simulated = sim_data(
        board="nrf52840-dk@0ws",
        regions={"ebnn_infer": region(80_000)},
        at_clock={
            "board": "nrf52840-dk",
            "clock_hz": 64_000_000,
            "wait_states": 3,
            "samples": 2,
            "cycles": region(98_500)["cycles"],
        },
    )
    found = compare(*pair(simulated, board_data(regions={"ebnn_infer": region(98_000)})))
    assert found.regions[0].simulated_cycles == 98_500
    assert not any(note.startswith(("board:", "clock:")) for note in found.notes)


def test_different_boards_and_clocks_are_said() -> None:
    notes = compare(*pair(sim_data(board="generic-m4f", clock_hz=1), board_data())).notes
    assert "board: simulated generic-m4f, measured nrf52840-dk" in notes
    assert "clock: simulated 1 Hz, measured 64000000 Hz" in notes


def test_each_board_finds_the_simulation_of_its_elf() -> None:
    other = {"elf": {"path": "m0.elf", "sha256": "b" * 64}, "core": "cortex-m0plus"}
    records = [
        record_of(board_data(), "one.json"),
        record_of(board_data(**other, board="arduino-zero"), "two.json"),
        record_of(sim_data(**other, board="arduino-zero"), "sims[0]"),
        record_of(sim_data(), "sims[1]"),
    ]
    found = compare_all(records)
    assert [(one.measured.path, one.simulated.path) for one in found] == [
        ("one.json", "sims[1]"),
        ("two.json", "sims[0]"),
    ]
    # The same ELF on two boards: the one of the board's name, where there is one.
    twice = [*records, record_of(sim_data(board="generic-m4f"), "sims[2]")]
    assert compare_all(twice)[0].simulated.path == "sims[1]"
    with pytest.raises(UserError, match=r"sims\[1\], again are all of its ELF"):
        compare_all([*records, record_of(sim_data(), "again")])


def test_exit_codes_and_outputs(tmp_path: Path) -> None:
    sim, near, far, other = write(
        tmp_path,
        sim=sim_data(),
        near=board_data(),
        far=board_data(predictions=[0, 2, 1]),
        other=board_data(elf={"path": "o.elf", "sha256": "b" * 64}),
    )
    plot, page, out = tmp_path / "plot.svg", tmp_path / "page.md", tmp_path / "out.json"
    done = run(sim, near, "--plot", plot, "--markdown", page, "--json", out)
    assert done.returncode == 0, done.stderr
    assert "predictions: 3 of 3 the same" in done.stdout
    assert "stack, bytes: board 312, simulator 304" in done.stdout
    assert "cycles within 5 %" in done.stdout
    assert "cycle model version 1, not validated for this core" in done.stdout
    assert "| ebnn\\_infer | 3 | 98,000 | 100,000 | +2.04 % | ok |" in page.read_text()
    assert len(ElementTree.parse(plot).findall(".//{*}circle")) == 2 * 2 + 1
    written = json.loads(out.read_text())
    assert written["passed"] is True
    assert written["comparisons"][0]["regions"][0]["measured_cycles"] == 98_000
    assert [record["kind"] for record in written["records"]] == ["sim", "board"]

    assert run(sim, near, "--tolerance", "1").returncode == 1
    done = run(sim, near, far)
    assert done.returncode == 1
    assert "sample 0: board 0, simulator 7" in done.stdout
    done = run(sim, other)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "other.json: different ELFs" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give run records"),
        (["sim.json"], "only records of a simulator"),
        (["near.json"], "only records of a board"),
        (["missing.json"], "missing.json: cannot read the record (No such file"),
        (["text.json"], "text.json: not JSON"),
        (["empty.json"], "empty.json: an empty list"),
        (["sim.json", "near.json", "--tolerance", "0"], "--tolerance 0: give percent"),
        (["sim.json", "near.json", "--tolerance", "nan"], "--tolerance nan: give percent"),
        (["sim.json", "near.json", "--json", "."], "is a folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(tmp_path: Path, arguments: list[str], says: str) -> None:
    write(tmp_path, sim=sim_data(), near=board_data(), empty=[])
    (tmp_path / "text.json").write_text("{nonsense")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["schema"], "ebnn-run-record-9", "schema is 'ebnn-run-record-9'"),
        (["kind"], "dream", "kind is 'dream'"),
        (["core"], "cortex-m99", "core is 'cortex-m99'"),
        (["elf"], None, "elf is missing"),
        (["elf", "sha256"], "A" * 64, "elf.sha256 is"),
        (["clock_hz"], "fast", "clock_hz is 'fast', not an integer"),
        (["regions"], [], "regions is [], not an object"),
        (["regions", "conv", "count"], 0, "regions.conv.count is 0"),
        (["regions", "conv", "cycles", "median"], 1.5, "regions.conv.cycles.median is 1.5, not an"),
        (["regions", "conv", "cycles", "median"], 0, "regions.conv.cycles.median is 0"),
        (["regions", "conv", "cycles", "median"], 10**400, "regions.conv.cycles.median is 1000"),
        (["regions", "conv", "cycles", "median"], None, "regions.conv.cycles.median is missing"),
        (["predictions"], [1, "2"], "predictions[1] is '2', not an integer"),
        (["memory", "stack"], -8, "memory.stack is -8"),
    ],
)
def test_a_malformed_record_is_named_by_file_and_key(
    path: list[str], value: object, says: str
) -> None:
    data = copy.deepcopy(board_data())
    table = data
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    with pytest.raises(UserError) as refused:
        record_of(data, "board.json")
    assert str(refused.value).startswith("board.json: ")
    assert says in str(refused.value)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_whatever_stands_in_a_record_it_is_read_or_refused(data: st.DataObject) -> None:
    record = copy.deepcopy(data.draw(st.sampled_from([board_data(), sim_data()])))
    table: Any = record
    while True:
        key = data.draw(st.sampled_from(sorted(table)))
        if isinstance(table[key], dict) and table[key] and data.draw(st.booleans()):
            table = table[key]
            continue
        table[key] = data.draw(_JSON)
        break
    try:
        found = record_of(record, "x.json")
    except UserError as error:
        assert str(error).startswith("x.json: ")
        return
    assert all(one.cycles > 0 for one in found.regions.values())


def test_sample_records_hold_the_schema() -> None:
    jsonschema.validate(sim_data(), _SCHEMA)
    jsonschema.validate(board_data(), _SCHEMA)
    with pytest.raises(jsonschema.ValidationError, match="instructions"):
        jsonschema.validate(board_data(kind="sim"), _SCHEMA)


def test_a_simulated_run_is_read_back_as_it_was(tmp_path: Path) -> None:
    loop = function("loop100", "    movs r0, #100\n1:  subs r0, #1\n    bne 1b\n    bx lr")
    machine = Machine(build(tmp_path, "m4", assembly=loop), regions=("loop100",))
    machine.run_until("main")
    machine.call("loop100")
    path = tmp_path / "sim.json"
    machine.record().write(path)
    (found,) = read_records(path)
    assert found.regions["loop100"].cycles == 303
    assert found.elf_sha256 == machine.elf.sha256
    assert found.stack_bytes == machine.ram_use().stack
    assert found.fault is None


def test_published_figures_come_as_records_with_the_errors_they_state() -> None:
    found = [compare(*both) for both in published_records()]
    for published in published_boards().values():
        parts = [one for one in found if one.measured.core == published.core]
        assert {one.measured.group for one in parts} == set(published.groups)
        errors = [
            abs(region.error_percent)
            for one in parts
            for region in one.regions
            if one.measured.group in ("assembly", "compiled")
        ]
        assert max(errors) == pytest.approx(published.error.worst_percent)
        assert sum(errors) / len(errors) == pytest.approx(published.error.mean_percent)
        assert len(errors) == published.error.measurements
    for one in found:
        for record in (one.simulated, one.measured):
            jsonschema.validate(record.data, _SCHEMA)


def test_published_counts_that_no_board_measured_are_not_judged() -> None:
    found = {both[1].group: compare(*both, 0.001) for both in published_records()}
    assert found["stated"].passed
    assert not found["assembly"].passed
    assert any("not measured on a board" in note for note in found["stated"].notes)


def test_the_published_table_page_and_picture_hold_every_figure(tmp_path: Path) -> None:
    figures = sum(len(one.measurements) for one in published_boards().values())
    boards = len(published_records())
    plot, page = tmp_path / "plot.svg", tmp_path / "page.md"
    done = run("--published", "--plot", plot, "--markdown", page)
    assert done.returncode in (0, 1), done.stderr
    lines = done.stdout.splitlines()
    for published in published_boards().values():
        for one in published.measurements:
            shown = f"{one.error_percent:+.2f} %"
            assert any(line.startswith(f" {one.program}") and shown in line for line in lines)
    assert done.stdout.count("figures: mean error") + done.stdout.count("1 figure: ") == boards
    before, stated = page.read_text().split("## In all")
    assert before.count(" % | ") == figures
    for published in published_boards().values():
        error = published.error
        row = f"| {published.core}, 0 wait states | {error.measurements} | "
        assert f"{row}{error.mean_percent:.3g} % | {error.worst_percent:.3g} % |" in stated
        assert re.search(rf"^ {published.core}, 0 wait states .* % *$", done.stdout, re.M)
    assert len(ElementTree.parse(plot).findall(".//{*}circle")) == 2 * figures + boards
    data = json.loads(run("--published", "--json", "-").stdout)
    assert len(data["records"]) == 2 * boards
    for record in data["records"]:
        jsonschema.validate(record, _SCHEMA)


def test_names_out_of_a_record_do_not_break_picture_page_or_terminal(tmp_path: Path) -> None:
    name = 'a|b<c>&"\x1b[31m\ud800`*'
    regions = {name: region(1000)}
    found = [compare(*pair(sim_data(regions=regions), board_data(regions=regions, board=name)))]
    ElementTree.fromstring(to_svg(found))
    row = next(line for line in to_markdown(found).splitlines() if line.startswith("| a"))
    assert row.replace("\\|", "").count("|") == 7
    sim, measured = write(
        tmp_path, sim=sim_data(regions=regions), near=board_data(regions=regions, board=name)
    )
    done = run(sim, measured, "--markdown", tmp_path / "page.md", "--plot", tmp_path / "plot.svg")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + (tmp_path / "page.md").read_text()


def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(UserError, match="/dev/zero: larger than 64 MiB"):
        read_records(Path("/dev/zero"))
