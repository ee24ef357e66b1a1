"""Runs tests with a native engine that AddressSanitizer and UBSan watch: `make sanitize`.

    python tests/sanitized.py [pytest arguments]

The package is copied to a temporary folder and the engine built into the copy, so that the
package itself needs no switch for it. Without arguments, everything that drives the engine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ebnn.sim.errors import UserError
from ebnn.toolchain.host import cc_command

TESTS = Path(__file__).resolve().parent
FLAGS = ["-std=c99", "-O1", "-g", "-shared", "-fPIC", "-fsanitize=address,undefined",
         "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]  # fmt: skip
_NAMES = ["test_microbenchmarks.py", "test_sim_machine.py", "test_sim_memory.py",
          "test_sim_profile.py", "test_sim_sandbox.py", "test_sim_fuzz.py", "test_sim_map.py",
          "test_sim_uninitialized.py", "test_sim_it.py", "test_sim_ram_code.py"]  # fmt: skip
# A run takes ten times as long as without sanitizers: of the campaign's ten parts the first.
_ALL = [*(str(TESTS / name) for name in _NAMES), "-k", "not every_mutant or part0"]


def sanitizer_environment() -> dict[str, str]:
    """Variables that Python must be started with to load a sanitized library.

    AddressSanitizer has to be the first library of a process. Python itself leaks on purpose at
    its end, so leaks are not reported.
    """
    found = subprocess.run(
        [*cc_command(), "-print-file-name=libasan.so"], capture_output=True, text=True, check=False
    )
    runtime = Path(found.stdout.strip())
    if not runtime.is_absolute():  # GCC echoes the bare name of a library that it has not
        raise UserError(f"{cc_command()[0]} has no libasan.so: set CC=gcc")
    return {"LD_PRELOAD": str(runtime), "ASAN_OPTIONS": "detect_leaks=0"}


def build_copy(folder: Path) -> dict[str, str]:
    """Copy the package into `folder` with a sanitized engine; the environment that uses it.

    `UserError` where the host has no C compiler, or one without these sanitizers.
    """
    environment = sanitizer_environment()
    package = TESTS.parent / "ebnn"
    # Following the links: the copy stands alone.
    shutil.copytree(
        package, folder / "ebnn", ignore=shutil.ignore_patterns("__pycache__", "_engine*")
    )
    sim = folder / "ebnn" / "sim"
    suffix = sysconfig.get_config_var("EXT_SUFFIX") or ".so"
    sources = [str(path) for path in sorted(sim.glob("*.c"))]
    command = [*cc_command(), *FLAGS, *sources, "-o", str(sim / f"_engine{suffix}")]
    subprocess.run(command, check=True, timeout=120)
    # Not the current folder, which may be the checkout, but the copy.
    # Memory that was freed need not be watched for long: machines are large.
    environment["ASAN_OPTIONS"] += ":quarantine_size_mb=16"
    return {**os.environ, **environment, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


def run_tests(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run pytest with these arguments on a sanitized copy."""
    with tempfile.TemporaryDirectory() as folder:
        environment = build_copy(Path(folder))
        program = (
            "import sys, pytest\nfrom ebnn.sim import engine_native\n"
            f"assert engine_native.__file__.startswith({folder!r})\n"
            "assert engine_native.find_library() is not None\n"
            "sys.exit(pytest.main(sys.argv[1:]))"
        )
        command = [sys.executable, "-c", program, "-p", "no:cacheprovider", "-s", *arguments]
        return subprocess.run(command, env=environment, cwd=TESTS.parent, text=True, check=False)


if __name__ == "__main__":
    raise SystemExit(run_tests(sys.argv[1:] or _ALL).returncode)
