"""What the native and the Python engine share: stop reasons, flags, and the choice between them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .errors import UserError

if TYPE_CHECKING:
    from .call_tree import CallTree, FunctionTable
    from .flash_timing import FlashTiming
    from .unicorn_library import Cpu

# Mirrored in engine.c.
STOP_NONE = 0
STOP_RETURNED = 1
STOP_DEADLINE = 2
STOP_UNHOOKED = 3
STOP_NO_FPU = 4
STOP_STACK = 5
STOP_HEAP = 6
STOP_DECODE = 7
STOP_INTERRUPT = 8
STOP_ILLEGAL = 9
STOP_ARRIVED = 10
STOP_DIVIDE = 11
STOP_SYSTEM = 12

FLAG_STACK = 1
FLAG_STACK_AFTER = 2
FLAG_ENTRY = 4
FLAG_UNHOOKED = 8
FLAG_FPU = 16
FLAG_CALL = 32
ALWAYS_ALERT = FLAG_STACK_AFTER | FLAG_ENTRY | FLAG_UNHOOKED

FUNCTION_REGION = 0
FUNCTION_SBRK = 1
FUNCTION_CALL = 2

KIND_EXECUTED = 0
KIND_DIVIDE = 1
KIND_LONG_MULTIPLY = 2
KIND_ILLEGAL = 3
KIND_STACK = 4
KIND_SYSTEM = 5
KIND_SLOW_RAM = 6

# Unicorn walks the list of hooks at each hooked instruction: from so many on, one hook for every
# instruction is faster. On both engines, because hooks make Unicorn cut long blocks earlier, and
# where a block is cut can change its cycles.
MOST_HOOKS = 256

NEVER = 1
EXC_RETURN_START = 0xFFFFFF00  # LR in a handler is at least this
NO_BLOCK = 0xFFFFFFFF

Decode = Callable[[int, int, int | None, Any], Sequence[tuple[int, int]]]
"""`decode(address, size, index of the block fallen out of, block to fill in)`: the lines of flash
that the block is fetched from, each with the cycles of the block before it is needed."""
Deeper = Callable[[int], None]
"""`deeper(address)`: the code there is about to take SP lower than ever before."""


class Engine(Protocol):
    """Applies block costs while Unicorn runs; `state` and blocks have the fields of engine.c."""

    name: str
    state: Any
    failure: BaseException | None

    def set_flash(self, address: int, size_bytes: int, timing: FlashTiming) -> None: ...
    def follow_calls(self, table: FunctionTable) -> CallTree: ...
    def install(self) -> None: ...
    def jump(self) -> None: ...
    def resume(self, address: int) -> None: ...
    def drop_frames(self) -> None: ...
    def leave_handler(self) -> None: ...
    def block(self, index: int) -> Any: ...
    def current(self) -> int: ...
    def add_function(self, kind: int) -> int: ...
    def function(self, index: int) -> Any: ...
    def samples(self, index: int) -> list[tuple[int, int]]: ...
    def open_call(self, index: int, return_address: int, sp: int) -> None: ...
    def add_instruction(self, address: int) -> Any: ...
    def instructions(self) -> list[Any]: ...
    def hook_instruction(self, address: int) -> None: ...
    def watch_stack(self, deeper: Deeper) -> None: ...


def native_library(choice: str) -> Any:
    """The native engine's library, None where the Python engine is to run.

    `choice` is `auto` (native where it was built), `native` or `python`. Raises `UserError` for any
    other, and for `native` where it was not built.
    """
    from .engine_native import find_library

    if choice not in ("auto", "native", "python"):
        raise UserError(f"no engine is called {choice!r}: choose auto, native or python")
    if choice == "python":
        return None
    library = find_library()
    if library is None and choice == "native":
        raise UserError(
            "the native engine is not built, or from other sources: install a C compiler and "
            "run pip install again, or use --engine python"
        )
    if library is None:
        _say_slow()
    return library


def make_engine(library: Any, cpu: Cpu, decode: Decode) -> Engine:
    """The native engine of `library`; the Python engine where it is None."""
    if library is not None:
        from .engine_native import NativeEngine

        return NativeEngine(library, cpu, decode)
    from .engine_python import PythonEngine

    return PythonEngine(cpu, decode)


_said = False


def _say_slow() -> None:
    global _said
    if not _said:
        _said = True
        print(
            "note: the native engine is not built, or from other sources; the Python path counts "
            "the same, about 20 times slower (install a C compiler and run pip install again)",
            file=sys.stderr,
        )
