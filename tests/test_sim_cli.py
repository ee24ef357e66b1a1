"""The simulator's command line: exit codes, one clear line for bad input, the record alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sim_images import build

from ebnn.sim.cli import main


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    assert "Traceback" not in captured.err
    return captured.err


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("image"), "m3", "int main(void) { return 7; }")


@pytest.mark.parametrize("size", ["15x", "-1", "", "k", "0", "1.00001", "99999999k"])
def test_a_bad_size_is_one_line_and_exit_2(
    elf: Path, size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(elf), "--ram", size]) == 2
    assert "--ram" in _error(capsys)


@pytest.mark.parametrize("size", ["15k", "15K", "15KiB", "15360"])
def test_sizes_are_accepted_as_people_write_them(
    elf: Path, size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(elf), "--ram", size, "--json", "-"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["memory"]["ram_limit"] == 15360
    assert record["firmware_exit"] == 7


def test_bad_images_are_one_line_and_exit_2(
    elf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = elf.read_bytes()

    def patched(offset: int, value: bytes) -> bytes:
        return good[:offset] + value + good[offset + len(value) :]

    images = {
        "empty": b"",
        "not an ELF": b"\x00\x01\x02\x03" * 100,
        "cut short": good[:40],
        "past the end": good[: len(good) // 3],
        "64-bit": patched(4, b"\x02"),
        "big-endian": patched(5, b"\x02"),
        "x86": patched(18, b"\x03\x00"),
        "not a linked": patched(16, b"\x01\x00"),
        "no loadable segment": patched(44, b"\x00\x00"),
    }
    for expected, data in images.items():
        path = tmp_path / "bad.elf"
        path.write_bytes(data)
        assert main(["run", str(path)]) == 2, expected
        assert expected in _error(capsys)
    assert main(["run", str(tmp_path)]) == 2
    assert "a folder" in _error(capsys)
    assert main(["run", str(tmp_path / "absent.elf")]) == 2
    assert "cannot read" in _error(capsys)
    assert main(["run", str(elf), "--board", "absent"]) == 2
    assert "no board" in _error(capsys)
    assert main(["run", str(elf), "--board", "nrf52840-dk"]) == 2
    assert "lie outside the memories of nrf52840-dk" in _error(capsys)


def test_a_host_program_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(Path(shutil.which("ls") or sys.executable).resolve())]) == 2
    assert "ELF" in _error(capsys)


def test_every_failed_budget_has_its_line(elf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--flash", "10", "--stack", "1", "--max-region-cycles", "main=1"]
    assert main(["run", str(elf), *arguments, "--json", "-"]) == 1
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["budgets_failed"]) == 3
    assert captured.err.count("error:") == 3


def test_a_region_that_never_ran_keeps_no_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = build(tmp_path, "m3", "int spare(void) { return 1; } int main(void) { return 0; }")
    assert main(["run", str(image), "--max-region-cycles", "spare=1k"]) == 1
    assert "spare never ran to its end, as --max-region-cycles 1,000 wants" in _error(capsys)


@pytest.mark.parametrize(
    ("board", "says"),
    [
        ("generic-m3", r"version \d+, error \d.* % mean, \d.* % worst of \d+ board measurements"),
        ("generic-m7", r"version \d+, not validated for this core, board and wait states"),
        ("stm32l100-discovery", r"version \d+, not validated for this core, board and wait states"),
    ],
)
def test_the_table_states_the_models_version_and_error(
    board: str, says: str, elf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(elf), "--board", board]) == 0
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("cycle model")]
    assert re.search(says, line)


def test_the_record_file_is_deterministic(elf: Path, tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        assert main(["run", str(elf), "--json", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_the_command_line_does_not_import_torch_or_numpy(elf: Path) -> None:
    program = (
        "import sys; from ebnn.sim.cli import main; "
        f"main(['run', {str(elf)!r}, '--json', '-']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
