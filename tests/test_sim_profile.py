"""A profile tells calls, self and inclusive cycles as counted by hand, and all of the run's."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sim_images import CORES, ENGINES, build, function

from ebnn.sim import Machine, load_board
from ebnn.sim.call_tree import MAX_NODE_DEPTH, MAX_NODES
from ebnn.sim.cli import main
from ebnn.sim.cost import FLASH_WAIT
from ebnn.sim.errors import UserError
from ebnn.sim.faults import BudgetExceeded, Fault
from ebnn.sim.profile import FunctionProfile, Profile
from ebnn.sim.profile_formats import collapsed, speedscope
from ebnn.sim.render import model_text

_SCHEMA = json.loads((Path(__file__).parent.parent / "sim" / "record.schema.json").read_text())
_NO_MAIN = "int unused;"

# Cycles on M0+ and M4, by the cores' manuals.
_CALLS = (
    function(
        "main",
        """
        push {lr}           @ 2
        movs r0, #2         @ 1
        bl outer            @ 3, 2
        movs r0, #0         @ 1
        pop {pc}            @ 4""",  # itself 11, 10
    )
    + function(
        "outer",
        """
        push {r4, lr}       @ 3
        movs r4, r0         @ 1
    1:  bl leaf             @ 3, 2: twice
        subs r4, #1         @ 1: twice
        bne 1b              @ 2, then 1
        pop {r1, r4}        @ 3
        mov lr, r4          @ 1
        b tail              @ 2""",  # itself 21, 19
    )
    + function("leaf", "    movs r0, #1\n    bx lr")  # 1 + 2, 1 + 3
    + function(
        "tail",
        """
        movs r0, #5         @ 1
    1:  subs r0, #1         @ 1: 5 times
        bne 1b              @ 2: 4 times, then 1
        bx lr               @ 2, 3""",  # 17, 18
    )
)

_MIXED = """
typedef int (*operation)(int, int);
__attribute__((noipa)) static int add(int a, int b) { return a + b; }
__attribute__((noipa)) static int divide(int a, int b) { return a / (b | 1); }
__attribute__((noipa)) int fibonacci(int n)
{ return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
__attribute__((noipa)) int odd(int n);
__attribute__((noipa)) int even(int n) { return n == 0 ? 1 : odd(n - 1); }
__attribute__((noipa)) int odd(int n) { return n == 0 ? 0 : even(n - 1); }
static operation const table[] = { add, divide };
unsigned char bytes[64];
int main(void) {
    int sum = 0;
    for (int i = 0; i < 20; i++) sum = table[i & 1](sum + 1000, i);
    for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * sum);
    return (sum + fibonacci(9) + even(11)) & 15;
}
"""


def _profiled(elf: Path, engine: str = "auto", **options: Any) -> Profile:
    machine = Machine(elf, engine=engine, profile=True, **options)
    machine.run()
    return _whole(machine)


def _whole(machine: Machine) -> Profile:
    """The profile, once everything in it is seen to sum to the run."""
    profile = machine.profile()
    assert profile.cycles == machine.cycles
    assert sum(one.self_cycles for one in profile.functions) == machine.cycles
    assert sum(node.cycles for node in profile.nodes) == machine.cycles
    assert sum(stack.cycles for stack in profile.stacks()) == machine.cycles
    assert sum(one.instructions for one in profile.functions) == machine.instructions
    stalls: Counter[str] = Counter()
    for one in profile.functions:
        assert one.self_cycles == one.instructions + sum(one.stalls.values())
        stalls.update(one.stalls)
    assert {cause: cycles for cause, cycles in stalls.items() if cycles} == machine.stalls()
    return profile


def _named(profile: Profile) -> dict[str, FunctionProfile]:
    return {one.name: one for one in profile.functions}


def _stacks(profile: Profile) -> dict[str, int]:
    return {";".join(stack.frames): stack.cycles for stack in profile.stacks()}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("core", "expected"),
    [
        ("m0plus", {"main": (11, 55), "outer": (21, 44), "leaf": (6, 6), "tail": (17, 17)}),
        ("m4", {"main": (10, 55), "outer": (19, 45), "leaf": (8, 8), "tail": (18, 18)}),
    ],
)
def test_self_and_inclusive_cycles_are_those_counted_by_hand(
    core: str, expected: dict[str, tuple[int, int]], engine: str, tmp_path: Path
) -> None:
    profile = _profiled(build(tmp_path, core, _NO_MAIN, _CALLS), engine, core=core)
    found = _named(profile)
    got = {name: (found[name].self_cycles, found[name].inclusive_cycles) for name in expected}
    assert got == expected
    assert {name: found[name].calls for name in expected} == {
        "main": 1, "outer": 1, "leaf": 2, "tail": 1,
    }  # fmt: skip
    assert found["reset"].inclusive_cycles == profile.cycles
    # What a function jumps to at its end is called from it, not from its caller.
    stacks = _stacks(profile)
    assert stacks["reset;main;outer;tail"] == expected["tail"][0]
    assert stacks["reset;main;outer;leaf"] == expected["leaf"][0]


@pytest.mark.parametrize("engine", ENGINES)
def test_recursion_is_in_the_inclusive_cycles_once(engine: str, tmp_path: Path) -> None:
    # The return address is also where the branch leads: arriving there is not always a return.
    code = function(
        "main", "    push {lr}\n    movs r0, #3\n    bl count\n    pop {pc}"
    ) + function(
        "count",
        "    push {lr}\n    subs r0, #1\n    beq 1f\n    bl count\n1:  movs r1, #0\n    pop {pc}",
    )
    profile = _profiled(build(tmp_path, "m0plus", _NO_MAIN, code), engine, core="m0plus")
    count = _named(profile)["count"]
    # push 2, subs 1, beq 1 (the last 2), bl 3 (not the last), movs 1, pop 4
    assert (count.calls, count.self_cycles, count.inclusive_cycles) == (3, 34, 34)
    stacks = _stacks(profile)
    assert stacks["reset;main;count"] == stacks["reset;main;count;count"] == 12
    assert stacks["reset;main;count;count;count"] == 10


@pytest.mark.parametrize("engine", ENGINES)
def test_a_far_jump_within_a_function_is_no_call(engine: str, tmp_path: Path) -> None:
    code = function(
        "main",
        """
        push {lr}           @ 2
        bl 1f               @ 3: how GCC jumps further than an ARMv6-M's branches reach
        .word 0xdeffdeff
    1:  movs r0, #0         @ 1
        pop {pc}            @ 4""",
    )
    profile = _profiled(build(tmp_path, "m0plus", _NO_MAIN, code), engine, core="m0plus")
    main = _named(profile)["main"]
    assert (main.calls, main.self_cycles, main.inclusive_cycles) == (1, 10, 10)
    assert _stacks(profile)["reset;main"] == 10


def test_chains_too_long_to_keep_are_folded(tmp_path: Path) -> None:
    program = """
    __attribute__((noipa)) int inner(int n);
    __attribute__((noipa)) int outer(int n) { return n ? inner(n - 1) + 1 : 0; }
    __attribute__((noipa)) int inner(int n) { return n ? outer(n - 1) + 2 : 1; }
    int main(void) { return outer(401) & 1; }
    """
    elf = build(tmp_path, "m4", program)
    profile = _profiled(elf)
    assert (_named(profile)["outer"].calls, _named(profile)["inner"].calls) == (201, 201)
    assert max(len(stack.frames) for stack in profile.stacks()) == MAX_NODE_DEPTH
    both = _named(profile)["outer"].self_cycles + _named(profile)["inner"].self_cycles
    assert _named(profile)["outer"].inclusive_cycles == both
    assert _profiled(elf, "python") == profile


def test_chains_too_many_to_keep_are_folded(tmp_path: Path) -> None:
    program = """
    __attribute__((noipa)) void left(int n);
    __attribute__((noipa)) void right(int n) { if (n) { left(n - 1); right(n - 1); } }
    __attribute__((noipa)) void left(int n) { if (n) { left(n - 1); right(n - 1); } }
    __attribute__((noipa)) void leaf(void) { }
    __attribute__((noipa)) void late(void) { leaf(); }
    int main(void) { left(14); late(); return 0; }
    """
    elf = build(tmp_path, "m4", program, optimize="-O1")
    profile = _profiled(elf)
    assert _named(profile)["left"].calls + _named(profile)["right"].calls == 2**15 - 1
    assert MAX_NODES <= len(profile.nodes) < MAX_NODES + 10
    assert "(deeper calls);late" in _stacks(profile)
    own = {one.name: one.self_cycles for one in profile.functions}
    for name in own:
        stacks = [stack.cycles for stack in profile.stacks() if stack.frames[-1] == name]
        assert sum(stacks) == own[name], name
    assert _profiled(elf, "python") == profile


@pytest.mark.parametrize("engine", ENGINES)
def test_functions_that_jump_to_each_other_do_not_pile_up(engine: str, tmp_path: Path) -> None:
    code = (
        function(
            "main", "    push {lr}\n    movs r0, #200\n    bl ping\n    bl after\n    pop {pc}"
        )
        + function("ping", "    subs r0, #1\n    b pong")
        + function("pong", "    cmp r0, #0\n    bne ping\n    bx lr")
        + function("after", "    bx lr")
    )
    profile = _profiled(build(tmp_path, "m0plus", _NO_MAIN, code), engine)
    found = _named(profile)
    assert (found["ping"].calls, found["pong"].calls) == (200, 200)
    assert set(_stacks(profile)) == {
        "reset", "reset;main", "reset;main;ping", "reset;main;ping;pong", "reset;main;after",
    }  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
def test_a_jump_out_of_nested_calls_leaves_them(engine: str, tmp_path: Path) -> None:
    code = (
        function(
            "main",
            """
            push {r4-r7, lr}
            mov r7, sp
            ldr r6, =1f
            bl deep
            b 2f
            .p2align 2
        1:  bl after
        2:  movs r0, #0
            pop {r4-r7, pc}
            .ltorg""",
        )
        + function("deep", "    push {r4, lr}\n    bl deeper\n    pop {r4, pc}")
        + function("deeper", "    push {r4, lr}\n    mov sp, r7\n    mov pc, r6")
        + function("after", "    bx lr")
    )
    profile = _profiled(build(tmp_path, "m0plus", _NO_MAIN, code), engine)
    stacks = _stacks(profile)
    assert "reset;main;deep;deeper" in stacks
    assert "reset;main;after" in stacks
    assert [name for name in stacks if name.endswith("after")] == ["reset;main;after"]


@pytest.mark.parametrize("core", CORES)
def test_every_cycle_is_in_the_profile_and_both_engines_agree(core: str, tmp_path: Path) -> None:
    elf = build(tmp_path, core, _MIXED)
    python = _profiled(elf, "python", core=core)
    own: Counter[str] = Counter()
    for stack in python.stacks():
        own[stack.frames[-1]] += stack.cycles
    assert own == {one.name: one.self_cycles for one in python.functions}
    found = _named(python)
    assert found["add"].calls == found["divide"].calls == 10
    assert _profiled(elf, "auto", core=core) == python


def test_wait_states_of_the_flash_are_in_the_profile(tmp_path: Path) -> None:
    elf = build(tmp_path, "m4f", _MIXED)
    board = load_board("stm32f407-discovery")
    profile = _profiled(elf, "python", board=board)
    assert sum(one.stalls.get(FLASH_WAIT, 0) for one in profile.functions) > 0
    assert _profiled(elf, "auto", board=board) == profile


@pytest.mark.parametrize("engine", ENGINES)
def test_code_without_symbols_is_named_after_where_it_was_called(
    engine: str, tmp_path: Path
) -> None:
    code = _MIXED.replace("noipa", 'noipa, optimize("no-optimize-sibling-calls")')
    elf = build(tmp_path, "m4", code)
    stripped = tmp_path / "stripped.elf"
    subprocess.run(["arm-none-eabi-strip", "-s", "-o", stripped, elf], check=True, timeout=60)
    with_names = {one.address: one for one in _profiled(elf, engine).functions}
    without = {one.address: one for one in _profiled(stripped, engine).functions}
    assert len(without) > 5
    for address, one in without.items():
        named = with_names[address]
        assert one.name == f"{address:#010x}"
        assert (one.calls, one.self_cycles) == (named.calls, named.self_cycles)
        assert one.inclusive_cycles == named.inclusive_cycles


@pytest.mark.parametrize("engine", ENGINES)
def test_a_call_from_outside_has_a_root_of_its_own(engine: str, tmp_path: Path) -> None:
    machine = Machine(build(tmp_path, "m4", _MIXED), engine=engine, profile=True)
    machine.run_until("main")
    assert machine.call("fibonacci", 3) == 2
    called = _stacks(_whole(machine))
    assert set(called) == {"reset", "fibonacci", "fibonacci;fibonacci",
                           "fibonacci;fibonacci;fibonacci"}  # fmt: skip
    machine.run()
    stacks = _stacks(_whole(machine))
    assert stacks["fibonacci"] == called["fibonacci"]
    assert {"reset;main", "reset;main;add", "reset;main;fibonacci"} < set(stacks)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_that_ends_badly_is_profiled_up_to_there(engine: str, tmp_path: Path) -> None:
    code = function("main", "    push {lr}\n    bl bad\n    pop {pc}") + function(
        "bad", "    movs r0, #0x70\n    lsls r0, r0, #24\n    movs r1, #1\n    ldr r1, [r0]\n"
        "    ldr r2, [r0, #4]\n    adds r1, r1, r2\n    bx lr"
    )  # fmt: skip
    elf = build(tmp_path, "m4", _NO_MAIN, code)
    machine = Machine(elf, engine=engine, profile=True)
    with pytest.raises(Fault):
        machine.run()
    found = _named(_whole(machine))
    assert found["bad"].instructions == 3
    endless = build(tmp_path, "m4", 'int main(void) { for (;;) __asm__ volatile(""); }')
    machine = Machine(endless, engine=engine, profile=True, max_cycles=5000)
    with pytest.raises(BudgetExceeded):
        machine.run()
    assert _named(_whole(machine))["main"].self_cycles > 4900


@pytest.mark.parametrize("engine", ENGINES)
def test_an_access_done_in_parts_is_in_the_profile(engine: str, tmp_path: Path) -> None:
    code = function("main", "    push {lr}\n    bl odd\n    pop {pc}") + function(
        "odd", "    movs r0, #1\n    lsls r0, r0, #29\n    adds r0, #65\n    ldr r1, [r0]\n"
        "    movs r0, #0\n    bx lr"
    )  # fmt: skip
    profile = _profiled(build(tmp_path, "m4", _NO_MAIN, code), engine)
    assert _named(profile)["odd"].stalls["unaligned access"] > 0
    assert "reset;main;odd" in _stacks(profile)
    assert _named(profile)["odd"].calls == 1


def test_static_functions_of_one_name_are_told_apart(tmp_path: Path) -> None:
    code = (
        function("main", "    push {lr}\n    bl first\n    bl second\n    pop {pc}")
        + function("first", "    b helper").replace(".global first", "")
        + function("helper", "    bx lr").replace(".global helper", "")
    )
    other = """
    static __attribute__((noipa)) int helper(void) { return 0; }
    int second(void) { return helper(); }
    """
    names = {one.name for one in _profiled(build(tmp_path, "m4", other, code)).functions}
    assert len([name for name in names if name.startswith("helper@0x80000")]) == 2, names


def test_without_profiling_there_is_no_profile(tmp_path: Path) -> None:
    machine = Machine(build(tmp_path, "m4", _MIXED))
    machine.run()
    with pytest.raises(UserError, match="profile=True"):
        machine.profile()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("image"), "m4", _MIXED)


def test_speedscope_files_hold_what_the_format_asks_for(image: Path) -> None:
    profile = _profiled(image)
    data = json.loads(json.dumps(speedscope(profile, "image")))
    assert data["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    frames = data["shared"]["frames"]
    assert all(set(frame) == {"name"} and frame["name"] for frame in frames)
    (one,) = data["profiles"]
    assert set(one) == {"type", "name", "unit", "startValue", "endValue", "samples", "weights"}
    assert (one["type"], one["unit"], one["startValue"]) == ("sampled", "none", 0)
    assert len(one["samples"]) == len(one["weights"])
    assert all(0 <= frame < len(frames) for sample in one["samples"] for frame in sample)
    assert one["endValue"] == sum(one["weights"]) == profile.cycles
    outer = frames[one["samples"][0][0]]["name"]
    assert outer == "reset"


def test_collapsed_stacks_sum_to_the_run(image: Path) -> None:
    profile = _profiled(image)
    lines = collapsed(profile).splitlines()
    stacks = dict(line.rsplit(" ", 1) for line in lines)
    assert len(stacks) == len(lines)
    assert sum(int(cycles) for cycles in stacks.values()) == profile.cycles
    assert "reset;main;add" in stacks


def test_the_command_prints_and_writes_profiles(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, scope, stacks = (tmp_path / name for name in ("run.json", "scope.json", "stacks"))
    arguments = ["--profile-speedscope", str(scope), "--profile-collapsed", str(stacks)]
    assert main(["run", str(image), "--profile", "--json", str(record), *arguments]) == 0
    table = capsys.readouterr().out
    data = json.loads(record.read_text())
    jsonschema.validate(data, _SCHEMA)
    assert sum(one["self_cycles"] for one in data["profile"]["functions"]) == data["cycles"]
    for one in data["profile"]["functions"]:
        assert one["name"] in table
        assert f"{one['self_cycles']:,}" in table
    drawn = json.loads(scope.read_text())
    assert drawn["profiles"][0]["endValue"] == data["cycles"]
    assert f"cycle model {model_text(data['model'])}" in drawn["name"]
    assert sum(int(line.rsplit(" ", 1)[1]) for line in stacks.open()) == data["cycles"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "scope.json", "stacks"]
    assert main(["run", str(image), "--json", "-"]) == 0
    assert "profile" not in json.loads(capsys.readouterr().out)


def test_a_profile_that_cannot_be_written_is_one_line_and_exit_2(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(image), "--profile-collapsed", str(tmp_path / "no" / "file")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
