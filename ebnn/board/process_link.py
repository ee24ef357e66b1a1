"""A program whose standard output is the board's: QEMU, GDB."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any

from ebnn.board.link import LinkFailed

_MOMENT_SECONDS = 0.2
_READ_BYTES = 65536
_END_SECONDS = 5


class ProcessLink:
    """Runs `command`, and ends it again; what it complains of is in the error when it fails."""

    def __init__(self, command: Sequence[str], facts: dict[str, Any]) -> None:
        self.facts = facts
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                start_new_session=True,  # Ctrl-C is for us, who then end it
            )
        except OSError as error:
            self._complaints.close()
            raise LinkFailed(f"{command[0]}: cannot be run ({error.strerror})") from error
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()

    def read(self) -> bytes | None:
        ready, _, _ = select.select([self._output], [], [], _MOMENT_SECONDS)
        if not ready:
            return b""
        data = os.read(self._output, _READ_BYTES)
        if data:
            return data
        status = self._process.wait()
        if status != 0:
            raise LinkFailed(
                f"{self.facts['via']} {self.facts['at']}: ended with"
                f" {f'signal {-status}' if status < 0 else status}: {self._last_complaint()}"
            )
        return None

    def _last_complaint(self) -> str:
        self._complaints.seek(0)
        lines = self._complaints.read().decode("utf-8", "replace").split("\n")
        return next(
            (line.strip() for line in reversed(lines) if line.strip()), "it did not say why"
        )

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        with contextlib.suppress(OSError):
            if self._process.stdout is not None:
                self._process.stdout.close()
        self._complaints.close()
