"""The native engine compiles without a warning, anywhere, and is clean under sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sanitized

_ROOT = Path(__file__).resolve().parent.parent
_SOURCES = sorted((_ROOT / "sim").glob("*.c"))
_STRICT = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic"]


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_engine_compiles_without_a_warning(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    assert _SOURCES
    for source in _SOURCES:
        command = [compiler, *_STRICT, "-fPIC", "-c", str(source), "-o", str(tmp_path / "out.o")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("warns", [False, True])
def test_a_compiler_that_warns_more_still_gives_an_engine(warns: bool, tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler is not None
    log = tmp_path / "log"
    picky = tmp_path / "picky-cc"
    condition = '*" -Werror "*) exit 1 ;;' if warns else ""
    picky.write_text(
        f'#!/bin/sh\necho "$@" >> {log}\ncase " $* " in {condition} esac\nexec {compiler} "$@"\n'
    )
    picky.chmod(0o755)
    folders = ["--build-lib", str(tmp_path / "lib"), "--build-temp", str(tmp_path / "temp")]
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", *folders],
        cwd=_ROOT, env={**os.environ, "CC": str(picky)}, check=True,
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert len(list((tmp_path / "lib").rglob("_engine*"))) == 1
    compiled = [line for line in log.read_text().splitlines() if " -c " in line]
    assert "-Werror" in compiled[0]
    assert ("-Werror" in compiled[-1]) is not warns


def test_the_engine_is_clean_under_sanitizers() -> None:
    names = ["test_microbenchmarks.py", "test_sim_memory.py", "test_sim_profile.py",
             "test_sim_fuzz.py"]  # fmt: skip
    paths = [str(sanitized.TESTS / name) for name in names]
    done = sanitized.run_tests([*paths, "-k", "native or counts_by_exit_code"])
    assert done.returncode == 0


def test_the_sanitizers_would_tell(tmp_path: Path) -> None:
    environment = sanitized.build_copy(tmp_path)
    program = (
        "from ebnn.sim.engine_native import find_library, _DECODE\n"
        "library = find_library()\n"
        "engine = library.ebnn_engine_new(None, None, None, None, _DECODE(lambda *_: 0))\n"
        "library.ebnn_engine_free(engine)\n"
        "library.ebnn_engine_jump(engine)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "heap-use-after-free" in done.stderr
