"""The native engine: engine.c, loaded with ctypes and installed as Unicorn's hooks."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .call_tree_native import FUNCTIONS, NativeCallTree
from .engine import MOST_HOOKS, NO_BLOCK, Decode, Deeper
from .flash_timing import FlashTiming
from .unicorn_library import HOOK_BLOCK, HOOK_CODE, HOOK_INTR, HOOK_MEM_READ, Cpu

if TYPE_CHECKING:
    from .call_tree import FunctionTable

_u16, _u32, _u64, _i32 = ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int32


class State(ctypes.Structure):
    """The first fields of engine.h's `struct engine`."""

    _fields_ = (
        ("cycles", _u64),
        ("instructions", _u64),
        ("deadline", _u64),
        ("previous", ctypes.c_void_p),
        ("watched_return", _u32),
        ("alert", _u32),
        ("attention", _u32),
        ("lowest_sp", _u32),
        ("sp", _u32),
        ("frames", _u32),
        ("stop", _u32),
        ("interrupt", _u32),
        ("stop_address", _u32),
        ("stack_floor", _u32),
        ("stack_top", _u32),
        ("lowest_sp_address", _u32),
        ("sp_unknown", _u32),
        ("heap_start", _u32),
        ("heap_break", _u32),
        ("heap_peak", _u32),
        ("ram_end", _u32),
        ("break_address", _u32),
        ("trap_divide", _u32),
        ("trap_system", _u32),
        ("block_count", _u32),
        ("instruction_count", _u32),
        ("function_count", _u32),
        ("wait_cycles", _u64),
    )


class Block(ctypes.Structure):
    """engine.h's `block`, up to the lists that are C's business."""

    _fields_ = (
        ("address", _u32),
        ("size", _u32),
        ("end", _u32),
        ("cycles", _u32),
        ("taken_cycles", _u16),
        ("flags", _u16),
        ("instructions", _u32),
        ("lowest_sp", _i32),
        ("sp_change", _i32),
        ("count", _u64),
        ("taken", _u64),
        ("after", ctypes.c_void_p * 2),
        ("wait_cycles", _u64),
        ("index", _u32),
        ("function", _u32),
    )


class Function(ctypes.Structure):
    _fields_ = (
        ("kind", _u32),
        ("open", _u32),
        ("count", _u64),
        ("last_cycles", _u64),
        ("last_instructions", _u64),
        ("samples", _u64),
        ("capacity", _u64),
        ("sample", ctypes.POINTER(_u64)),
    )


class Instruction(ctypes.Structure):
    _fields_ = (
        ("address", _u32),
        ("kind", _u32),
        ("cycles", _u32),
        ("is_signed", _u32),
        ("dividend", _i32),
        ("divisor", _i32),
        ("least_cycles", _u32),
        ("most_cycles", _u32),
        ("executed_cycles", _u32),
        ("lowest_sp", _i32),
        ("same_stack", _u32),
        ("count", _u64),
        ("extra", _u64),
    )


_DECODE = ctypes.CFUNCTYPE(ctypes.c_int, _u32, _u32, ctypes.POINTER(Block), ctypes.POINTER(Block))

_DEEPER = ctypes.CFUNCTYPE(None, _u32)


@cache
def find_library() -> Any:
    """The built extension beside this file, or None where there is none or a stale one."""
    suffix = EXTENSION_SUFFIXES[0]
    path = Path(__file__).with_name("_engine" + suffix)
    if not path.is_file():
        return None
    try:
        library = ctypes.CDLL(str(path))
    except OSError:
        return None
    if not _mirrors(library):
        return None
    pointer = ctypes.c_void_p
    for name, result, arguments in (
        ("ebnn_engine_new", pointer, [pointer, pointer, pointer, pointer, _DECODE]),
        ("ebnn_engine_free", None, [pointer]),
        ("ebnn_engine_watch_stack", None, [pointer, _DEEPER]),
        ("ebnn_engine_jump", None, [pointer]),
        ("ebnn_engine_resume", None, [pointer, _u32]),
        ("ebnn_engine_drop_frames", None, [pointer]),
        ("ebnn_engine_leave_handler", None, [pointer]),
        ("ebnn_engine_block", ctypes.POINTER(Block), [pointer, _u32]),
        ("ebnn_engine_current", _u32, [pointer]),
        ("ebnn_engine_function", ctypes.POINTER(Function), [pointer, _u32]),
        ("ebnn_engine_add_function", _u32, [pointer, _u32]),
        ("ebnn_engine_open_call", ctypes.c_int, [pointer, _u32, _u32, _u32]),
        ("ebnn_engine_add_instruction", ctypes.POINTER(Instruction), [pointer, _u32]),
        ("ebnn_engine_instruction", ctypes.POINTER(Instruction), [pointer, _u32]),
        ("ebnn_engine_set_flash", ctypes.c_int, [pointer, *[_u32] * 9]),
        ("ebnn_block_add_fetch", ctypes.c_int, [ctypes.POINTER(Block), _u32, _u32]),
        *FUNCTIONS,
    ):
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


def _mirrors(library: Any) -> bool:
    """Whether the library was built from sources whose structures are those above."""
    try:
        layout = library.ebnn_engine_layout
    except AttributeError:
        return False
    layout.restype = _u64
    sizes = [ctypes.sizeof(kind) for kind in (State, Block, Function, Instruction)]
    expected = sizes[0] << 48 | sizes[1] << 32 | sizes[2] << 16 | sizes[3]
    return bool(layout() == expected)


class NativeEngine:
    """Unicorn calls straight into C; Python is called only to decode a block seen first."""

    name = "native"

    def __init__(self, library: Any, cpu: Cpu, decode: Decode) -> None:
        self._library = library
        self._cpu = cpu
        self._call_tree: NativeCallTree | None = None
        self.failure: BaseException | None = None

        def decode_block(address: int, size: int, before: Any, into: Any) -> int:
            try:
                index = before.contents.index if before else None
                for line, cycles in decode(address, size, index, into.contents):
                    if library.ebnn_block_add_fetch(into, line, cycles):
                        raise MemoryError("the native engine could not note a line of flash")
            except BaseException as error:
                self.failure = error
                return 1
            return 0

        self._decode = _DECODE(decode_block)
        self._engine = library.ebnn_engine_new(
            cpu.handle,
            *map(cpu.address_of, ("uc_reg_read", "uc_reg_write", "uc_emu_stop")),
            self._decode,
        )
        if not self._engine:
            raise MemoryError("the native engine could not allocate its tables")
        self.state: Any = State.from_address(self._engine)
        self._flash: tuple[int, int] | None = None
        self._instruction_hooks: list[int] | None = []  # None: one hook for every instruction

    def __del__(self) -> None:
        if getattr(self, "_engine", None):
            self._library.ebnn_engine_free(self._engine)
            self._engine = None

    def follow_calls(self, table: FunctionTable) -> NativeCallTree:
        self._call_tree = NativeCallTree(self._library, self._engine, table)
        return self._call_tree

    def set_flash(self, address: int, size_bytes: int, timing: FlashTiming) -> None:
        if self._library.ebnn_engine_set_flash(
            self._engine,
            address,
            size_bytes,
            timing.line_bytes,
            timing.wait_states,
            timing.prefetch,
            timing.instruction_cache_lines,
            timing.instruction_cache_ways,
            timing.data_cache_lines,
            timing.data_cache_ways,
        ):
            raise MemoryError("the native engine could not allocate its flash")
        self._flash = (address, address + size_bytes - 1)

    def install(self) -> None:
        on_block = self._library.ebnn_on_block
        if self._flash is not None:
            on_block = self._library.ebnn_on_block_from_flash
            self._cpu.hook(
                HOOK_MEM_READ, self._library.ebnn_on_flash_load, self._engine, *self._flash
            )
        user = self._engine
        if self._call_tree is not None:
            on_block, user = self._call_tree.wrap(on_block), self._call_tree.handle
        self._cpu.hook(HOOK_BLOCK, on_block, user)
        self._cpu.hook(HOOK_INTR, self._library.ebnn_on_interrupt, self._engine)

    def jump(self) -> None:
        self._library.ebnn_engine_jump(self._engine)
        if self._call_tree is not None:
            self._call_tree.jump()

    def resume(self, address: int) -> None:
        self._library.ebnn_engine_resume(self._engine, address)

    def drop_frames(self) -> None:
        self._library.ebnn_engine_drop_frames(self._engine)

    def leave_handler(self) -> None:
        self._library.ebnn_engine_leave_handler(self._engine)

    def block(self, index: int) -> Any:
        return self._library.ebnn_engine_block(self._engine, index).contents

    def current(self) -> int:
        index: int = self._library.ebnn_engine_current(self._engine)
        return index

    def add_function(self, kind: int) -> int:
        index: int = self._library.ebnn_engine_add_function(self._engine, kind)
        if index == NO_BLOCK:
            raise MemoryError("the native engine could not watch another function")
        return index

    def function(self, index: int) -> Any:
        return self._library.ebnn_engine_function(self._engine, index).contents

    def samples(self, index: int) -> list[tuple[int, int]]:
        function = self.function(index)
        flat = function.sample[: 2 * function.samples] if function.samples else []
        return list(zip(flat[::2], flat[1::2], strict=True))

    def open_call(self, index: int, return_address: int, sp: int) -> None:
        if self._library.ebnn_engine_open_call(self._engine, index, return_address, sp):
            raise RecursionError("too many calls are open")

    def add_instruction(self, address: int) -> Any:
        record = self._library.ebnn_engine_add_instruction(self._engine, address)
        return record.contents if record else None

    def instructions(self) -> list[Any]:
        count = self.state.instruction_count
        return [
            self._library.ebnn_engine_instruction(self._engine, index).contents
            for index in range(count)
        ]

    def hook_instruction(self, address: int) -> None:
        if self._instruction_hooks is None:
            return
        on_instruction = self._library.ebnn_on_instruction
        if len(self._instruction_hooks) < MOST_HOOKS:
            hook = self._cpu.hook(HOOK_CODE, on_instruction, self._engine, address, address)
            self._instruction_hooks.append(hook)
            return
        for hook in self._instruction_hooks:
            self._cpu.unhook(hook)
        self._instruction_hooks = None
        self._cpu.hook(HOOK_CODE, on_instruction, self._engine)
        self._cpu.forget_all_translations()

    def watch_stack(self, deeper: Deeper) -> None:
        def call(address: int) -> None:
            try:
                deeper(address)
            except BaseException as error:
                self.failure = error

        self._deeper = _DEEPER(call)
        self._library.ebnn_engine_watch_stack(self._engine, self._deeper)
