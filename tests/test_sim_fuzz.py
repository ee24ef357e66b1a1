"""Mutated images and random code end in one of the four exit codes, never in a crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from raw_elf import FLASH, RawSegment, firmware, raw_elf
from sim_images import build, function

from ebnn.sim import fuzz, fuzz_child
from ebnn.sim.board import generic_board
from ebnn.toolchain.firmware import build_firmware

_SEED = 1
_MUTANTS = 5000
_SLICES = 10

_PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include "semihosting.h"
static unsigned table[64];
static volatile float scale = 2.5f;
__attribute__((noinline)) unsigned divide(unsigned a, unsigned b) { return a / b; }
__attribute__((noinline)) int clamp(int x) { return x < 0 ? 0 : x > 99 ? 99 : x; }
int main(void) {
    unsigned *heap = malloc(sizeof *heap);
    for (unsigned i = 1; i < 64; i++) { table[i] = divide(table[i - 1] + 2654435761u, i); }
    *heap = (unsigned)clamp((int)((float)table[63] * scale));
    semihosting_write_u32(*heap);
    return (int)(*heap & 127);
}
"""

CALLER = "void work(void); int main(void) { work(); return 0; }"

# Loads, stores, IT blocks, a table branch, a division, an unaligned load, then floating point.
MAINLINE = """
    ldr r4, =0x20000100
    movs r0, #90
    movs r1, #7
    udiv r2, r0, r1
    cmp r2, #12
    itte eq
    strdeq r0, r1, [r4]
    ldreq r3, [r4, #1]
    movne r3, #0
    smull r5, r6, r2, r0
    ldr r7, =0xe000ed88
    movs r5, #0xf
    lsls r5, r5, #20
    str r5, [r7]
    dsb
    vmov s0, r2
    vcvt.f32.u32 s0, s0
    vdiv.f32 s1, s0, s0
    vpush {s0-s3}
    vpop {s4-s7}
    and r0, r2, #1
    tbb [pc, r0]
1:  .byte 1, 1
    .p2align 1
    bx lr
    .ltorg
"""
BASELINE = """
    push {r4, lr}
    ldr r4, =0x20000100
    movs r0, #9
    stm r4!, {r0, r1}
1:  ldrb r1, [r4]
    strh r0, [r4]
    muls r1, r0
    subs r0, #1
    bne 1b
    pop {r4, pc}
    .ltorg
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Firmware of the toolchain, small assembly for two cores, and code without any section."""
    folder = tmp_path_factory.mktemp("seeds")
    (folder / "main.c").write_text(_PROGRAM)
    bare = folder / "bare.elf"
    # movs r0, #9; 1: subs r0, #1; bne 1b; b 1b
    bare.write_bytes(raw_elf([RawSegment(FLASH, firmware(0x2009, 0x3801, 0xD1FD, 0xE7FC))]))
    return [
        build_firmware([folder / "main.c"], generic_board("cortex-m4f"), folder / "printf.elf"),
        build(folder, "m0", CALLER, assembly=function("work", BASELINE)),
        build(folder, "m4f", CALLER, assembly=function("work", MAINLINE)),
        bare,
    ]


@pytest.mark.parametrize("part", range(_SLICES), ids=lambda part: f"part{part}")
def test_every_mutant_of_an_image_ends_in_an_exit_code(images: list[Path], part: int) -> None:
    share = range(_MUTANTS)[_MUTANTS * part // _SLICES : _MUTANTS * (part + 1) // _SLICES]
    result = fuzz.campaign(images, share, _SEED)
    assert not result.failures
    assert result.ends.total() == len(share)
    assert set(result.ends) == {0, 1, 2, 3}  # else the mutants do not get around
    assert 0 < result.peak_mib < 400


def _followed(program: str) -> fuzz.Campaign:
    part = fuzz.Campaign()
    assert fuzz.follow([sys.executable, "-c", program], 0, part) == 8
    return part


def test_a_crash_is_a_failure_with_the_mutants_number_and_the_rest_goes_on() -> None:
    part = _followed("import os; print('at 6\\nexit 2\\nat 7', flush=True); os.abort()")
    assert part.ends == {2: 1}
    assert [line.partition(":")[0] for line in part.failures] == ["mutant 7"]


def test_a_traceback_is_a_failure_that_names_the_exception() -> None:
    part = _followed("print('at 7'); raise KeyError('lost')")
    assert part.failures == ["mutant 7: status 1: KeyError: 'lost'"]


def test_a_hang_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "HANG_SECONDS", 0.5)
    part = _followed("import time; print('at 7', flush=True); time.sleep(60)")
    assert part.failures == ["mutant 7: no end in 0.5 s"]


@pytest.mark.parametrize(
    ("action", "heard"),
    [
        ("open('/etc/passwd').close()", "open ('/etc/passwd'"),
        ("open(allowed, 'w').close()", "open ('"),
        ("os.remove(allowed)", "os.remove"),
        ("os.system('true')", "os.system"),
        ("open(allowed).close(); import wave", "None"),
    ],
)
def test_the_campaigns_sandbox_hears_of_host_files(action: str, heard: str, tmp_path: Path) -> None:
    (tmp_path / "allowed").write_text("")
    program = f"""
import os
from pathlib import Path
from ebnn.sim.fuzz_child import Sandbox
allowed = Path({str(tmp_path / "allowed")!r})
sandbox = Sandbox(allowed)
sandbox.watching = True
{action}
sandbox.watching = False
print(sandbox.broken)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith(heard), done


def test_ending_differently_on_the_engines_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elf = build(tmp_path, "m3")
    options = fuzz_child.Options(None, None, None, None, other_engine=True, through_cli=True)
    assert fuzz_child.judge(elf, options) == (0, None)
    monkeypatch.setattr(fuzz_child, "_MAX_CYCLES", 5)
    assert fuzz_child.judge(elf, options) == (1, None)
    monkeypatch.setattr(
        "ebnn.sim.engine_python.PythonEngine._slow_path",
        lambda engine, block, before, address, size: engine._count(block, 10),
    )
    code, wrong = fuzz_child.judge(elf, options)
    assert (code, wrong and wrong[:32]) == (1, "the Python engine ends otherwise")


def test_the_command_counts_by_exit_code(
    images: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    arguments = [*map(str, images[1:3]), "--count", "40", "--seed", "9", "--jobs", "2"]
    assert fuzz.main(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["mutants"] == sum(first["exit_codes"].values()) == 40
    assert fuzz.main(arguments[:-2]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["exit_codes"] == first["exit_codes"]  # whatever the number of processes
    assert fuzz.main([str(images[1].with_name("absent.elf"))]) == 2
    assert capsys.readouterr().err.count("\n") == 1
