"""`ebnn regress` on a firmware of the user's: what changes is named, and what stays passes."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from ebnn.regress import runner
from ebnn.regress.baseline_text import put
from ebnn.regress.companion import companion_path
from ebnn.regress.outcome import Outcome
from ebnn.regress.report_text import advice, markdown
from ebnn.sim.board import load_board
from ebnn.sim.core import MODEL_VERSION
from ebnn.sim.errors import UserError
from ebnn.toolchain.firmware import build_firmware

BOARD = "arduino-zero"
PROGRAM = """
#include <stdint.h>
#include <string.h>

volatile uint32_t history[16];
static const uint32_t gains[4] = {3, 5, 7, 11};
volatile uint32_t result;

__attribute__((noipa)) uint32_t smooth(uint32_t seed) {
    volatile uint32_t window[8];
    uint32_t sum = seed;
    for (uint32_t i = 0; i < 8; i++) window[i] = seed + i;
    for (uint32_t i = 0; i < 8; i++) sum += window[i] * gains[i & 3];
    return sum;
}

__attribute__((noipa)) uint32_t filter(uint32_t seed) {
    for (uint32_t i = 0; i < 16; i++) history[i] = seed + i;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 16; i++) sum += history[i];
    return sum + smooth(seed);
}

int main(void) {
    for (uint32_t i = 0; i < 3; i++) result += filter(i);
    return 0;
}
"""
BASELINE = """\
# Figures of the filter; see the wiki before you touch them.
[entry.filter]  # the product
elf = "build/filter.elf"
boards = ["arduino-zero"]   # the smallest one
ram = "4k"
regions = ["filter"]
"""


class Repository:
    """A user's repository: one firmware, built by its own build, and a baseline."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.baseline = folder / "ebnn-regress.toml"
        self.source = folder / "filter.c"
        folder.mkdir(exist_ok=True)

    def build(self, program: str = PROGRAM, optimize: str = "-O2") -> None:
        self.source.write_text(program)
        build_firmware(
            [self.source], load_board(BOARD), self.folder / "build/filter.elf", optimize=optimize
        )

    def replace(self, old: str, new: str) -> None:
        """Change the source and build again."""
        program = self.source.read_text()
        assert old in program
        self.build(program.replace(old, new))

    def edit(self, old: str, new: str) -> None:
        """Change the baseline."""
        text = self.baseline.read_text()
        assert old in text
        self.baseline.write_text(text.replace(old, new))

    def check(self, strict: bool = False) -> Outcome:
        """The only outcome."""
        (outcome,) = runner.check(self.baseline, strict=strict).outcomes
        return outcome


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = Repository(tmp_path_factory.mktemp("measured"))
    repository.build()
    repository.baseline.write_text(BASELINE)
    runner.update(repository.baseline)
    return repository.folder


@pytest.fixture
def repository(measured: Path, tmp_path: Path) -> Repository:
    shutil.copytree(measured, tmp_path / "repository")
    return Repository(tmp_path / "repository")


def explained(outcome: Outcome) -> str:
    return "\n".join(line for one in outcome.explanations for line in one.lines)


def test_an_unchanged_firmware_passes(repository: Repository) -> None:
    repository.build()
    outcome = repository.check()
    assert (outcome.exit_code, outcome.failures, outcome.hints) == (0, [], [])
    assert {one.verdict for one in outcome.comparisons} == {"same"}
    assert {"cycles.filter.max", "cycles_at_clock.filter.max", "ram.stack", "flash"} <= {
        one.metric for one in outcome.comparisons
    }


def test_the_report_states_what_counted_the_cycles(repository: Repository) -> None:
    report = runner.check(repository.baseline)
    (first, *_) = report.to_dict()["outcomes"][0]["models"]
    assert (first["version"], first["wait_states"]) == (MODEL_VERSION, 0)
    says = f"cycles of {BOARD}, 0 flash wait states: model version {MODEL_VERSION}, error "
    assert says in markdown(report).replace("\\", "")


def test_the_baseline_holds_what_the_simulator_counts(repository: Repository) -> None:
    from ebnn.sim import Machine

    measured = tomllib.loads(repository.baseline.read_text())["measured"]["filter"][BOARD]
    ((toolchain, figures),) = measured.items()
    assert re.fullmatch(r"GCC \d+\.\d+\.\d+ \d{8}", toolchain)
    elf = repository.folder / "build/filter.elf"
    for board, key in ((f"{BOARD}@0ws", "cycles"), (BOARD, "cycles_at_clock")):
        machine = Machine(elf, load_board(board), ram_bytes=4096, regions=("filter",))
        assert machine.run() == 0
        record = machine.record().to_dict()
        spread = record["regions"]["filter"]["cycles"]
        assert figures[key]["filter"] == {name: spread[name] for name in ("min", "median", "max")}
        assert figures[key]["program"]["total"] == record["cycles"]
        assert figures["ram"]["stack"] == record["memory"]["stack"]
        assert figures["ram"]["total"] == record["memory"]["ram"]
        assert figures["flash"] == record["memory"]["flash"]


def test_a_slow_down_is_named_by_function_and_stall(repository: Repository) -> None:
    repository.replace("sum += history[i];", "sum += history[i] + history[15 - i];")
    outcome = repository.check()
    assert outcome.exit_code == 1
    assert any(line.startswith("cycles.filter: ") for line in outcome.failures)
    first = next(one for one in outcome.explanations if one.about == "cycles").lines[0]
    assert re.match(r"filter [\d,]+ -> [\d,]+, \+[\d,]+ cycles: .*memory access \+\d+", first)
    # The place is where the function is, in the user's source.
    assert outcome.file == str(repository.source)
    start = PROGRAM[: PROGRAM.index("filter(uint32_t seed)")].count("\n") + 1
    assert start <= outcome.line < start + 6


def test_a_second_call_is_named(repository: Repository) -> None:
    repository.replace("sum + smooth(seed)", "smooth(sum) + smooth(seed)")
    assert re.search(r"^smooth .*; calls 3 -> 6$", explained(repository.check()), re.MULTILINE)


def test_a_grown_buffer_is_named(repository: Repository) -> None:
    repository.replace("history[16]", "history[80]")
    outcome = repository.check()
    assert outcome.exit_code == 1
    assert "ram.static: 72 -> 328 bytes, +256 (+355.56 %), allowed 0" in outcome.failures
    assert "history, zeroed: 64 -> 320 bytes, +256" in explained(outcome)


def test_a_grown_frame_is_named_with_the_call_chain(repository: Repository) -> None:
    repository.replace("volatile uint32_t window[8]", "volatile uint32_t window[40]")
    outcome = repository.check()
    text = explained(outcome)
    assert any(line.startswith("ram.stack: ") for line in outcome.failures)
    assert re.search(r"^smooth: frame \d+ -> \d+ bytes, \+128$", text, re.MULTILINE)
    chain = r"^deepest call chain now: Reset_Handler \d+ > main \d+ > filter \d+ > smooth \d+$"
    assert re.search(chain, text, re.MULTILINE)


def test_a_changed_compiler_flag_is_named_even_where_no_figure_got_worse(
    repository: Repository,
) -> None:
    repository.edit('regions = ["filter"]', 'regions = ["filter"]\ntighten = "100%"\n'
                    'allow = { cycles = "+1000%", ram = "+1k", flash = "+1k" }')  # fmt: skip
    repository.build(optimize="-Os")
    outcome = repository.check()
    assert outcome.exit_code == 1
    assert outcome.failures == ["a compiler flag changed: -O2 -> -Os"]
    repository.edit("allow = {", 'allow = { changed = ["flags"],')
    assert repository.check().exit_code == 0


def test_another_compiler_never_passes_unseen(repository: Repository) -> None:
    text = repository.baseline.read_text()
    (now,) = re.findall(r'"(GCC [^"]*)"', text)
    repository.edit(now, "GCC 9.3.1 20200408")
    companion = companion_path(repository.baseline)
    companion.write_text(companion.read_text().replace(now, "GCC 9.3.1 20200408"))
    outcome = repository.check()
    assert outcome.exit_code == 1
    assert outcome.failures == [f"the compiler changed: GCC 9.3.1 20200408 -> {now}"]
    assert not outcome.having("worse")
    # Both are kept, for a repository that checks with several compilers; or only the new one.
    runner.update(repository.baseline)
    assert repository.check().exit_code == 0
    assert len(tomllib.loads(repository.baseline.read_text())["measured"]["filter"][BOARD]) == 2
    runner.update(repository.baseline, prune=True)
    assert list(tomllib.loads(repository.baseline.read_text())["measured"]["filter"][BOARD]) == [
        now
    ]
    assert "GCC 9.3.1" not in companion.read_text()
    assert repository.check().exit_code == 0


def test_an_improvement_asks_for_a_tighter_baseline(repository: Repository) -> None:
    repository.replace("for (uint32_t i = 0; i < 16; i++) sum += history[i];", "")
    report = runner.check(repository.baseline)
    (outcome,) = report.outcomes
    assert report.exit_code == 0, outcome.failures
    assert "cycles.program.total" in [one.metric for one in outcome.having("better")]
    assert any("tighten" in line for line in advice(report))
    assert runner.check(repository.baseline, strict=True).exit_code == 1
    repository.edit('regions = ["filter"]', 'regions = ["filter"]\ntighten = "99%"')
    assert not runner.check(repository.baseline, strict=True).improved


def test_allowances_are_per_figure_and_board(repository: Repository) -> None:
    repository.replace("history[16]", "history[20]")
    assert repository.check().exit_code == 1
    allowed = 'allow = { "cycles.program" = "+2%", ram = "+16", flash = "+0" }'
    repository.edit('ram = "4k"', f'ram = "4k"\n{allowed}')
    outcome = repository.check()
    assert outcome.exit_code == 0, outcome.failures
    assert {one.metric for one in outcome.having("allowed")} == {
        "cycles.program.total", "cycles_at_clock.program.total", "ram.static", "ram.total"
    }  # fmt: skip
    repository.edit('ram = "+16"', f'ram = "+16", "{BOARD}" = {{ ram = "+15" }}')
    assert repository.check().exit_code == 1


def test_update_keeps_comments_order_and_allowances(repository: Repository) -> None:
    text = repository.baseline.read_text()
    text = text.replace("flash = ", "# flash is dear\nflash = ", 1)
    text = re.sub(r"(?m)^(ram = \{.*\})$", r"\1  # rose with the history", text)
    mine = f'\n[entry.second] # later\nelf = "build/filter.elf"\nboards = ["{BOARD}@0ws"]\n'
    repository.baseline.write_text(text + mine + 'regions = ["smooth"]\n# the end\n')
    before = repository.baseline.read_text().splitlines()
    repository.replace("history[16]", "history[80]")
    runner.update(repository.baseline, only=["filter"])
    after = repository.baseline.read_text().splitlines()
    assert len(before) == len(after)
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    ram = [line for line in changed if line.startswith("ram = ")]
    assert len(ram) == 1 and "static = 328" in ram[0] and ram[0].endswith("# rose with the history")
    assert all(re.match(r"(cycles|stalls)\w*[. ]", line) for line in changed if line not in ram)
    runner.update(repository.baseline)
    longer = repository.baseline.read_text().splitlines()
    assert longer[: len(after)] == after
    assert any(line.startswith(f'[measured.second."{BOARD}@0ws".') for line in longer)
    assert runner.check(repository.baseline).exit_code == 0


def test_update_takes_a_cause_of_stalls_that_is_new(tmp_path: Path) -> None:
    old = "[measured.a.b.c]\n# why\nstalls = { refill = 1 } # few\nflash = 3\n"
    new = {"stalls": {"memory access": 2_000, "refill": 1}, "flash": 3}
    text = put(old, "a", "b", "c", new)
    assert text == old.replace("{ refill = 1 }", '{ "memory access" = 2_000, refill = 1 }')


def test_updating_twice_writes_the_same_bytes(repository: Repository) -> None:
    files = [repository.baseline, companion_path(repository.baseline)]
    before = [file.read_bytes() for file in files]
    repository.build()
    runner.update(repository.baseline)
    assert [file.read_bytes() for file in files] == before
    json.loads(before[1])


def test_without_the_companion_changes_are_told_though_not_explained(
    repository: Repository,
) -> None:
    companion_path(repository.baseline).unlink()
    assert repository.check().exit_code == 0
    repository.replace("history[16]", "history[80]")
    outcome = repository.check()
    assert outcome.exit_code == 1
    assert any(line.startswith("ram.static: 72 -> 328 bytes") for line in outcome.failures)


def test_a_fault_is_three_and_a_ram_limit_one(repository: Repository) -> None:
    repository.replace("return sum;", "return sum + *(volatile uint32_t *)0x90000000;")
    outcome = repository.check()
    assert outcome.exit_code == 3
    assert outcome.error is not None and "in smooth (filter.c:" in outcome.error
    assert outcome.file == str(repository.source)
    repository.build(PROGRAM.replace("history[16]", "history[1100]"))
    outcome = repository.check()
    assert outcome.exit_code == 1
    assert "history, zeroed: 64 -> 4,400 bytes, +4,336" in explained(outcome)
    before = repository.baseline.read_bytes()
    assert runner.update(repository.baseline).exit_code == 1
    assert repository.baseline.read_bytes() == before


def test_what_was_never_measured_is_bad_input(repository: Repository) -> None:
    repository.edit('["arduino-zero"]', '["arduino-zero", "arduino-zero@0ws"]')
    first, second = runner.check(repository.baseline).outcomes
    assert (first.exit_code, second.exit_code) == (0, 2)
    assert second.error is not None and "ebnn regress update" in second.error


def test_a_program_that_ends_otherwise_fails(repository: Repository) -> None:
    repository.replace("return 0;", "return 7;")
    assert any(line.startswith("exit_status: 0 -> 7") for line in repository.check().failures)


def test_another_limit_or_region_is_another_measurement(repository: Repository) -> None:
    repository.edit('regions = ["filter"]', 'regions = ["filter", "smooth"]')
    outcome = repository.check()
    assert "the entry's regions changed: 'filter' -> 'filter smooth'" in outcome.failures
    assert "cycles.smooth.max" in [one.metric for one in outcome.having("new")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[entry.a]\n", "either model or elf"),
        ('[entry.a]\nelf = "a.elf"\n', "needs boards"),
        ('[entry.a]\nelf = "a.elf"\nboards = []\n', "boards is a list of texts"),
        ('[entry.a]\nelf = "a.elf"\nboards = ["x"]\nram = "lots"\n', "not a size"),
        ('[entry.a]\nelf = "a.elf"\nboards = ["x"]\noptimize = "-O2"\n', "does not go with elf"),
        ('[entry.a]\nmodel = "a"\nboards = ["x"]\n', "needs dataset"),
        ('[entry.a]\nelf = "a.elf"\nboards = ["x"]\nallow = { cycles = "-2%" }\n', "worse is more"),
        ('[entry.a]\nelf = "a.elf"\nboards = ["x"]\nallow = { speed = "+2%" }\n', "no such figure"),
        (
            '[entry.a]\nelf = "a.elf"\nboards = ["x"]\nallow = { changed = ["luck"] }\n',
            "is a list of",
        ),
        ('[entry.a]\nelf = "a.elf"\nboards = ["x"]\ntighten = "a lot"\n', "tighten"),
        ('[entry.a]\nelf = 7\nboards = ["x"]\n', "is not a str"),
        ("[entry.a\n", "not a TOML file"),
        ("", "no [entry.NAME] table"),
        ('[entry.a]\nelf = "a.elf"\nboards = ["x"]\n[measured]\na = 1\n', "[measured."),
    ],
)
def test_a_bad_baseline_is_refused_in_one_line(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "ebnn-regress.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=re.escape(says)) as caught:
        runner.check(path)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value) and "ebnn-regress.toml" in str(caught.value)


def test_damaged_figures_are_refused(repository: Repository) -> None:
    repository.edit("flash = ", "flash.size = ")
    with pytest.raises(UserError, match="damaged"):
        repository.check()
