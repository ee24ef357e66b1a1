"""Ctrl-C during a search: not inside the database's work, and never lost.

Python raises `KeyboardInterrupt` wherever it stands. Within SQLAlchemy that is logged with a
traceback, and within a finalizer it is printed and forgotten.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupts_noted() -> Iterator[Callable[[], None]]:
    """What raises a `KeyboardInterrupt` once more: one that comes while Python runs a finalizer
    is swallowed, and would only be printed."""
    seen = False

    def note(_signal: int, _frame: object) -> None:
        nonlocal seen
        seen = True
        raise KeyboardInterrupt

    def check() -> None:
        if seen:
            raise KeyboardInterrupt

    if not _in_main_thread():
        yield check
        return
    print_unraisable = sys.unraisablehook

    def print_others(swallowed: Any) -> None:
        if not isinstance(swallowed.exc_value, KeyboardInterrupt):
            print_unraisable(swallowed)

    before = signal.signal(signal.SIGINT, note)
    sys.unraisablehook = print_others
    try:
        yield check
    finally:
        sys.unraisablehook = print_unraisable
        signal.signal(signal.SIGINT, before)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """A Ctrl-C that comes in the block, or in the function that this decorates, waits for its end.

    For work that is over in no time.
    """
    if not _in_main_thread():
        yield
        return
    came = False

    def hold(_signal: int, _frame: object) -> None:
        nonlocal came
        came = True

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def _in_main_thread() -> bool:
    """No signal comes to the others, nor may they say what is to happen on one."""
    return threading.current_thread() is threading.main_thread()
