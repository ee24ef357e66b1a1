"""Errors a user can act on, and how a command ends on one.

Exit codes of every command: 0 passed, 1 a budget failed, 2 bad usage or input, 3 the firmware
faulted.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any


class UserError(Exception):
    """Bad usage or input: one line that names the input, what is wrong and the next step."""

    exit_code = 2

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses take facts, not the message: without this they do not cross to another process.
        return _rebuilt, (type(self), self.args, self.__dict__.copy())


def _rebuilt(kind: type[UserError], args: tuple[Any, ...], facts: dict[str, Any]) -> UserError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(facts)
    return error


def printable(text: str) -> str:
    """`text` with what a terminal would not show as one character (line ends, escapes) replaced.

    Names come out of untrusted files, and a message is one line.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


def run_command(main: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> int:
    """Call `main`, turning a `UserError` into one line on stderr and its exit code.

    With `--debug` among the arguments the traceback is shown instead.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character (µs, or what firmware prints) is no reason to end.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    try:
        return main(arguments)
    except UserError as error:
        if "--debug" in arguments:
            raise
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (`| head`) went away; keep Python from complaining again at shutdown.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
