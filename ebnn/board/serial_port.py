"""A board's serial port: listens only; the harness repeats itself until somebody hears it."""

from __future__ import annotations

from typing import Any

from ebnn.board.harness_elf import HarnessElf
from ebnn.board.link import LinkFailed
from ebnn.sim.errors import UserError

DEFAULT_BAUD = 115200
_MOMENT_SECONDS = 0.2


class SerialLink:
    """An open port; `port` is a device or one of pyserial's URLs (socket://host:port, ...)."""

    def __init__(self, port: str, baud: int) -> None:
        try:
            import serial
        except ImportError as error:
            raise UserError(
                "a serial port needs pyserial: pip install 'ebnn[board]' (or: pip install pyserial)"
            ) from error
        self._errors: tuple[type[Exception], ...] = (serial.SerialException, OSError)
        try:
            self._port = serial.serial_for_url(port, baudrate=baud, timeout=_MOMENT_SECONDS)
        except (*self._errors, ValueError) as error:
            raise LinkFailed(f"--port {port}: cannot be opened ({_reason(error)})") from error
        self.facts: dict[str, Any] = {"via": "serial", "at": port, "baud": baud}

    def read(self) -> bytes | None:
        try:
            # One byte at least, within a moment, and whatever else has already come.
            data = bytes(self._port.read(max(1, self._port.in_waiting)))
        except self._errors as error:
            raise LinkFailed(f"serial {self.facts['at']}: lost ({_reason(error)})") from error
        return data

    def close(self) -> None:
        self._port.close()


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]


def open_serial(harness: HarnessElf, port: str | None, baud: int) -> SerialLink:
    """Listen to `port`. `UserError` where the harness does not speak there; pyserial is missing."""
    if port is None:
        raise UserError("--via serial needs --port: /dev/ttyACM0, COM3, ...")
    if harness.output != "uart":
        raise UserError(
            f"{harness.path}: its lines leave by {harness.output}, not by a UART:"
            " build with --output uart"
        )
    return SerialLink(port, baud)
