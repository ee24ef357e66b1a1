"""Arm semihosting (BKPT 0xAB), as far as firmware under test needs it: output and exit.

No file of the host can be opened: the only name is the console `:tt`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

SYS_OPEN, SYS_CLOSE, SYS_WRITEC, SYS_WRITE0, SYS_WRITE, SYS_READ = 1, 2, 3, 4, 5, 6
SYS_ISTTY, SYS_FLEN, SYS_ERRNO, SYS_GET_CMDLINE, SYS_HEAPINFO = 9, 12, 19, 21, 22
SYS_CLOCK, SYS_TIME, SYS_EXIT, SYS_EXIT_EXTENDED = 16, 17, 24, 32
ADP_STOPPED_APPLICATION_EXIT = 0x20026
_STDIN, _STDOUT, _STDERR = 1, 2, 3
_LONGEST_TEXT_BYTES = 1 << 20
_PIECE_BYTES = 1024  # memories begin and end on multiples of this
_FAILED = 0xFFFFFFFF


class Exit(Exception):
    """The firmware asked to end, with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Semihosting:
    """Serves calls from r0 (operation) and r1 (argument); memory is read through `read`."""

    def __init__(self, read: Callable[[int, int], bytes], output: TextIO, errors: TextIO) -> None:
        self._read = read
        self._output = output
        self._errors = errors

    def call(self, operation: int, argument: int, cycles: int) -> int:
        """The value for r0. Raises `Exit`; a bad address raises what `read` raises."""
        if operation == SYS_WRITEC:
            self._write(_STDOUT, self._read(argument, 1))
        elif operation == SYS_WRITE0:
            self._write(_STDOUT, self._text(argument))
        elif operation == SYS_WRITE:
            handle, address, count = (self._word(argument + 4 * index) for index in range(3))
            if handle not in (_STDOUT, _STDERR) or count > _LONGEST_TEXT_BYTES:
                return count
            self._write(handle, self._read(address, count) if count else b"")
        elif operation == SYS_OPEN:
            name, mode, length = (self._word(argument + 4 * index) for index in range(3))
            if length != 3 or self._read(name, 3) != b":tt":
                return _FAILED
            return _STDIN if mode < 4 else _STDOUT if mode < 8 else _STDERR
        elif operation == SYS_READ:
            return self._word(argument + 8)  # nothing was read: end of file
        elif operation == SYS_ISTTY:
            return 1
        elif operation == SYS_CLOCK:
            return cycles // 1_000_000 & 0xFFFFFFFF
        elif operation == SYS_EXIT:
            raise Exit(0 if argument == ADP_STOPPED_APPLICATION_EXIT else 1)
        elif operation == SYS_EXIT_EXTENDED:
            reason, status = self._word(argument), self._word(argument + 4)
            raise Exit(status if reason == ADP_STOPPED_APPLICATION_EXIT else 1)
        elif operation not in (SYS_CLOSE, SYS_FLEN, SYS_ERRNO, SYS_TIME):
            return _FAILED
        return 0

    def _word(self, address: int) -> int:
        return int.from_bytes(self._read(address, 4), "little")

    def _text(self, address: int) -> bytes:
        text = bytearray()
        while len(text) < _LONGEST_TEXT_BYTES:
            piece = self._read(address, _PIECE_BYTES - address % _PIECE_BYTES)
            before, end, _after = piece.partition(b"\0")
            text += before
            if end:
                break
            address += len(piece)
        return bytes(text)

    def _write(self, handle: int, data: bytes) -> None:
        stream = self._errors if handle == _STDERR else self._output
        stream.write(data.decode("utf-8", "replace"))
        stream.flush()
