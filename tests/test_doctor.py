"""`ebnn doctor` as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # Without the variables that choose a compiler, so that the machine's own are looked for.
    kept = {key: value for key, value in os.environ.items() if key not in ("CC", "EBNN_ARM_GCC")}
    return subprocess.run(
        [sys.executable, "-m", "ebnn.cli", "doctor", *arguments],
        env={**kept, "COLUMNS": "120", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_a_complete_machine_passes_with_the_versions_found() -> None:
    done = doctor("--json")
    assert done.returncode == 0, done.stdout
    found = findings(done)
    for name in ("python", "unicorn", "arm-none-eabi-gcc, newlib"):
        assert found[name]["version"][0].isdigit()
    text = doctor().stdout
    assert found["unicorn"]["version"] in text
    assert "Lowering, building and emulating work here." in text


def test_a_missing_compiler_fails_and_says_how_to_get_one() -> None:
    done = doctor(EBNN_ARM_GCC="/nowhere/gcc")
    assert done.returncode == 2
    assert "/nowhere/gcc" in done.stdout
    assert "need what is marked no" in done.stdout
    missing = findings(doctor("--json", EBNN_ARM_GCC="/bin/true"))["arm-none-eabi-gcc, newlib"]
    assert not missing["found"]
    assert "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi" in missing["how_to_get"]


def test_what_is_optional_may_be_missing(tmp_path: Path) -> None:
    # PATH without qemu, gdb and a host compiler; arm-none-eabi-gcc is in a usual place.
    found = findings(doctor("--json", PATH=str(tmp_path)))
    assert not found["host C compiler"]["found"]
    assert not found["qemu-system-arm"]["required"]
    without_cc = doctor("--json", CC="/nowhere/cc")
    assert without_cc.returncode == 0
    assert "/nowhere/cc" in findings(without_cc)["host C compiler"]["how_to_get"]


def test_doctor_looks_for_torch_without_importing_it() -> None:
    block = "import sys; sys.modules['torch'] = None; from ebnn.cli import main; "
    run = "sys.argv = ['ebnn', 'doctor', '--json']; raise SystemExit(main())"
    done = subprocess.run(
        [sys.executable, "-c", block + run], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
