"""Firmware reaches no file of the host: it may only print and end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sim_images import ENGINES

from ebnn.sim import Machine
from ebnn.sim.board import generic_board
from ebnn.sim.cli import main
from ebnn.toolchain.firmware import build_firmware

# Every operation of the semihosting specification that names a file, a command or a handle.
_BURGLAR = r"""
#include <stdint.h>
#include "semihosting.h"
static int call(int operation, const void *argument) {
    register int r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = argument;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
static char buffer[64];
static const char secret[] = SECRET, fresh[] = FRESH, command[] = "touch " FRESH;
int main(void) {
    int got = 0;
    for (uintptr_t mode = 0; mode < 12; mode++) {
        uintptr_t open_secret[] = {(uintptr_t)secret, mode, sizeof secret - 1};
        uintptr_t open_fresh[] = {(uintptr_t)fresh, mode, sizeof fresh - 1};
        got += call(1, open_secret) != -1; /* SYS_OPEN */
        got += call(1, open_fresh) != -1;
    }
    for (uintptr_t handle = 0; handle < 64; handle++) {
        uintptr_t write[] = {handle, (uintptr_t) "stolen", 6};
        uintptr_t read[] = {handle, (uintptr_t)buffer, sizeof buffer};
        if (handle != 2 && handle != 3) { /* standard output and error */
            got += call(5, write) != 6; /* SYS_WRITE: bytes not written */
        }
        got += call(6, read) != (int)sizeof buffer; /* SYS_READ: bytes not read */
        call(2, &handle);                           /* SYS_CLOSE */
    }
    for (unsigned at = 0; at < sizeof buffer; at++) {
        got += buffer[at] != 0;
    }
    uintptr_t remove[] = {(uintptr_t)secret, sizeof secret - 1};
    uintptr_t rename[] = {(uintptr_t)secret, sizeof secret - 1, (uintptr_t)fresh, sizeof fresh - 1};
    uintptr_t system[] = {(uintptr_t)command, sizeof command - 1};
    uintptr_t temporary[] = {(uintptr_t)buffer, 1, sizeof buffer};
    uintptr_t line[] = {(uintptr_t)buffer, sizeof buffer};
    got += call(0x0E, remove) != -1;    /* SYS_REMOVE */
    got += call(0x0F, rename) != -1;    /* SYS_RENAME */
    got += call(0x12, system) != -1;    /* SYS_SYSTEM */
    got += call(0x0D, temporary) != -1; /* SYS_TMPNAM */
    got += call(0x15, line) != -1;      /* SYS_GET_CMDLINE */
    return got;
}
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_semihosting_can_neither_create_nor_read_nor_delete_a_host_file(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / "secret.txt").write_text("the secret")
    (tmp_path / "burglar.c").write_text(_BURGLAR)
    for secret, fresh in (
        ("secret.txt", "fresh.txt"),
        (str(work / "secret.txt"), str(work / "fresh.txt")),
    ):
        defines = {"SECRET": f'"{secret}"', "FRESH": f'"{fresh}"'}
        elf = build_firmware(
            [tmp_path / "burglar.c"], generic_board("cortex-m3"), tmp_path / "burglar.elf",
            defines=defines,
        )  # fmt: skip
        assert Machine(elf, engine=engine).run() == 0
        assert main(["run", str(elf), "--engine", engine]) == 0
        captured = capsys.readouterr()
        assert "the secret" not in captured.out + captured.err
        assert [path.name for path in work.iterdir()] == ["secret.txt"]
        assert (work / "secret.txt").read_text() == "the secret"


def test_a_budget_of_cycles_ends_firmware_that_prints_for_ever(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "chatter.c"
    source.write_text(
        '#include "semihosting.h"\nint main(void) { for (;;) semihosting_write("x"); }'
    )
    elf = build_firmware([source], generic_board("cortex-m0"), tmp_path / "chatter.elf")
    record = tmp_path / "record.json"
    assert main(["run", str(elf), "--max-cycles", "10k", "--json", str(record)]) == 1
    captured = capsys.readouterr()
    assert len(captured.out) < 10_000
    assert captured.err.count("\n") == 1
    assert json.loads(record.read_text())["exit"] == 1
