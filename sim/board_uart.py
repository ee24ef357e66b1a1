"""How firmware sets up a board's UART: register accesses, from the [uart] table of its TOML.

    [uart]
    title = "USART2 on PA2, 115200 baud"
    source = "RM0090 sections 6.3.10, ..."
    baud = 115200
    data = 0x40004404                 # takes the byte
    open = [["modify", 0x40023830, 1, 1], ["write", 0x40004408, 139]]
    before_byte = [["wait", 0x40004400, 0x80, 0x80]]
    after_byte = []

`write` takes address and value; `modify` address, the mask of the bits that change, and their
value; `wait` address, the mask of the bits that are looked at, and what they must become.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .board import board_path
from .errors import UserError

_OPERANDS = {"write": 2, "modify": 3, "wait": 3}


@dataclass(frozen=True)
class RegisterStep:
    """One access of 32 bits; `mask` is all ones for a plain write."""

    kind: str  # write, modify or wait
    address: int
    mask: int
    value: int


@dataclass(frozen=True)
class Uart:
    """A transmitter: what opens it, and what comes before and after each byte."""

    title: str
    baud: int
    data_address: int
    open: tuple[RegisterStep, ...]
    before_byte: tuple[RegisterStep, ...]
    after_byte: tuple[RegisterStep, ...]


def load_uart(name_or_path: str | Path) -> Uart | None:
    """The UART of a board that `load_board` has accepted; None where none is described.

    Raises:
        UserError: a description with a missing or impossible value.
    """
    path = board_path(name_or_path)
    described = tomllib.loads(path.read_text(encoding="utf-8")).get("uart")
    if described is None:
        return None
    if not isinstance(described, dict):
        raise UserError(f"{path}: write the UART as a [uart] table")

    def value(key: str, kind: type) -> Any:
        found = described.get(key)
        if not isinstance(found, kind) or isinstance(found, bool):
            raise UserError(f"{path}: [uart] needs {key!r} ({kind.__name__})")
        return found

    def steps(key: str) -> tuple[RegisterStep, ...]:
        return tuple(_step(path, key, entry) for entry in value(key, list))

    value("source", str)
    return Uart(
        title=value("title", str),
        baud=value("baud", int),
        data_address=_word(path, "data", value("data", int)),
        open=steps("open"),
        before_byte=steps("before_byte"),
        after_byte=steps("after_byte"),
    )


def _step(path: Path, key: str, entry: object) -> RegisterStep:
    if not isinstance(entry, list) or not entry or _OPERANDS.get(entry[0]) != len(entry) - 1:
        raise UserError(
            f"{path}: [uart] {key}: {entry!r} is none of ['write', address, value], "
            "['modify', address, mask, value], ['wait', address, mask, value]"
        )
    kind, *numbers = entry
    words = [_word(path, key, number) for number in numbers]
    mask = 0xFFFFFFFF if kind == "write" else words[1]
    if words[0] % 4:
        raise UserError(f"{path}: [uart] {key}: {words[0]:#x} is no address of a register")
    if words[-1] & ~mask:
        raise UserError(f"{path}: [uart] {key}: {words[-1]:#x} has bits outside {mask:#x}")
    return RegisterStep(kind, words[0], mask, words[-1])


def _word(path: Path, key: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= 0xFFFFFFFF:
        raise UserError(f"{path}: [uart] {key}: {value!r} is not a number of 32 bits")
    return value
