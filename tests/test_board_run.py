"""`ebnn board run` through QEMU, GDB and a serial port; what goes wrong on the way."""

from __future__ import annotations

import importlib.util
import io
import itertools
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from board_runs import board_run, gdb_server
from harness_builds import Built, build, report_lines
from sim_images import build as build_image

import ebnn.sim
from ebnn.board.collect import NotCollected, collect
from ebnn.board.harness_elf import HarnessElf, read_harness
from ebnn.board.link import LinkFailed
from ebnn.board.protocol import encode_line
from ebnn.board.qemu import machine_for
from ebnn.board.serial_port import SerialLink, open_serial
from ebnn.board.simulated import simulate
from ebnn.cli import build_parser
from ebnn.sim.board import load_board
from ebnn.sim.errors import UserError

needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed"
)
needs_pyserial = pytest.mark.skipif(
    importlib.util.find_spec("serial") is None, reason="pyserial is not installed"
)
needs_gdb = pytest.mark.skipif(
    shutil.which("gdb-multiarch") is None and shutil.which("arm-none-eabi-gdb") is None,
    reason="no GDB for Arm is installed",
)


@pytest.fixture(scope="module")
def discovery(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("discovery"), "stm32f407-discovery")


@pytest.fixture(scope="module")
def microbit(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("microbit"), "microbit-v1", output="uart")


def check_record(built: Built, record: dict[str, Any], via: str) -> None:
    schema = Path(ebnn.sim.__file__).with_name("record.schema.json")
    jsonschema.validate(record, json.loads(schema.read_text()))
    assert record["kind"] == "board"
    assert record["probe"]["via"] == via
    assert record["elf"]["sha256"] == built.harness.elf.sha256
    assert record["board"] == built.harness.board_name
    assert record["predictions"] == list(built.expected)
    assert record["accuracy"]["agreement"] == len(built.expected)
    found, machine = simulate(built.harness, built.harness.board(None))
    assert found.report.is_complete
    memory = machine.record().to_dict()["memory"]
    for key in ("flash", "static", "heap", "stack", "ram"):
        assert record["memory"][key] == memory[key]


# --- QEMU ---------------------------------------------------------------------------------


@needs_qemu
def test_qemu_runs_the_same_elf(discovery: Built, tmp_path: Path) -> None:
    record, simulated = tmp_path / "board.json", tmp_path / "sim.json"
    done = board_run(discovery.path, "--via", "qemu", "--json", record, "--simulated", simulated)
    assert done.returncode == 0, done.stderr
    assert "cycles       not counted here" in done.stdout
    found = json.loads(record.read_text())
    check_record(discovery, found, "qemu")
    assert found["regions"] == {}  # QEMU has no cycles to tell
    other = json.loads(simulated.read_text())
    assert other["kind"] == "sim"
    for key in ("elf", "core", "board", "clock_hz", "predictions", "inputs", "accuracy"):
        assert other[key] == found[key]


@needs_qemu
@pytest.mark.parametrize("board", ["stm32f407-discovery", "microbit-v1"])
def test_uart_set_up_of_the_board_works_on_qemus_model(board: str, tmp_path: Path) -> None:
    built = build(tmp_path, board, output="uart")
    done = board_run(built.path, "--via", "qemu", "--json", tmp_path / "board.json")
    assert done.returncode == 0, done.stderr
    check_record(built, json.loads((tmp_path / "board.json").read_text()), "qemu")


@needs_qemu
def test_code_for_an_m0_fits_qemus_microbit_in_16k(tmp_path: Path) -> None:
    built = build(tmp_path, "arduino-zero", ram_bytes=16 << 10)
    done = board_run(built.path, "--via", "qemu", "--json", tmp_path / "board.json")
    assert done.returncode == 0, done.stderr
    check_record(built, json.loads((tmp_path / "board.json").read_text()), "qemu")


@needs_qemu
def test_predictions_that_differ_are_exit_1(tmp_path: Path) -> None:
    built = build(tmp_path, "stm32f407-discovery")
    data = bytearray(built.path.read_bytes())
    at = data.find(b"".join(label.to_bytes(2, "little") for label in built.expected))
    data[at] += 1
    built.path.write_bytes(bytes(data))
    done = board_run(built.path, "--via", "qemu", "--json", tmp_path / "board.json")
    assert done.returncode == 1
    assert "error: predictions differ from the numpy reference's" in done.stderr
    assert json.loads((tmp_path / "board.json").read_text())["exit"] == 1


def test_no_machine_of_qemu_is_said_so(tmp_path: Path) -> None:
    built = build(tmp_path, "nucleo-l4r5zi")
    with pytest.raises(UserError, match=r"no machine of QEMU fits: Cortex-M4F.*--ram 16k"):
        machine_for(built.harness.elf, "cortex-m4f")
    with pytest.raises(UserError, match="QEMU's mps2-an386 is no machine for it"):
        machine_for(built.harness.elf, "cortex-m4f", "mps2-an386")


def test_qemu_missing_is_one_line(discovery: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    from ebnn.board.qemu import open_qemu

    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="apt-get install qemu-system-arm"):
        open_qemu(discovery.harness, load_board("stm32f407-discovery"))


# --- GDB ----------------------------------------------------------------------------------


@needs_qemu
@needs_gdb
@pytest.mark.parametrize("output", ["semihosting", "rtt", "uart"])
def test_gdb_takes_the_lines_of_every_output(output: str, tmp_path: Path) -> None:
    built = build(tmp_path, "stm32f407-discovery", output=output)
    other = build(tmp_path / "other", "stm32f407-discovery", count=1)  # GDB must flash ours
    with gdb_server("netduinoplus2", other.path) as (server, _):
        arguments = ["--via", "gdb", "--gdb-server", server, "--gdb-reset", ""]
        record = tmp_path / "board.json"
        done = board_run(built.path, *arguments, "--json", record)
        assert done.returncode == 0, done.stderr
    found = json.loads(record.read_text())
    check_record(built, found, "gdb")
    assert found["harness"]["damaged_lines"] == 0


@needs_qemu
@needs_gdb
def test_gdb_with_another_chip_behind_it_is_one_line(discovery: Built, microbit: Built) -> None:
    with gdb_server("microbit", microbit.path) as (server, _):
        arguments = ["--via", "gdb", "--gdb-server", server, "--gdb-reset", ""]
        done = board_run(discovery.path, *arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert re.match(r"error: gdb localhost:\d+: ended with 1: .*", done.stderr), done.stderr


@needs_gdb
def test_gdb_without_a_server_is_one_line(discovery: Built) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        server = f"localhost:{free.getsockname()[1]}"
    done = board_run(discovery.path, "--via", "gdb", "--gdb-server", server)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Connection refused" in done.stderr or "timed out" in done.stderr


def test_a_server_that_is_no_address_is_refused(discovery: Built) -> None:
    done = board_run(discovery.path, "--via", "gdb", "--gdb-server", "x;!touch y")
    assert done.returncode == 2
    assert "write HOST:PORT" in done.stderr or "is installed" in done.stderr


@pytest.fixture(scope="module")
def hanging(discovery: Built) -> Path:
    """A harness that never comes back from its first inference."""
    elf = discovery.harness.elf
    at = elf.symbol("ebnn_infer").address & ~1
    segment = next(s for s in elf.segments if s.address <= at < s.address + len(s.data))
    data = bytearray(discovery.path.read_bytes())
    offset = segment.file_offset + at - segment.address
    data[offset : offset + 2] = b"\xfe\xe7"  # b .
    path = discovery.path.with_name("hanging.elf")
    path.write_bytes(data)
    return path


@needs_qemu
def test_a_hang_is_told_and_what_came_is_kept(hanging: Path) -> None:
    done = board_run(hanging, "--via", "qemu", "--timeout", "2")
    assert done.returncode == 2
    assert "silent for 2 s: 0 of 3 samples came; it hangs, or needs a longer" in done.stderr
    assert done.stderr.count("\n") == 1
    assert hanging.with_suffix(".received.txt").read_bytes().startswith(b"@ebnn-harness 1 ")


def test_a_hang_in_the_simulator_ends_by_name(hanging: Path) -> None:
    done = board_run(hanging, "--via", "simulator", "--timeout", "0.2")
    assert done.returncode == 1
    assert re.match(r"error: still running in ebnn_infer .*--timeout\n", done.stderr), done.stderr


@needs_qemu
@needs_gdb
def test_a_gdb_server_that_goes_away_is_one_line(hanging: Path) -> None:
    with gdb_server("netduinoplus2", hanging) as (server, process):
        threading.Timer(4, process.kill).start()
        arguments = ["--via", "gdb", "--gdb-server", server, "--gdb-reset", ""]
        done = board_run(hanging, *arguments)
    assert done.returncode == 2
    assert re.match(r"error: gdb localhost:\d+: ended with 1: ", done.stderr), done.stderr
    assert done.stderr.strip().count("\n") == 0


# --- a serial port ------------------------------------------------------------------------


@contextmanager
def port_that_says(data: bytes) -> Iterator[str]:
    """The other end of a pseudo-terminal gets `data` again and again, as from a harness: who opens
    a port throws away what came before."""
    board, port = os.openpty()
    tty.setraw(port)
    os.set_blocking(board, False)
    over = threading.Event()

    def talk() -> None:
        waiting = b""
        while not over.is_set():
            waiting = waiting or data
            if select.select([], [board], [], 0.05)[1]:
                waiting = waiting[os.write(board, waiting[:256]) :]

    talker = threading.Thread(target=talk, daemon=True)
    talker.start()
    try:
        yield os.ttyname(port)
    finally:
        over.set()
        talker.join()
        os.close(port)
        os.close(board)


class Line(io.StringIO):
    """The board's end of a serial line: what is written goes out at once."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor

    def write(self, text: str) -> int:
        data = text.encode()
        while data:
            data = data[os.write(self.descriptor, data) :]
        return super().write(text)


@contextmanager
def simulated_board(harness: HarnessElf, name: str) -> Iterator[str]:
    """A port with the harness behind it, running in the simulator, again and again as on a board.
    Who listens first hears the end of a line."""
    board, port = os.openpty()
    tty.setraw(port)
    over = threading.Event()

    def run() -> None:
        os.write(board, b"ple 2 1 1 1 5 6 *00000000\n")
        while not over.is_set():
            simulate(harness, load_board(name), output=Line(board))

    runner = threading.Thread(target=run, daemon=True)
    runner.start()
    try:
        yield os.ttyname(port)
    finally:
        over.set()
        while runner.is_alive():
            if select.select([port], [], [], 0.05)[0]:  # else it waits for room
                os.read(port, 4096)
        os.close(port)
        os.close(board)


@needs_pyserial
def test_a_serial_port_brings_what_the_simulated_board_says(
    microbit: Built, tmp_path: Path
) -> None:
    _, machine = simulate(microbit.harness, load_board("microbit-v1"))
    record = tmp_path / "board.json"
    with simulated_board(microbit.harness, "microbit-v1") as port:
        arguments = ["--via", "serial", "--port", port, "--json", record]
        done = board_run(microbit.path, *arguments)
    assert done.returncode == 0, done.stderr
    read = json.loads(record.read_text())
    check_record(microbit, read, "serial")
    region = machine.record().to_dict()["regions"]["ebnn_infer"]
    assert read["regions"]["ebnn_infer"]["cycles"] == region["cycles"]
    assert read["harness"]["counter"] == "systick"


@needs_pyserial
@needs_qemu
def test_a_serial_port_hears_a_uart_that_qemu_models(microbit: Built, tmp_path: Path) -> None:
    command = ["qemu-system-arm", "-M", "microbit", "-display", "none", "-monitor", "none"]
    command += ["-serial", "pty", "-kernel", str(microbit.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as board:
        assert board.stdout is not None
        port = re.search(rb"/dev/pts/\d+", board.stdout.readline())
        assert port is not None
        record = tmp_path / "board.json"
        arguments = ["--via", "serial", "--port", port[0].decode(), "--json", record]
        done = board_run(microbit.path, *arguments)
        board.kill()
    assert done.returncode == 0, done.stderr
    check_record(microbit, json.loads(record.read_text()), "serial")


def serial_error(built: Built, data: bytes) -> str:
    """What is said of a board that sends `data` through a pseudo-terminal, and then nothing."""
    board, port = os.openpty()
    link = SerialLink(os.ttyname(port), 115200)
    os.write(board, data)
    silent_reads = itertools.count()
    try:
        with pytest.raises(NotCollected) as caught:
            collect(link, built.harness, 3, now=lambda: float(next(silent_reads)))
    finally:
        link.close()
        os.close(board)
        os.close(port)
    assert caught.value.received == data
    return str(caught.value)


def test_what_came_before_an_error_is_kept_in_a_file(
    microbit: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"".join(report_lines(microbit)[:2])
    monkeypatch.setattr("ebnn.commands.board._open", lambda *_: Scripted(data, None))
    args = build_parser().parse_args(["board", "run", str(microbit.path), "--via", "serial"])
    log = microbit.path.with_name("model.received.txt")
    kept = f"\\({len(data)} bytes received are in {re.escape(str(log))}\\)"
    with pytest.raises(UserError, match=rf"connection ended: 1 of 3 samples came {kept}"):
        args.run(args)
    assert log.read_bytes() == data


@needs_pyserial
def test_a_board_that_hangs_is_told_and_what_came_is_kept(microbit: Built) -> None:
    error = serial_error(microbit, b"".join(report_lines(microbit)[:2]))
    assert "silent for 3 s: 1 of 3 samples came" in error


@needs_pyserial
def test_garbage_is_told_and_kept(microbit: Built) -> None:
    error = serial_error(microbit, b"\xff\x00\x81garbage@\n" * 50)
    assert "no harness's first line was among what came" in error


@needs_pyserial
def test_another_build_on_the_board_is_told(microbit: Built, discovery: Built) -> None:
    error = serial_error(microbit, report_lines(discovery)[0])
    assert f"runs another build: {discovery.harness.build_id}" in error
    assert f"is {microbit.harness.build_id} for microbit-v1: flash it" in error


@needs_pyserial
def test_a_fault_on_the_board_is_exit_3_with_its_place(microbit: Built, tmp_path: Path) -> None:
    at = microbit.harness.elf.symbol("ebnn_infer").address & ~1
    lines = [*report_lines(microbit)[:2], encode_line(f"fault 0x{at:08x}")]
    record = tmp_path / "board.json"
    with port_that_says(b"".join(lines)) as port:
        done = board_run(microbit.path, "--via", "serial", "--port", port, "--json", record)
    assert done.returncode == 3, done.stderr
    assert "error: the core took a HardFault in ebnn_infer (model.c:" in done.stderr
    found = json.loads(record.read_text())
    assert found["fault"]["function"] == "ebnn_infer"
    assert len(found["predictions"]) == 1


@needs_pyserial
def test_a_port_that_is_not_there_is_one_line(microbit: Built) -> None:
    done = board_run(microbit.path, "--via", "serial", "--port", "/dev/no-such-port")
    assert done.returncode == 2
    assert "--port /dev/no-such-port: cannot be opened (" in done.stderr
    assert done.stderr.count("\n") == 1


@needs_pyserial
def test_a_port_that_vanishes_is_told() -> None:
    board, port = os.openpty()
    link = SerialLink(os.ttyname(port), 115200)
    os.write(board, b"hello")
    heard = b""
    while heard != b"hello":  # in pieces of any length
        heard += link.read() or b""
    os.close(board)
    os.close(port)
    with pytest.raises(LinkFailed, match=r"serial /dev/pts/\d+: lost \("):
        while True:
            link.read()
    link.close()


def test_pyserial_missing_is_one_line(microbit: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(UserError, match=re.escape("pip install 'ebnn[board]'")):
        open_serial(microbit.harness, "/dev/ttyACM0", 115200)


def test_a_harness_without_uart_is_not_listened_to(discovery: Built) -> None:
    done = board_run(discovery.path, "--via", "serial", "--port", "/dev/null")
    assert done.returncode == 2
    assert "build with --output uart" in done.stderr


# --- what every link has in common --------------------------------------------------------


class Scripted:
    """A link that says what a test wants, on a clock of its own: a second for each read."""

    def __init__(self, *pieces: bytes | Exception | None) -> None:
        self.facts = {"via": "test", "at": "bench"}
        self._pieces = list(pieces)
        self.seconds = 0.0

    def read(self) -> bytes | None:
        self.seconds += 1
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self) -> None:
        pass


def collect_error(built: Built, link: Scripted) -> NotCollected:
    with pytest.raises(NotCollected) as caught:
        collect(link, built.harness, silence_seconds=60, now=lambda: link.seconds)
    return caught.value


def test_silence_counts_from_the_last_byte(discovery: Built) -> None:
    lines = report_lines(discovery)
    link = Scripted(*[piece for line in lines for piece in (line, *[b""] * 50)])
    assert collect(link, discovery.harness, 60, now=lambda: link.seconds).report.is_complete
    link = Scripted(lines[0])
    error = collect_error(discovery, link)
    assert link.seconds == 62
    assert "silent for 60 s" in str(error)
    assert error.received == lines[0]


def test_a_connection_that_ends_keeps_what_came(discovery: Built) -> None:
    lines = report_lines(discovery)
    error = collect_error(discovery, Scripted(*lines[:3], None))
    assert str(error) == "test bench: the connection ended: 2 of 3 samples came"
    assert error.received == b"".join(lines[:3])


def test_a_board_that_never_stops_talking_is_stopped(discovery: Built) -> None:
    error = collect_error(discovery, Scripted(*[b"x" * (1 << 20)] * 17))
    assert "17 MiB came without a report" in str(error)


def test_an_elf_that_is_no_harness_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a harness: build one with"):
        read_harness(build_image(tmp_path, "m3"))
