"""The boot stage at the start of a board's flash: RP2040's own, and any other."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import unicorn
from board_runs import board_run, gdb_server
from elftools.elf.elffile import ELFFile
from harness_builds import Built, build
from unicorn import arm_const

from ebnn.board.gdb import PROGRAMS, gdb_script
from ebnn.sim import Machine
from ebnn.sim.board import Board, load_board
from ebnn.sim.boot_stage import BootStage
from ebnn.sim.elf import Elf
from ebnn.sim.errors import UserError
from ebnn.toolchain.boot_stage import check_checksum, crc32_mpeg2
from ebnn.toolchain.compiler import CompileError
from ebnn.toolchain.firmware import build_firmware

# RP2040 datasheet: 2.2 (addresses), 2.8.1.3 (the ROM loads to the end of SRAM), 4.10.13 (SSI).
XIP, SSI, SRAM, SRAM_END, PPB = 0x10000000, 0x18000000, 0x20000000, 0x20042000, 0xE000E000
VTOR = 0xE000ED08
SSIENR, BAUDR, CTRLR0, CTRLR1, SPI_CTRLR0, SER = (
    SSI + at for at in (0x08, 0x14, 0x00, 0x04, 0xF4, 0x10)
)


@pytest.fixture(scope="module")
def pico(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("pico"), "raspberry-pi-pico")


def section(path: Path, name: str) -> Any:
    with path.open("rb") as file:
        found = ELFFile(file).get_section_by_name(name)
        assert found is not None
        return SimpleNamespace(address=found["sh_addr"], data=bytes(found.data()))


def stage_of(path: Path) -> bytes:
    data: bytes = section(path, ".boot_stage").data
    return data


def mirrored(value: int, bits: int) -> int:
    return int(f"{value:0{bits}b}"[::-1], 2)


def crc_by_zlib(data: bytes) -> int:
    """zlib's CRC is of the same polynomial: mirrored in and out, and inverted at the end."""
    return mirrored(zlib.crc32(bytes(mirrored(byte, 8) for byte in data)) ^ 0xFFFFFFFF, 32)


def test_the_checksum_is_the_one_that_the_boot_rom_computes(pico: Built) -> None:
    assert crc32_mpeg2(b"123456789") == 0x0376E6E7  # the catalogue's check value
    stage = stage_of(pico.path)
    assert len(stage) == 256
    assert int.from_bytes(stage[252:], "little") == crc_by_zlib(stage[:252])
    assert any(stage[:64])


def test_the_vector_table_lies_behind_the_boot_stage(pico: Built) -> None:
    vectors = section(pico.path, ".vectors")
    assert section(pico.path, ".boot_stage").address == XIP
    assert vectors.address == XIP + 0x100 == load_board("raspberry-pi-pico").vector_table
    sp, reset = (int.from_bytes(vectors.data[at : at + 4], "little") for at in (0, 4))
    assert sp == SRAM_END
    assert reset == pico.harness.elf.entry
    assert section(pico.path, ".text").address >= vectors.address + len(vectors.data)


def test_the_same_source_gives_the_same_boot_stage(pico: Built, tmp_path: Path) -> None:
    other = build(tmp_path / "deeper", "raspberry-pi-pico")
    assert other.path.read_bytes() == pico.path.read_bytes()
    assert stage_of(build(tmp_path, "raspberry-pi-pico", count=1).path) == stage_of(pico.path)


@dataclasses.dataclass
class Ran:
    """What the boot stage did: stores outside the flash, and where it ended with which SP."""

    stores: list[tuple[int, int]]
    enabled_at_read: list[int]  # SSIENR at each read of the flash
    pc: int
    sp: int


def run_as_the_boot_rom_does(path: Path, return_address: int = 0) -> Ran:
    """Run the boot stage from SRAM, with SSI's registers as plain memory, up to the first
    instruction outside of SRAM."""
    library: Any = unicorn  # it says of itself that it is typed, and is not
    cpu = library.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    cpu.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M0)
    for address, size in ((XIP, 1 << 21), (SSI, 4096), (SRAM, 0x42000), (PPB, 4096)):
        cpu.mem_map(address, size)
    for segment in Elf(path).segments:
        cpu.mem_write(segment.load_address, segment.data)
    loaded_at = SRAM_END - 256
    cpu.mem_write(loaded_at, stage_of(path)[:252])
    ran = Ran([], [], 0, 0)

    def stored(_cpu: object, _kind: int, at: int, size: int, value: int, _user: object) -> None:
        assert size == 4
        ran.stores.append((at, value))

    def read(*_: object) -> None:
        ran.enabled_at_read.append(int.from_bytes(cpu.mem_read(SSIENR, 4), "little"))

    def left(_cpu: object, address: int, _size: int, _user: object) -> None:
        if not loaded_at <= address < SRAM_END:
            ran.pc = address
            cpu.emu_stop()

    cpu.hook_add(unicorn.UC_HOOK_MEM_WRITE, stored)
    cpu.hook_add(unicorn.UC_HOOK_MEM_READ, read, begin=XIP, end=XIP + (1 << 21))
    cpu.hook_add(unicorn.UC_HOOK_CODE, left)
    cpu.reg_write(arm_const.UC_ARM_REG_SP, SRAM_END - 0x800)
    cpu.reg_write(arm_const.UC_ARM_REG_LR, return_address)
    cpu.emu_start(loaded_at | 1, 0xFFFFFFFE, count=1000)
    ran.sp = cpu.reg_read(arm_const.UC_ARM_REG_SP)
    return ran


SET_UP = [
    (SSIENR, 0),
    (BAUDR, 4),
    (CTRLR0, 31 << 16 | 3 << 8),  # frames of 32 bits, one bit at a time; EEPROM read
    (CTRLR1, 0),
    (SPI_CTRLR0, 0x03 << 24 | 2 << 8 | 6 << 2),  # 03h, 8 bits of it, 24 of address
    (SER, 1),
    (SSIENR, 1),
]


def test_the_boot_stage_sets_up_the_flash_and_starts_the_firmware(pico: Built) -> None:
    ran = run_as_the_boot_rom_does(pico.path)
    assert ran.stores == [*SET_UP, (VTOR, XIP + 0x100)]
    assert ran.enabled_at_read == [1, 1]  # SP and reset handler
    assert ran.pc == pico.harness.elf.symbol("Reset_Handler").address
    assert ran.sp == pico.harness.elf.symbol("_stack_top").address


def test_the_boot_stage_returns_where_it_was_called(pico: Built) -> None:
    caller = XIP + 0x1000
    ran = run_as_the_boot_rom_does(pico.path, caller | 1)
    assert ran.stores == SET_UP
    assert (ran.pc, ran.sp) == (caller, SRAM_END - 0x800)


def test_an_image_for_rp2040_also_runs_without_naming_the_board(tmp_path: Path) -> None:
    built = build(tmp_path, "raspberry-pi-pico", ram_bytes=32 << 10)
    named = Machine(built.path, load_board("raspberry-pi-pico@0ws"))
    unnamed = Machine(built.path, core="cortex-m0plus")
    assert unnamed.board.boot_stage is None
    assert named.run() == unnamed.run() == 0
    assert named.cycles == unnamed.cycles


@pytest.mark.parametrize("via", ["pyocd", "gdb", "serial"])
def test_what_the_boot_rom_would_not_start_is_not_flashed(
    via: str, pico: Built, tmp_path: Path
) -> None:
    check_checksum(pico.harness.elf, load_board("raspberry-pi-pico"))
    damaged = bytearray(pico.path.read_bytes())
    damaged[pico.harness.elf.segments[0].file_offset + 8] ^= 1
    path = tmp_path / "damaged.elf"
    path.write_bytes(damaged)
    done = board_run(path, "--via", via)
    assert done.returncode == 2
    assert "no boot stage with its checksum at 0x10000000" in done.stderr
    assert done.stderr.count("\n") == 1


# --- any other board ----------------------------------------------------------------------

TOML = """
title = "QEMU's mps2-an385 with a boot loader"
core = "cortex-m3"
clock_hz = 25_000_000
source = "made up for the test"
[[memory]]
name = "flash"
kind = "flash"
address = 0
size_bytes = 4_194_304
[[memory]]
name = "ram"
kind = "ram"
address = 0x20000000
size_bytes = 4_194_304
[boot_stage]
source = "loader.S"
size_bytes = 1024
"""
# A boot loader with a vector table of its own, which leaves a mark in RAM's last word.
LOADER = """
    .syntax unified
    .section .boot_stage, "ax", %progbits
    .word 0x20001000
    .word loader + 1
    .global loader
    .type loader, %function
loader:
    ldr r0, =0x203ffffc
    ldr r1, =0xb007
    str r1, [r0]
    ldr r0, =_vectors
    ldr r1, =0xe000ed08
    str r0, [r1]
    ldmia r0!, {r1, r2}
    msr msp, r1
    bx r2
    .ltorg
"""
MAIN = """
#include "semihosting.h"
int main(void) {
    semihosting_write(*(volatile unsigned *)0x203ffffcu == 0xb007u ? "loaded" : "not loaded");
    return 0;
}
"""


def described(folder: Path, toml: str = TOML, loader: str = LOADER) -> Board:
    (folder / "loader.S").write_text(loader)
    (folder / "mine.toml").write_text(toml)
    (folder / "main.c").write_text(MAIN)
    return load_board(folder / "mine.toml")


def build_for(folder: Path, board: Board) -> Path:
    limit = 0x3FF000  # the loader's mark lies above the stack
    return build_firmware([folder / "main.c"], board, folder / "a.elf", ram_bytes=limit)


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="QEMU is not installed")
def test_a_boot_loader_of_ones_own_runs_before_the_firmware(tmp_path: Path) -> None:
    elf = build_for(tmp_path, described(tmp_path))
    command = ["qemu-system-arm", "-M", "mps2-an385", "-display", "none", "-monitor", "none"]
    command += ["-chardev", "stdio,id=out", "-semihosting-config", "enable=on,chardev=out"]
    done = subprocess.run([*command, "-kernel", elf], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "loaded"), done.stderr


def test_the_simulator_starts_behind_any_boot_stage(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    board = described(tmp_path)
    assert board.boot_stage == BootStage(str(tmp_path / "loader.S"), 1024)
    elf = build_for(tmp_path, board)
    assert len(stage_of(elf)) == 1024
    machine = Machine(elf, board)
    assert machine.run() == 0
    assert capfd.readouterr().out == "not loaded"


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="QEMU is not installed")
def test_a_harness_behind_a_boot_loader_reports_from_qemu(tmp_path: Path) -> None:
    described(tmp_path)
    built = build(tmp_path, str(tmp_path / "mine.toml"), ram_bytes=0x3FF000)
    record = tmp_path / "board.json"
    done = board_run(built.path, "--via", "qemu", "--json", record, "-b", tmp_path / "mine.toml")
    assert done.returncode == 0, done.stderr
    assert json.loads(record.read_text())["predictions"] == list(built.expected)


@pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None or not any(map(shutil.which, PROGRAMS)),
    reason="QEMU or GDB is not installed",
)
def test_gdb_lets_the_boot_loader_run(tmp_path: Path) -> None:
    described(tmp_path)
    built = build(tmp_path, str(tmp_path / "mine.toml"), ram_bytes=0x3FF000)
    other = build(tmp_path / "other", "generic-m3")
    assert "set $pc = 0x" not in gdb_script(built.harness, "localhost:1", [], load=True)
    assert "set $pc = 0x" in gdb_script(other.harness, "localhost:1", [], load=True)
    record = tmp_path / "board.json"
    with gdb_server("mps2-an385", built.path) as (server, _):
        arguments = ["--via", "gdb", "--gdb-server", server, "--gdb-reset", "", "--no-flash"]
        arguments += ["-b", str(tmp_path / "mine.toml"), "--json", str(record)]
        done = board_run(built.path, *arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads(record.read_text())["predictions"] == list(built.expected)


def test_a_boot_stage_that_is_too_long_or_empty_does_not_link(tmp_path: Path) -> None:
    toml = TOML.replace("1024", "256") + 'checksum = "crc32-mpeg2"\n'
    full = '    .section .boot_stage, "ax", %progbits\n    .space 252, 1\n'
    elf = build_for(tmp_path, described(tmp_path, toml, full))
    assert stage_of(elf)[252:] == crc_by_zlib(b"\1" * 252).to_bytes(4, "little")
    with pytest.raises(CompileError, match="the boot stage needs more than 256 bytes"):
        build_for(tmp_path, described(tmp_path, toml, full + "    .byte 1\n"))
    with pytest.raises(CompileError, match=r"nothing is in \.boot_stage"):
        build_for(tmp_path, described(tmp_path, toml, "    .text\n    nop\n"))


def test_a_boot_stage_without_its_source_is_named(tmp_path: Path) -> None:
    board = described(tmp_path, TOML.replace("loader.S", "gone.S"))
    with pytest.raises(UserError, match=r"'gone\.S' is neither beside.*rp2040_boot_stage\.S"):
        build_for(tmp_path, board)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("size_bytes = 1024", "size_bytes = 1000", "size_bytes = 1000: the vector table behind"),
        ("size_bytes = 1024", "size_bytes = 0", "size_bytes = 0: the vector table behind"),
        ("size_bytes = 1024", "size_bytes = 4194304", "must lie in 'flash'"),
        ("size_bytes = 1024", "", "needs 'size_bytes' (int)"),
        ('source = "loader.S"', "", "needs 'source' (str)"),
        ("size_bytes = 1024", "size_byte = 1024", "'size_byte' is no key of [boot_stage]"),
        ("size_bytes = 1024", "size_bytes = 1024\nchecksum = 'crc'", "crc32-mpeg2, not 'crc'"),
    ],
)
def test_a_wrong_boot_stage_is_one_clear_error(
    old: str, new: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        described(tmp_path, TOML.replace(old, new))
    assert says in str(error.value)
    assert "\n" not in str(error.value)
