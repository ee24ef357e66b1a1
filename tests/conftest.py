"""What holds for every test, and what several of them share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ebnn.c_kernels import KERNEL_DIR
from ebnn.toolchain.host import SANITIZE_VARIABLE, build_object

# C that tests, and the commands they start, build for this machine runs under AddressSanitizer and
# UndefinedBehaviorSanitizer: it is there to be right, not fast. Where the compiler has neither,
# set it to 0.
os.environ.setdefault(SANITIZE_VARIABLE, "1")
# Training takes two threads, and so do the tests: threads that spin while they wait for each other
# keep the cores from those they wait for.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kernels for this machine, compiled once: an object."""
    output = tmp_path_factory.mktemp("kernels") / "kernels.o"
    return build_object(sorted(KERNEL_DIR.glob("*.c")), output)
