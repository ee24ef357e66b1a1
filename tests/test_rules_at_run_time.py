"""Cycle rules that depend on where the code goes or what it works on: each run on every core it
applies to, against a count worked out by hand.

Sources: table 3-1 of the Cortex-M0, M0+ and M4 manuals, section 3.3 of the Cortex-M3 manual, with
the pipeline refill P fixed as in sim/cycle_rules.py. Each count holds the function's own return.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from sim_images import ENGINES, assert_explained, build, function

from ebnn.sim import Machine

_ALL, _MAINLINE = ("m0", "m0plus", "m3", "m4"), ("m3", "m4")
# Name, code, arguments, cores, cycles on each.
_RULES = [
    # PUSH 1 + N; BL: M0 4, M0+ 3, M3 and M4 1 + 1; BX: M0 3, M0+ 2, M3 and M4 1 + 2;
    # POP with PC: M0 4 + N, M0+ 3 + N, M3 and M4 1 + N + 2.
    ("call", "push {r4, lr}; bl leaf; pop {r4, pc}", (), _ALL, (16, 13, 13, 13)),
    # BLX: M0 3, M0+ 2, M3 and M4 1 + 2.
    ("call_register", "push {r4, lr}; blx r0; pop {r4, pc}", ("leaf",), _ALL, (15, 12, 14, 14)),
    # B: M0 3, M0+ 2, M3 and M4 1 + 1.
    ("jump", "b 1f; .balign 4; 1: bx lr", (), _ALL, (6, 4, 5, 5)),
    # A branch that is not taken is 1 everywhere.
    ("no_jump", "cmp r0, #0; bne 1f; 1: bx lr", (0,), _ALL, (5, 4, 5, 5)),
    # MOV with PC: M0 3, M0+ 2, M3 and M4 1 + 2.
    ("move_to_pc", "adds r0, #1; mov pc, lr", (), _ALL, (4, 3, 4, 4)),
    # LDR with PC: 2 + 2.
    ("load_to_pc", "push {lr}; ldr pc, [sp], #4", (), _MAINLINE, (6, 6)),
    # TBB: 2 + 3.
    ("table_branch", "tbb [pc, r0]; .byte 1, 1; 1: bx lr", (0,), _MAINLINE, (8, 8)),
    # A taken branch to a 32-bit instruction off word alignment: one more.
    ("split_target", "b 1f; .balign 4; nop; 1: add.w r0, r0, #1; bx lr", (), _MAINLINE, (7, 7)),
    ("whole_target", "b 1f; .balign 4; 1: add.w r0, r0, #1; bx lr", (), _MAINLINE, (6, 6)),
    # An unaligned word is two halfwords, or byte, halfword, byte: LDR 2, and 1 for each further.
    ("halfwords", "ldr r0, [r0]; bx lr", ("data", 2), _MAINLINE, (6, 6)),
    ("odd_word", "ldr r0, [r0]; bx lr", ("data", 1), _MAINLINE, (7, 7)),
    # Division: 2 to 12. Here 2, and where there is a quotient 1 and 1 for 4 bits of it.
    ("no_quotient", "udiv r0, r0, r1; bx lr", (0, 1), _MAINLINE, (5, 5)),
    ("wide_quotient", "udiv r0, r0, r1; bx lr", (0xFFFFFFFF, 1), _MAINLINE, (14, 14)),
    # M3: UMULL 3 to 5, UMLAL 4 to 7; M4: 1.
    ("small_product", "umull r0, r1, r0, r1; bx lr", (3, 5), _MAINLINE, (6, 4)),
    ("wide_product", "umull r0, r1, r0, r1; bx lr", (0xFFFFFFFF, 0xFFFFFFFF), _MAINLINE, (8, 4)),
    ("small_sum", "umlal r0, r1, r2, r3; bx lr", (0, 0, 3, 5), _MAINLINE, (7, 4)),
    ("wide_sum", "umlal r0, r1, r2, r3; bx lr", (0, 0, 0xFFFFFFFF, 0xFFFFFFFF), _MAINLINE, (10, 4)),
]  # fmt: skip
_CASES = [
    (name, code, arguments, core, cycles)
    for name, code, arguments, cores, counts in _RULES
    for core, cycles in zip(cores, counts, strict=True)
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for core in _ALL:
        code = [function("leaf", "    bx lr")]
        code += [
            function(name, "\n".join(f"    {one}" for one in body.split("; ")))
            for name, body, _, cores, _ in _RULES
            if core in cores
        ]
        c = "unsigned data[4]; int main(void) { return 0; }"
        found[core] = build(tmp_path_factory.mktemp(core), core, c, "".join(code))
    return found


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("name", "code", "arguments", "core", "cycles"),
    _CASES,
    ids=[f"{name}-{core}" for name, _, _, core, _ in _CASES],
)
def test_what_happens_costs_what_the_manual_says(
    images: dict[str, Path],
    name: str,
    code: str,
    arguments: tuple[object, ...],
    core: str,
    cycles: int,
    engine: str,
) -> None:
    machine = Machine(images[core], core=f"cortex-{core}", regions=(name,), engine=engine)
    match arguments:
        case ["leaf"]:
            numbers = [machine.symbol("leaf").address | 1]
        case ["data", int(offset)]:
            numbers = [machine.symbol("data").address + offset]
        case _:
            numbers = [int(str(one)) for one in arguments]
    machine.call(name, *numbers)
    assert machine.region(name).cycles == cycles
    assert_explained(machine)
