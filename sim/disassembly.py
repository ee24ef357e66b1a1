"""Instructions as assembly text, by capstone, which is only needed for this."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from .errors import UserError
from .thumb import Kind
from .thumb_decode import decode, it_conditions


def _load() -> Any:
    try:
        return importlib.import_module("capstone")
    except ImportError as error:
        raise UserError(
            "annotate needs the package capstone: pip install 'ebnn[annotate]'"
        ) from error


def check_capstone() -> None:
    """`UserError` where instructions cannot be disassembled; before a long run, not after it."""
    _load()


_TARGET = re.compile(r"#(0x[0-9a-f]+)$")
_WITH_TARGET = (Kind.BRANCH, Kind.BRANCH_LINK)


class Disassembler:
    """Text of one instruction at a time.

    Raises:
        UserError: capstone is not installed.
    """

    def __init__(self, core: str, name_at: Callable[[int], str | None]) -> None:
        capstone = _load()
        mode = capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS
        if core == "cortex-m33":
            mode |= capstone.CS_MODE_V8
        self._capstone: Any = capstone.Cs(capstone.CS_ARCH_ARM, mode)
        self._capstone.syntax = capstone.CS_OPT_SYNTAX_NOREGNAME  # r9, not sb
        self._name_at = name_at
        self._it, self._it_address, self._conditions = b"", 0, 0

    def text(self, code: bytes, address: int) -> tuple[int, str]:
        """Size in bytes and text of the instruction that `code` begins with.

        Behind an IT instruction those that it covers, when they are asked for next, are given
        their conditions.
        """
        instruction = decode(code, address)
        code = code[: instruction.size]
        if instruction.kind is Kind.IT:
            self._it, self._it_address = code, address
            self._conditions = len(it_conditions(instruction.it))
        elif self._conditions and address == self._it_address + len(self._it):
            self._it += code
            self._conditions -= 1
        else:
            self._it, self._it_address, self._conditions = code, address, 0
        for at, size, mnemonic, operands in self._capstone.disasm_lite(self._it, self._it_address):
            if (at, size) == (address, instruction.size):
                text = f"{mnemonic} {operands}".rstrip()
                return size, text + self._target(instruction.kind, operands)
        return instruction.size, f".short {', '.join(_halfwords(code))}"

    def _target(self, kind: Kind, operands: str) -> str:
        match = _TARGET.search(operands) if kind in _WITH_TARGET else None
        name = self._name_at(int(match[1], 16)) if match else None
        return f" <{name}>" if name else ""


def _halfwords(code: bytes) -> list[str]:
    return [f"{int.from_bytes(code[at : at + 2], 'little'):#06x}" for at in range(0, len(code), 2)]
