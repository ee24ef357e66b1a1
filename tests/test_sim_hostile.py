"""Images made to hurt the simulator: little memory, little time, one line, an exit code."""

from __future__ import annotations

import gc
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from raw_elf import (
    ALLOC,
    EXECUTABLE,
    FLASH,
    NOBITS,
    RAM,
    STRTAB,
    SYMTAB,
    RawSection,
    RawSegment,
    firmware,
    raw_elf,
    symbol,
)
from sim_images import ENGINES, build, function

from ebnn.sim import Machine
from ebnn.sim.cli import main
from ebnn.sim.elf import Elf
from ebnn.sim.errors import UserError
from ebnn.sim.faults import BudgetExceeded
from ebnn.sim.lines import source_line
from ebnn.sim.stack_frames import StackFrames

_ADDRESS_SPACE_BYTES = 1 << 30
_UDF = 0xDE00

# Runs `python -m ebnn.sim` with little address space; prints its exit code and its peak in MiB.
_BOUNDED = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({_ADDRESS_SPACE_BYTES}, {_ADDRESS_SPACE_BYTES}))
from ebnn.sim.cli import main
code = main(sys.argv[1:])
from ebnn.sim.fuzz_child import peak_mib
print("ended", code, peak_mib())
"""


def _run_bounded(image: bytes, folder: Path, *options: str) -> tuple[int, int, str]:
    """Exit code, peak memory in MiB and the one line on stderr."""
    path = folder / "hostile.elf"
    path.write_bytes(image)
    command = [sys.executable, "-c", _BOUNDED, "run", str(path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    _word, code, peak_mib = done.stdout.splitlines()[-1].split()
    return int(code), int(peak_mib), done.stderr


_CODE = RawSegment(FLASH, firmware(_UDF))
_HUGE = 0xFFFF0000
_HOSTILE = {
    "4 GB of .bss": (
        raw_elf(
            [_CODE, RawSegment(RAM, size_bytes=0xDFFFFFFF)],
            [RawSection(".bss", NOBITS, b"", ALLOC, RAM, size_bytes=0xDFFFFFFF)],
        ),
        "lie outside the memories",
    ),
    "4 GB of .bss that no segment holds": (
        raw_elf([_CODE], [RawSection(".bss", NOBITS, b"", ALLOC, RAM, size_bytes=0xDFFFFFFF)]),
        "past --ram",
    ),
    "a segment of 4 GB in the file": (
        raw_elf([RawSegment(FLASH, firmware(_UDF), file_bytes=_HUGE, size_bytes=_HUGE)]),
        "past the end of the file",
    ),
    "a thousand segments of the same million bytes": (
        raw_elf(
            [
                RawSegment(FLASH, file_bytes=1_000_000, offset=0x34 + 32 * 1000)
                for _ in range(1000)
            ],
            [RawSection(".text", data=bytes(1_000_000))],
        ),
        "need more bytes than the file has",
    ),
    "60,000 segments": (
        raw_elf([RawSegment(FLASH, size_bytes=4, offset=0) for _ in range(60_000)],
                [RawSection(".text", NOBITS, b"", ALLOC, FLASH, size_bytes=4)] * 1000),
        "60000 segments",
    ),
    "60,000 symbol tables of the same bytes": (
        raw_elf(
            [_CODE],
            [
                RawSection(".strtab", STRTAB, b"\0" + b"a" * 2_000_000),
                RawSection(".symtab", SYMTAB, symbol(1, FLASH + 9, 2) * 100_000, link=1),
                *(RawSection(".symtab", SYMTAB, link=1, share=2) for _ in range(60_000)),
            ],
        ),
        "names overlap",
    ),
    "as many symbols as fit, each with another end of one long name": (
        raw_elf(
            [_CODE],
            [
                RawSection(".strtab", STRTAB, b"a" * 1_000_000),
                RawSection(
                    ".symtab",
                    SYMTAB,
                    b"".join(symbol(at, FLASH + 9, 2) for at in range(500_000)),
                    link=1,
                ),
            ],
        ),
        "names overlap",
    ),
    "memories where the private peripherals are": (
        raw_elf([_CODE, RawSegment(0xE0000000, bytes(64))]),
        "lie outside the memories",
    ),
    "code where calls return to": (
        raw_elf([RawSegment(0x9FFFFC00, firmware(_UDF))], entry=0x9FFFFC09),
        "lie outside the memories",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _HOSTILE)
def test_an_image_that_asks_for_too_much_ends_in_one_line(name: str, tmp_path: Path) -> None:
    image, message = _HOSTILE[name]
    code, peak_mib, line = _run_bounded(image, tmp_path, "--core", "m3", "--timeout", "5")
    assert message in line
    assert code in (1, 2)
    assert 0 < peak_mib < 400


def _named(name: bytes, *code: int) -> bytes:
    """Firmware whose first function has this name."""
    body = firmware(*code)
    return raw_elf(
        [RawSegment(FLASH, body)],
        [
            RawSection(".text", data=body, flags=ALLOC | EXECUTABLE, address=FLASH),
            RawSection(".strtab", STRTAB, b"\0" + name + b"\0"),
            RawSection(".symtab", SYMTAB, symbol(1, FLASH + 9, len(body)), link=2),
        ],
    )


@pytest.mark.parametrize(
    "name", [b"two\nlines\r", b"\x1b[31mred", b"[/red] [bold", b":smile:", b"\xff\xfe", b"n" * 9999]
)
def test_names_from_the_image_stay_on_their_line_and_are_no_markup(
    name: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "named.elf"
    path.write_bytes(_named(name, 0xB500, _UDF))  # push {lr}; udf
    assert main(["run", str(path), "--core", "m3"]) == 3
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and len(captured.err) < 500
    assert "\x1b" not in captured.err + captured.out
    if len(name) < 100:
        shown = "".join(c if c.isprintable() else "\ufffd" for c in name.decode("utf-8", "replace"))
        assert f"{shown})" in captured.out


def _debug_line_5(directory_formats: bytes, count: bytes) -> bytes:
    """A version 5 line table whose file tables claim what they like, and one row at FLASH."""
    header = struct.pack("<BBBbBB", 2, 1, 1, -5, 14, 13) + bytes(12)
    header += directory_formats + count
    rows = b"\0\5\2" + FLASH.to_bytes(4, "little") + b"\1\2\x20\1\0\1\1"
    body = struct.pack("<HBBI", 5, 4, 0, len(header)) + header + rows
    return len(body).to_bytes(4, "little") + body


@pytest.mark.parametrize(
    ("formats", "count"),
    [
        (b"\0", b"\xff" * 8 + b"\x7f"),  # 2^62 entries of no bytes
        (b"\1\1\x08", b"\xff" * 8 + b"\x7f"),  # 2^62 strings
        (b"\xff", b"\1"),
        (b"\1\1\x1f", b"\1\xff\xff\xff\xff"),  # a name past its table
    ],
)
def test_a_line_table_that_claims_too_much_gives_no_line(
    formats: bytes, count: bytes, tmp_path: Path
) -> None:
    body = firmware(*[_UDF] * 20)
    path = tmp_path / "lines.elf"
    path.write_bytes(
        raw_elf(
            [RawSegment(FLASH, body)],
            [RawSection(".debug_line", data=_debug_line_5(formats, count))],
        )
    )
    assert source_line(Elf(path), FLASH + 8) is None


@pytest.mark.parametrize("options", [["-gdwarf-2"], ["-gdwarf-3"], ["-gdwarf-4"], ["-gdwarf-5"],
                                     ["-g", "-gz"]])  # fmt: skip
def test_source_lines_are_those_of_addr2line(options: list[str], tmp_path: Path) -> None:
    code = """
int table[9];
__attribute__((noinline)) int twice(int x) { return
    x + x; }
int main(void) {
    for (int i = 0; i < 9; i++) { table[i] = twice(i) / (i + 1); }
    return table[3];
}
"""
    elf = Elf(build(tmp_path, "m3", code, options=options))
    functions = [elf.symbol("main"), elf.symbol("twice")]
    addresses = [a for f in functions for a in range(f.address, f.address + f.size_bytes, 2)]
    expected = subprocess.run(
        ["arm-none-eabi-addr2line", "-e", str(elf.path), *map(hex, addresses)],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert len(addresses) > 10
    for address, line in zip(addresses, [w for w in expected if ":" in w], strict=True):
        file, _, number = line.rpartition(":")
        assert source_line(elf, address) == (Path(file).name, int(number)), hex(address)


# Each turn of these loops costs the host a thousand times what it costs the core.
_SLOW_FOR_THE_HOST = {
    "unaligned": "ldr r0, =0x20000001\n1: ldr r1, [r0]\n b 1b\n .ltorg",
    "cyccnt": "ldr r0, =0xe0001004\n1: ldr r1, [r0]\n b 1b\n .ltorg",
    "text": "ldr r1, =0x08000000\n1: movs r0, #4\n bkpt 0xab\n b 1b\n .ltorg",
    "plain": "1: b 1b",
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", _SLOW_FOR_THE_HOST)
def test_timeout_holds_however_slow_the_firmware_makes_the_host(
    name: str, engine: str, tmp_path: Path
) -> None:
    import time

    elf = build(tmp_path, "m3", assembly=function("spin", _SLOW_FOR_THE_HOST[name]))
    with (tmp_path / "output").open("w") as output:
        machine = Machine(elf, engine=engine, timeout_seconds=0.3, output=output)
        machine.run_until("main")
        started = time.monotonic()
        with pytest.raises(BudgetExceeded, match=r"spin .*: --timeout"):
            machine.call("spin")
    assert time.monotonic() - started < 3


def test_code_entered_at_each_of_its_instructions_is_remembered_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ebnn.sim.costs._MOST_INSTRUCTIONS", 20_000)
    nops = function("slide", "    .rept 400\n    nop\n    .endr\n    bx lr")
    machine = Machine(build(tmp_path, "m3", assembly=nops))
    machine.run_until("main")
    start = machine.symbol("slide").address
    with pytest.raises(UserError, match="into the midst of its code over and over"):
        for offset in range(0, 800, 2):
            machine.call(start + offset)


def test_machines_that_are_let_go_give_their_memory_back(tmp_path: Path) -> None:
    elf = build(tmp_path, "m3")

    def resident_kib() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4

    def run_some(count: int) -> int:
        for _ in range(count):
            Machine(elf).run()
            gc.collect()
        return resident_kib()

    before = run_some(5)
    assert run_some(30) - before < 30 * 1024  # a machine has more than 4 MiB


def test_a_closed_machine_keeps_the_record_that_was_taken_but_runs_no_more(tmp_path: Path) -> None:
    machine = Machine(build(tmp_path, "m3"))
    machine.run()
    before = json.loads(machine.record().to_json())
    machine.close()
    machine.close()
    assert json.loads(machine.record().to_json()) == before
    with pytest.raises(UserError, match="closed"):
        machine.read(RAM, 4)


def test_walking_a_hostile_images_functions_has_a_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nops = "    .rept 300\n    nop\n    .endr\n    bx lr"
    elf = Elf(build(tmp_path, "m3", assembly=function("one", nops) + function("two", nops)))
    monkeypatch.setattr("ebnn.sim.stack_frames._MOST_VISITS", 400)
    frames = StackFrames(elf, lambda _address, size: b"\x00\xbf" * (size // 2))
    walked = [len(frames.function(elf.symbol(name).address).states) for name in ("one", "two")]
    assert walked == [301, 99]


def test_a_terminal_without_the_characters_is_no_reason_to_end(tmp_path: Path) -> None:
    path = tmp_path / "named.elf"
    path.write_bytes(_named("größe\u2026".encode(), 0xB500, _UDF))
    done = subprocess.run(
        [sys.executable, "-m", "ebnn.sim", "run", str(path), "--core", "m3"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.count(b"\n") == 1 and b"Traceback" not in done.stderr
    assert b"?s" in done.stdout  # µs
