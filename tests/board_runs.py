"""`ebnn board run` as a user calls it, and QEMU as the GDB server that it talks to."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def board_run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ebnn.cli", "board", "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@contextmanager
def gdb_server(machine: str, elf: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = ["qemu-system-arm", "-M", machine, "-display", "none", "-monitor", "none"]
    command += ["-serial", "null", "-S", "-gdb", f"tcp:localhost:{port}", "-kernel", str(elf)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            yield f"localhost:{port}", process  # GDB itself tries until the server is there
        finally:
            process.kill()
