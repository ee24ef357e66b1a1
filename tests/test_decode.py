"""The decoder against capstone: sizes, branches, registers read and written, register lists."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import capstone
import pytest
from capstone import arm
from elftools.elf.elffile import ELFFile

from ebnn.sim.core import core_named, missing_feature
from ebnn.sim.thumb import BRANCHES, Instruction, Kind
from ebnn.sim.thumb_decode import decode

_NUMBERS = {arm.ARM_REG_R0 + number: number for number in range(13)} | {
    arm.ARM_REG_SP: 13,
    arm.ARM_REG_LR: 14,
}
_ADDRESS = 0x1000


def _disassembler(extra: int) -> capstone.Cs:
    engine = capstone.Cs(
        capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | extra
    )
    engine.detail = True
    return engine


_V7M, _V8M = _disassembler(0), _disassembler(capstone.CS_MODE_V8)


def _capstone(code: bytes) -> Any | None:
    return next(_V7M.disasm(code, _ADDRESS), None) or next(_V8M.disasm(code, _ADDRESS), None)


def _mask(registers: list[int]) -> int:
    return sum(1 << number for number in {_NUMBERS[one] for one in registers if one in _NUMBERS})


# Register lists that capstone 5 gets wrong: it leaves out what these read or write.
_INCOMPLETE = (
    "bxns",
    "blxns",
    "svc",
    "pld",
    "pldw",
    "pli",
    "pkhbt",
    "pkhtb",
    "ssat",
    "usat",
    "sxtab",
    "sxtah",
    "uxtab",
    "uxtah",
    "strbt",
    "strht",
    "tt",
    "tta",
    "ttt",
    "ttat",
    "umaal",
    "smlal",
    "umlal",
    "smlsl",
    "vpush",
    "vpop",
    "vmov",
    "vmsr",
    "msr",
    "ldrb",
    "ldrh",
    "ldrsb",
    "ldrsh",
    "rev16",
    "revsh",
    "stmdb",
)


def _differs(code: bytes) -> str | None:
    """How the decoder and capstone differ on an encoding that both know."""
    theirs = _capstone(code)
    ours = decode(code, _ADDRESS)
    if theirs is None or ours.kind is Kind.UNDEFINED:
        return None
    text = f"{code.hex()} {theirs.mnemonic} {theirs.op_str}"
    if ours.size != theirs.size:
        return f"{text}: size {ours.size}"
    if theirs.mnemonic.startswith(_INCOMPLETE) or _is_simd(theirs):
        return None
    reads, writes = (_mask(registers) for registers in theirs.regs_access())
    for name, got, expected in (
        ("reads", ours.reads & 0x7FFF, reads),
        ("writes", ours.writes & 0x7FFF, writes),
    ):
        if got != expected:
            return f"{text}: {name} {got:#x}, expected {expected:#x}"
    return None


def _is_simd(theirs: Any) -> bool:
    """Advanced SIMD and cryptography, which capstone accepts for M cores."""
    name: str = theirs.mnemonic
    registers = [one.reg for one in theirs.operands if one.type == arm.ARM_OP_REG]
    return name.startswith(("sha", "aes")) or any(
        arm.ARM_REG_D16 <= one <= arm.ARM_REG_D31 or arm.ARM_REG_Q0 <= one <= arm.ARM_REG_Q15
        for one in registers
    )


def _narrow_codes() -> Iterator[bytes]:
    for halfword in range(0xE800):
        yield struct.pack("<H", halfword)


def test_every_16_bit_encoding_agrees_with_capstone() -> None:
    assert [found for found in map(_differs, _narrow_codes()) if found] == []


def test_16_bit_encodings_that_capstone_knows_are_decoded() -> None:
    unknown = set()
    for code in _narrow_codes():
        theirs = _capstone(code)
        if theirs is not None and decode(code, _ADDRESS).kind is Kind.UNDEFINED:
            unknown.add(theirs.mnemonic)
    # HLT and SETPAN are not in the M profile; UDF is what UNDEFINED means.
    assert unknown <= {"hlt", "setpan", "udf", "trap"}


def test_random_32_bit_encodings_agree_with_capstone() -> None:
    source = random.Random(20170220)
    codes = (
        struct.pack("<HH", source.randrange(0xE800, 0x10000), source.randrange(1 << 16))
        for _ in range(30_000)
    )
    assert [found for found in map(_differs, codes) if found] == []


@pytest.fixture(scope="module")
def newlib_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("newlib")
    source = folder / "program.c"
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n#include <math.h>\n#include <string.h>\n"
        "volatile float x; volatile double y; char text[64];\n"
        "int main(void) { x = sqrtf(x) / 3.0f + sinf(x); y = pow(y, 1.5);\n"
        '  snprintf(text, sizeof text, "%f %d", y, atoi(text)); free(malloc(strlen(text)));\n'
        "  return (int)x; }\n"
    )
    elf = folder / "program.elf"
    flags = "-mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 -O2 --specs=nosys.specs"
    subprocess.run(
        ["arm-none-eabi-gcc", *flags.split(), str(source), "-lm", "-o", str(elf)],
        check=True,
        stderr=subprocess.DEVNULL,  # newlib's stubs warn at link time
    )
    return elf


def test_every_instruction_of_a_newlib_program_is_decoded_and_agrees(newlib_program: Path) -> None:
    with newlib_program.open("rb") as stream:
        elf = ELFFile(stream)
        section: Any = elf.get_section_by_name(".text")
        symbols: Any = elf.get_section_by_name(".symtab")
        code, start = section.data(), section["sh_addr"]
        # $t starts Thumb code, $d data (ELF for the Arm architecture, mapping symbols)
        marks = sorted(
            (symbol["st_value"], symbol.name[:2])
            for symbol in symbols.iter_symbols()
            if symbol.name[:2] in ("$t", "$d")
        )
    core = core_named("m4f")
    count = 0
    for (first, mark), (end, _) in zip(marks, [*marks[1:], (start + len(code), "")], strict=True):
        position = first
        while mark == "$t" and start <= position < min(end, start + len(code)):
            bytes_here = code[position - start : position - start + 4]
            ours = decode(bytes_here, position)
            theirs = _capstone(bytes_here)
            is_udf = theirs is not None and theirs.mnemonic == "udf"
            assert ours.kind is not Kind.UNDEFINED or is_udf, hex(position)
            assert theirs is None or ours.size == theirs.size, hex(position)
            assert missing_feature(core, ours) is None or ours.kind is Kind.UNDEFINED
            if theirs is not None:
                assert (ours.kind in BRANCHES) == _branches(theirs), (hex(position), theirs)
                assert _differs(bytes_here) is None
            count += 1
            position += ours.size
    assert count > 5_000


def _branches(theirs: Any) -> bool:
    written = theirs.regs_access()[1]
    jumps = arm.ARM_GRP_JUMP in theirs.groups or arm.ARM_GRP_CALL in theirs.groups
    return jumps or arm.ARM_REG_PC in written or theirs.mnemonic in ("tbb", "tbh")


@pytest.mark.parametrize(
    ("code", "core", "lacks"),
    [
        ("91fbf2f0", "m0", True),  # sdiv r0, r1, r2
        ("91fbf2f0", "m3", False),
        ("21fb0230", "m3", True),  # smlad r0, r1, r2, r3
        ("21fb0230", "m4", False),
        ("30ee810a", "m4", True),  # vadd.f32 s0, s1, s2
        ("30ee810a", "m4f", False),
        ("31ee020b", "m4f", True),  # vadd.f64 d0, d1, d2
        ("31ee020b", "m7", False),
        ("00fe810a", "m4f", True),  # vseleq.f32 s0, s1, s2
        ("00fe810a", "m33", False),
        ("08bf", "m0plus", True),  # it eq
        ("08b1", "m0", True),  # cbz r0
    ],
)
def test_a_core_lacks_what_its_architecture_leaves_out(code: str, core: str, lacks: bool) -> None:
    instruction = decode(bytes.fromhex(code), 0)
    assert (missing_feature(core_named(core), instruction) is not None) is lacks


@pytest.mark.parametrize(
    ("code", "change", "lowest"),
    [
        ("30b5", -12, -12),  # push {r4, r5, lr}
        ("30bd", 12, 0),  # pop {r4, r5, pc}
        ("84b0", -16, -16),  # sub sp, #16
        ("04b0", 16, 0),  # add sp, #16
        ("2de9f04f", -36, -36),  # push {r4-r11, lr}
        ("4df8044d", -4, -4),  # str r4, [sp, #-4]!
        ("5df8044b", 4, 0),  # ldr r4, [sp], #4
        ("2ded048a", -16, -16),  # vpush {s16-s19}
        ("adf5007d", -512, -512),  # sub.w sp, sp, #512
        ("8546", None, 0),  # mov sp, r0
    ],
)
def test_stack_pointer_effect_is_read_off_the_encoding(
    code: str, change: int | None, lowest: int
) -> None:
    instruction: Instruction = decode(bytes.fromhex(code), 0)
    assert (instruction.stack_change, instruction.stack_lowest) == (change, lowest)


@pytest.mark.parametrize("code", ["feffffff", "00f0", "40eff0f8", "a3fb7207", "c6e87740"])
def test_undefined_and_truncated_encodings_are_undefined(code: str) -> None:
    assert decode(bytes.fromhex(code), 0).kind is Kind.UNDEFINED
