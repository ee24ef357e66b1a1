"""The pure Python engine: what engine.c does, where no compiler was at hand."""

from __future__ import annotations

from .engine import Decode
from .errors import UserError
from .unicorn_library import Cpu


class PythonEngine:
    name = "python"

    def __init__(self, cpu: Cpu, decode: Decode) -> None:
        raise UserError("the Python engine is being written")
