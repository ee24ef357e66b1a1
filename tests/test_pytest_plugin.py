"""The pytest plugin: firmware in a test, held to its budgets, with failures that name the cause."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from sim_images import build

from ebnn.sim import Machine

pytest_plugins = "pytester"

ROOT = Path(__file__).parent.parent

_FIRMWARE = """\
static unsigned char history[HISTORY];
unsigned samples[64];
__attribute__((noipa)) unsigned sensor(void) { return 5; }
int calls;

__attribute__((noinline)) int filter(const unsigned *from, int count) {
    int sum = 0;
    for (int i = 0; i < count; i++) {
        sum += (int)from[i] * i;
        SLOW_DOWN
    }
    return sum;
}
__attribute__((noinline)) int step(unsigned key) {
    calls++;
    history[key % HISTORY] = (unsigned char)key;
    for (int i = 0; i < 64; i++)
        samples[i] = key;
    return filter(samples, 64) + history[3];
}
int never_called(void) { return -3; }
__attribute__((noinline)) int peek(const unsigned *from) {
    return (int)*from + 1; /* line 23 */
}
__attribute__((noinline)) int twice(unsigned address) {
    return peek((const unsigned *)address) * 2;
}
static void write0(const char *text) {
    register unsigned r0 __asm__("r0") = 4;
    register const char *r1 __asm__("r1") = text;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}
int main(void) {
    write0("started\\n");
    step(sensor());
    if (sensor() == 99)
        return twice(0x40000000u);
    while (sensor() == 100)
        calls++;
    return sensor() == 98 ? 7 : 0;
}
"""

Build = Callable[..., Path]


@pytest.fixture
def firmware(pytester: pytest.Pytester) -> Build:
    """Builds the test repository's firmware, as a change of its source or Makefile would."""

    def make(
        slow_down: str = "", history: int = 256, optimize: str = "-O2", sensor: int = 5
    ) -> Path:
        source = _FIRMWARE.replace("SLOW_DOWN", slow_down).replace("HISTORY", str(history))
        source = source.replace("return 5", f"return {sensor}")
        return build(pytester.path, "m4", source, optimize=optimize)

    return make


def _run(pytester: pytest.Pytester, *options: str, tests: str | None = None) -> pytest.RunResult:
    if tests is not None:
        source = "import pytest\n\n" + textwrap.dedent(tests)
        (pytester.path / "test_firmware.py").write_text(source)
    return pytester.runpytest_inprocess("-p", "ebnn.pytest_plugin", "--color=no", *options)


def _measured(elf: Path) -> dict[str, int]:
    machine = Machine(elf, regions=["step"])
    machine.run()
    record = machine.record().to_dict()
    return {**record["memory"], "step": record["regions"]["step"]["cycles"]["max"]}


def _budgeted(elf: Path) -> str:
    """A test whose budgets are exactly what the image takes now."""
    now = _measured(elf)
    return f"""
    @pytest.mark.budget(cycles={now["step"]}, region="step", ram={now["ram"]},
                        flash={now["flash"]}, stack={now["stack"]})
    def test_step(cortex_m):
        run = cortex_m("image-m4.elf", board="generic-m4", ram="15k")
        assert run.output == "started\\n"
        assert run["regions"]["step"]["count"] == 1
    """


# --- what changed is named ------------------------------------------------------------------


def test_unchanged_firmware_passes_with_nothing_to_spare(
    pytester: pytest.Pytester, firmware: Build
) -> None:
    tests = _budgeted(firmware())
    firmware()
    result = _run(pytester, tests=tests)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*= firmware =*",
            "*cycles of step*0.0 % left",
            "generic-m4: 0 flash wait states, cycle model version *, error * % mean, *",
            "1 run of firm*",
        ]
    )


def test_inserted_slow_down_names_the_function_and_its_line(
    pytester: pytest.Pytester, firmware: Build
) -> None:
    tests = _budgeted(firmware())
    _run(pytester, tests=tests).assert_outcomes(passed=1)
    slow = firmware(slow_down="for (volatile int spin = 0; spin < 9; spin++) {}")
    over = _measured(slow)["step"]
    result = _run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            f"step: {over:,} cycles, * over the budget of *, in image-m4.elf on generic-m4",
            "*where *cycles of all its calls went:",
            "* %  filter",
            "*costliest lines of the run: image.c:10 (filter)*",
            "since it last passed here:",
            f"*cycles of step * to {over:,}*",
            "*bytes of code and data: *filter * to *",
        ]
    )


def test_grown_buffer_is_named_with_its_size(pytester: pytest.Pytester, firmware: Build) -> None:
    tests = _budgeted(firmware())
    _run(pytester, tests=tests).assert_outcomes(passed=1)
    firmware(history=4096)
    result = _run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "RAM: *, 3,840 (*) over the budget of *",
            "*it is static 4,*heap 0 + stack *",
            "*largest symbols in ram: history 4,096, samples 256*",
            "*history 256 to 4,096*",
        ]
    )


def test_changed_compiler_flag_is_named(pytester: pytest.Pytester, firmware: Build) -> None:
    tests = _budgeted(firmware())
    _run(pytester, tests=tests).assert_outcomes(passed=1)
    firmware(optimize="-O0")
    result = _run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["compiled with: *-O0*", "*compiler flags: -O2 became -O0"])


def test_flipped_weight_is_named_beside_the_failed_assertion(
    pytester: pytest.Pytester,
) -> None:
    network = """
    const signed char weights[8] = {1, -1, 1, 1, -1, 1, -1, WEIGHT};
    const signed char other[8] = {1, 2, 3};
    __attribute__((noinline)) int infer(const signed char *x) {
        int sum = 0;
        for (int i = 0; i < 8; i++)
            sum += weights[i] * x[i];
        return sum;
    }
    int main(void) { return infer(other) == 0; }
    """
    tests = """
    @pytest.mark.budget(stack="1k")
    def test_infer(cortex_m):
        run = cortex_m("image-m4.elf", until="main")
        run.write_int(0x20000100, 0x0101010101010101, 8)
        assert run.call("infer", 0x20000100, signed=True) == 2
    """
    build(pytester.path, "m4", network.replace("WEIGHT", "1"))
    _run(pytester, tests=tests).assert_outcomes(passed=1)
    build(pytester.path, "m4", network.replace("WEIGHT", "-1"))
    result = _run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*assert 0 == 2*",
            "*changes*",
            "since it last*",
            "*contents of constants and data: weights",
        ]
    )


def test_without_a_cache_the_failure_still_names_its_causes(
    pytester: pytest.Pytester, firmware: Build
) -> None:
    tests = _budgeted(firmware())
    firmware(history=4096, optimize="-O0")
    result = _run(pytester, "-p", "no:cacheprovider", tests=tests)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*filter", "*history 4,096*", "compiled with: *-O0*"])
    result.stdout.no_fnmatch_line("*since it last passed*")


def test_all_failed_budgets_are_told_at_once(pytester: pytest.Pytester, firmware: Build) -> None:
    firmware()
    result = _run(
        pytester,
        tests="""
        @pytest.mark.budget(cycles=10, region="step", ram=20, stack=1, flash=30, heap=0)
        def test_step(cortex_m):
            cortex_m("image-m4.elf")
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "4 budgets do not hold: cycles of step * of 10; RAM * of 20; stack * of 1; flash *",
            "step: *over the budget of 10*",
            "RAM: *over the budget of 20*",
            "stack: *over the budget of 1*",
            "*stack at its peak: reset * > main * > step *",
            "flash: *over the budget of 30*",
            "*largest symbols in flash: *step *",
        ]
    )


def test_a_failing_test_shows_its_failed_budgets_too(
    pytester: pytest.Pytester, firmware: Build
) -> None:
    firmware()
    result = _run(
        pytester,
        tests="""
        @pytest.mark.budget(stack=1)
        def test_step(cortex_m):
            assert cortex_m("image-m4.elf").exit_status == 42

        @pytest.mark.budget(stack=1)
        def test_by_hand(cortex_m):
            cortex_m("image-m4.elf")
            pytest.fail("not good enough")
        """,
    )
    result.assert_outcomes(failed=2)
    told = ["*Captured budgets call*", "stack: * over *"]
    result.stdout.fnmatch_lines(["E *assert 0 == 42", *told, "E *not good enough", *told])


# --- several runs, functions, memory --------------------------------------------------------


def test_every_run_of_a_test_is_checked_and_the_worst_is_told(
    pytester: pytest.Pytester, firmware: Build
) -> None:
    firmware()
    result = _run(
        pytester,
        tests="""
        @pytest.mark.budget(cycles=300, region="filter")
        def test_filter(cortex_m):
            for count in (1, 64, 2, 63, *[1] * 8):
                cortex_m("image-m4.elf", call=("filter", 0x20000000, count))
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["filter: *; run 2 of 12 took most, 2 of 12 are over"])
    result.stdout.fnmatch_lines(["12 runs of firmware"])


def test_a_region_of_one_image_does_not_bind_the_others(
    pytester: pytest.Pytester, firmware: Build
) -> None:
    firmware()
    (pytester.path / "other").mkdir()
    build(pytester.path / "other", "m4", "int main(void) { return 0; }")
    result = _run(
        pytester,
        tests="""
        @pytest.mark.budget(cycles="1M", region="step")
        def test_both(cortex_m):
            cortex_m("image-m4.elf")
            cortex_m("other/image-m4.elf")
        """,
    )
    result.assert_outcomes(passed=1)


def test_functions_are_called_with_arguments_and_memory(
    pytester: pytest.Pytester, firmware: Build
) -> None:
    firmware()
    result = _run(
        pytester,
        tests="""
        def test_functions(cortex_m):
            run = cortex_m.boot("image-m4.elf", regions=["filter"])
            run.write("samples", bytes([3, 0, 0, 0]) * 64)
            assert run.call("filter", run.address("samples"), 4) == 3 * (1 + 2 + 3)
            took = run.region("filter").cycles
            assert run.call("filter", run.address("samples"), 3) == 3 * (1 + 2)
            assert run.region("filter").cycles < took
            assert run.call("never_called", signed=True) == -3
            assert run.call("never_called") == 2**32 - 3
            run.write_int("calls", -2)
            run.call("step", 1)
            assert run.read_int("calls", signed=True) == -1
            assert run.read("samples") == bytes([1, 0, 0, 0]) * 64
            with pytest.raises(Exception, match="samples has 256 bytes, not 257"):
                run.write("samples", bytes(257))
            assert run.run() == 0

        def test_one_function(cortex_m):
            run = cortex_m("image-m4.elf", call=("filter", 0x20000000, 1))
            assert run.result == 0 and run.regions["filter"]["count"] == 1

        def test_until(cortex_m):
            run = cortex_m("image-m4.elf", until="filter")
            assert run.read_int("calls") == 1 and run.exit_status is None

        def test_many_runs_give_their_memory_back(cortex_m):
            runs = [cortex_m("image-m4.elf") for _ in range(10)]
            assert len({run.cycles for run in runs}) == 1
            assert runs[-1].read_int("calls") == 1
            with pytest.raises(Exception, match="its memory was given back"):
                runs[0].read("calls")
        """,
    )
    result.assert_outcomes(passed=4)


def test_endless_firmware_is_stopped(pytester: pytest.Pytester, firmware: Build) -> None:
    firmware(sensor=100)
    result = _run(
        pytester,
        tests="""
        @pytest.mark.budget(cycles="1M")
        def test_for_a_while(cortex_m):
            run = cortex_m("image-m4.elf", stop_after="50k")
            assert run.exit_status is None and run["exit"] == 0 and run["fault"] is None
            assert 50_000 <= run.cycles < 50_100

        def test_for_good(cortex_m):
            cortex_m("image-m4.elf", max_cycles="60k")
        """,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["E *still running in main (image.c:*", "E *called through: reset*"]
    )


# --- faults ---------------------------------------------------------------------------------


def test_fault_fails_with_function_line_callers_and_output(
    pytester: pytest.Pytester, firmware: Build
) -> None:
    firmware(sensor=99, optimize="-O1")
    result = _run(
        pytester,
        tests="""
        def test_it(cortex_m):
            cortex_m("image-m4.elf")
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>       cortex_m("image-m4.elf")',
            "E *load from 0x40000000: *, in peek (image.c:23, pc *",
            "E *called through: reset > main > twice > peek",
            "E *its output:",
            "E *started",
        ]
    )
    result.stdout.no_fnmatch_line("*machine.py*")  # our own frames are no one's business


def test_expected_faults_and_exit_codes_can_be_looked_at(
    pytester: pytest.Pytester, firmware: Build
) -> None:
    firmware(sensor=99)
    result = _run(
        pytester,
        tests="""
        def test_fault(cortex_m):
            run = cortex_m("image-m4.elf", check=False)
            assert run.fault.kind == "unmapped" and run["fault"]["function"] == "peek"
            with pytest.raises(cortex_m.Fault, match="0x40000000"):
                cortex_m("image-m4.elf")
        """,
    )
    result.assert_outcomes(passed=1)
    firmware(sensor=98)
    result = _run(
        pytester,
        tests="""
        def test_status(cortex_m):
            assert cortex_m("image-m4.elf", check=False).exit_status == 7

        def test_fails(cortex_m):
            cortex_m("image-m4.elf")
        """,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *image-m4.elf exited with status 7", "E *its output:"])


def test_ram_limit_names_the_symbols_and_the_chain(
    pytester: pytest.Pytester, firmware: Build
) -> None:
    elf = firmware()
    limit = _measured(elf)["ram"] - 4
    result = _run(
        pytester,
        tests=f"""
        def test_it(cortex_m):
            cortex_m("image-m4.elf", ram={limit})
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *past --ram*", "E *largest symbols in ram: *samples*", "E *stack at its peak: *step*"]
    )


# --- configuration --------------------------------------------------------------------------


def test_budgets_of_pyproject_hold_unless_a_marker_says_otherwise(
    pytester: pytest.Pytester, firmware: Build
) -> None:
    firmware()
    pytester.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        ebnn_elf = "image-m4.elf"
        ebnn_boards = "generic-m4"
        [tool.ebnn.budgets.default]
        stack = 1
        [tool.ebnn.budgets.filtering]
        cycles = "2"
        region = "filter"
        """
    )
    result = _run(
        pytester,
        tests="""
        def test_default(cortex_m):
            assert cortex_m()["board"] == "generic-m4"

        @pytest.mark.budget(stack="1k")
        def test_own(cortex_m):
            cortex_m()

        @pytest.mark.budget(stack=None)
        def test_none(cortex_m):
            cortex_m()

        @pytest.mark.budget("filtering", stack="1k")
        def test_named(cortex_m):
            cortex_m()

        @pytest.mark.budget("filtering", stack="1k", cycles="1M")
        def test_named_and_changed(cortex_m):
            cortex_m()

        @pytest.mark.budget(stack=2)
        class TestGroup:
            @pytest.mark.budget(stack="1k")
            def test_closest(self, cortex_m):
                cortex_m()
        """,
    )
    result.assert_outcomes(passed=4, failed=2)
    result.stdout.fnmatch_lines(
        [
            "stack: *over the budget of 1,*; set in [[]tool.ebnn.budgets.default]",
            "filter: *over the budget of 2,*; set in [[]tool.ebnn.budgets.filtering]",
        ]
    )


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("cicles=3", "no budget 'cicles': use cycles, ram, static, heap, stack, flash, region"),
        ("ram='lots'", "ram 'lots' is not a size"),
        ("cycles=1.5", "cycles = 1.5 is not a budget"),
        ("region='step'", "region = 'step': a function's name, with its cycles"),
        ("'nix'", "pyproject.toml has no table [[]tool.ebnn.budgets.nix]"),
    ],
)
def test_a_wrong_budget_is_an_error_of_one_line(
    pytester: pytest.Pytester, marker: str, message: str
) -> None:
    result = _run(
        pytester,
        tests=f"""
        @pytest.mark.budget({marker})
        def test_it(cortex_m):
            pass
        """,
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{message}*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_budgets_that_nothing_was_held_against_fail(
    pytester: pytest.Pytester, firmware: Build
) -> None:
    firmware()
    result = _run(
        pytester,
        tests="""
        @pytest.mark.budget(cycles=100)
        def test_no_run(cortex_m):
            pass

        @pytest.mark.budget(cycles=100, region="never_called")
        def test_no_such_call(cortex_m):
            cortex_m("image-m4.elf")

        @pytest.mark.budget(cycles=100, region="stap")
        def test_no_such_function(cortex_m):
            cortex_m("image-m4.elf")
        """,
    )
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "*made no run: call cortex_m(...)",
            "cycles of never_called: it did not run to its end, in image-m4.elf on generic-m4",
            "cycles of stap: it did not run *no symbol 'stap'; did you mean step*",
        ]
    )


def test_tests_run_on_each_board(pytester: pytest.Pytester, firmware: Build) -> None:
    firmware()
    tests = """
    @pytest.mark.boards("generic-m4", "stm32f407-discovery")
    def test_boards(cortex_m, ebnn_board):
        assert cortex_m("image-m4.elf")["board"] == ebnn_board

    def test_default(cortex_m, ebnn_board):
        assert ebnn_board is None and cortex_m("image-m4.elf")["board"] == "generic-m4"
    """
    result = _run(pytester, "-v", tests=tests)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*::test_boards[[]stm32f407-discovery] PASSED*"])
    result = _run(
        pytester,
        "--ebnn-board=generic-m4@0ws",
        "-v",
        tests="""
        def test_it(cortex_m):
            assert cortex_m("image-m4.elf")["board"] == "generic-m4"

        def test_own(cortex_m):
            run = cortex_m("image-m4.elf", board="stm32f407-discovery")
            assert run["board"] == "stm32f407-discovery"
        """,
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*::test_it PASSED*"])


def test_image_of_the_command_line_and_records(pytester: pytest.Pytester, firmware: Build) -> None:
    firmware()
    result = _run(
        pytester,
        "--ebnn-elf=image-m4.elf",
        "--ebnn-records=out/records",
        tests="""
        def test_it(cortex_m):
            cortex_m()
            cortex_m(call="never_called")
        """,
    )
    result.assert_outcomes(passed=1)
    records = sorted((pytester.path / "out" / "records").iterdir())
    assert [one.name for one in records] == [f"test_firmware.py-test_it-{n}.json" for n in (1, 2)]
    record = json.loads(records[1].read_text())
    assert record["result"] == 2**32 - 3 and record["kind"] == "sim"


def test_xdist_workers_hand_their_figures_to_the_summary(
    pytester: pytest.Pytester, firmware: Build
) -> None:
    firmware()
    result = _run(
        pytester,
        "-n1",
        "--ebnn-markdown=budgets.md",
        tests="""
        @pytest.mark.budget(stack="1k")
        def test_kept(cortex_m):
            cortex_m("image-m4.elf")

        @pytest.mark.budget(stack=1)
        def test_over(cortex_m):
            cortex_m("image-m4.elf")
        """,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*stack at its peak: *",
            "*= firmware =*",
            "*::test_over *stack *OVER",
            "*::test_kept *stack *% left",
            "2 runs of firmware",
        ]
    )
    table = (pytester.path / "budgets.md").read_text().splitlines()
    assert table[2] == "| test | board | budget | used | of |  |"
    assert table[4].startswith("| test_firmware.py::test_over | generic-m4 | stack |")


# --- everybody else -------------------------------------------------------------------------


def test_the_entry_point_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {
        "ebnn.pytest_plugin": "ebnn.pytest_plugin"
    }
    assert "ebnn.pytest_plugin" in project["tool"]["setuptools"]["packages"]


def test_the_plugin_loads_nothing_before_a_test_asks_for_it() -> None:
    code = "import pytest, sys; before = set(sys.modules); import ebnn.pytest_plugin; "
    code += "print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ebnn", "ebnn.pytest_plugin"]


def test_other_peoples_tests_are_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import sys

        def pytest_configure(config):
            config.addinivalue_line("markers", "budget(euros): what a trip costs")

        def pytest_sessionfinish(session):
            assert not any(name.startswith("ebnn.sim") for name in sys.modules)
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.budget("a lot", euros=100)
        @pytest.mark.boards("surf")
        def test_trip():
            pass
        """
    )
    result = pytester.runpytest_subprocess("-p", "ebnn.pytest_plugin", "--strict-markers")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*firmware*")
