"""The `ebnn` command inside the test's own process: where what it imports takes longer than what it
does, a process for each call is most of a test's time."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from ebnn.cli import main


def run_ebnn(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Like `subprocess.run` of `ebnn` with these arguments, output captured as text."""
    command = ["ebnn", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    with patch.object(sys, "argv", command), redirect_stdout(out), redirect_stderr(err):
        try:
            code = main()
        except SystemExit as end:  # argparse refuses options so
            code = int(end.code or 0)
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())
