"""Small firmware images for the simulator's tests, built with the real compiler."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from ebnn.sim import Machine
from ebnn.sim.engine_native import find_library

ENGINES = [
    pytest.param(
        "native",
        marks=pytest.mark.skipif(find_library() is None, reason="the native engine is not built"),
    ),
    "python",
]

CORES = ["m0", "m0plus", "m3", "m4", "m4f", "m7", "m33"]
_FLAGS = {
    "m0": ["-mcpu=cortex-m0"],
    "m0plus": ["-mcpu=cortex-m0plus"],
    "m3": ["-mcpu=cortex-m3"],
    "m4": ["-mcpu=cortex-m4", "-mfloat-abi=soft"],
    "m4f": ["-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"],
    "m7": ["-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-d16"],
    "m33": ["-mcpu=cortex-m33", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"],
}

_SCRIPT = """
ENTRY(reset)
SECTIONS {
    .text 0x08000000 : { KEEP(*(.vectors)) *(.text*) *(.rodata*) }
    .data 0x20000000 : AT(0x08010000) { *(.data*) . = ALIGN(4); }
    .bss (NOLOAD) : { *(.bss*) *(COMMON) . = ALIGN(4); }
    end = .;
    /DISCARD/ : { *(.ARM.exidx*) }
}
"""

_START = """
    .syntax unified
    .thumb
    .section .vectors, "a"
    .word 0x20010000
    .word reset + 1
    .text
    .type reset, %function
    .thumb_func
    .global reset
reset:
    bl main
    movs r4, r0
    sub sp, #8
    ldr r0, =0x20026
    str r0, [sp]
    str r4, [sp, #4]
    movs r0, #0x20
    mov r1, sp
    bkpt 0xab
    .size reset, . - reset
"""


def build(
    folder: Path,
    core: str,
    c: str = "",
    assembly: str = "",
    optimize: str = "-O2",
    options: Sequence[str] = (),
) -> Path:
    """An ELF for the generic board of `core` from C and assembly sources."""
    (folder / "image.ld").write_text(_SCRIPT)
    (folder / "start.s").write_text(_START)
    (folder / "image.c").write_text(c or "int main(void) { return 0; }")
    (folder / "image_s.s").write_text("    .syntax unified\n    .thumb\n    .text\n" + assembly)
    elf = folder / f"image-{core}.elf"
    subprocess.run(
        [
            "arm-none-eabi-gcc",
            *_FLAGS[core],
            "-mthumb",
            optimize,
            "-g",
            *options,
            "-nostdlib",
            "-ffreestanding",
            "-fno-tree-loop-distribute-patterns",
            "-T",
            "image.ld",
            "start.s",
            "image.c",
            "image_s.s",
            "-lgcc",
            "-o",
            str(elf),
        ],
        check=True,
        cwd=folder,
        timeout=60,
    )
    return elf


def function(name: str, body: str) -> str:
    """Assembly of one global function."""
    return (
        f"    .global {name}\n    .type {name}, %function\n    .thumb_func\n    .p2align 2\n"
        f"{name}:\n{body}\n    .size {name}, . - {name}\n"
    )


def assert_explained(machine: Machine) -> None:
    """Cycles are instructions plus the stalls, exactly."""
    assert machine.cycles == machine.instructions + sum(machine.stalls().values())
