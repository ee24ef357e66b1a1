"""Follows calls beside the native engine: call_tree.c, through ctypes."""

from __future__ import annotations

import ctypes
from typing import Any

from .call_tree import CallNode, FunctionTable

_u32, _u64, _pointer = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p


class _Node(ctypes.Structure):
    """The first fields of call_tree.h's `call_node`."""

    _fields_ = (
        ("index", _u32),
        ("parent", _u32),
        ("function", _u32),
        ("address", _u32),
        ("calls", _u64),
        ("cycles", _u64),
    )


FUNCTIONS: tuple[tuple[str, Any, list[Any]], ...] = (
    ("ebnn_call_tree_new", _pointer, [_pointer, ctypes.POINTER(_u32), _u32]),
    ("ebnn_call_tree_free", None, [_pointer]),
    ("ebnn_call_tree_wrap", None, [_pointer, _pointer]),
    ("ebnn_call_tree_jump", None, [_pointer]),
    ("ebnn_call_tree_enter", _u32, [_pointer, _u32]),
    ("ebnn_call_tree_leave", None, [_pointer, _u32]),
    ("ebnn_call_tree_settle", None, [_pointer, _u64]),
    ("ebnn_call_tree_node", ctypes.POINTER(_Node), [_pointer, _u32]),
)
"""Name, result and arguments of what the library exports for this."""


class NativeCallTree:
    def __init__(self, library: Any, engine: Any, table: FunctionTable) -> None:
        self._library = library
        flat = [address for limits in table.ranges for address in limits]
        self.handle = library.ebnn_call_tree_new(
            engine, (_u32 * len(flat))(*flat), len(table.ranges)
        )
        if not self.handle:
            raise MemoryError("no memory to follow calls in")

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self._library.ebnn_call_tree_free(self.handle)
            self.handle = None

    def wrap(self, on_block: Any) -> Any:
        """The hook to install, with `handle`, instead of the engine's `on_block`."""
        self._library.ebnn_call_tree_wrap(self.handle, ctypes.cast(on_block, _pointer))
        return self._library.ebnn_call_tree_on_block

    def jump(self) -> None:
        self._library.ebnn_call_tree_jump(self.handle)

    def enter(self, interrupts: bool) -> int:
        depth: int = self._library.ebnn_call_tree_enter(self.handle, int(interrupts))
        return depth

    def leave(self, depth: int) -> None:
        self._library.ebnn_call_tree_leave(self.handle, depth)

    def nodes(self, cycles: int) -> list[CallNode]:
        self._library.ebnn_call_tree_settle(self.handle, cycles)
        found: list[CallNode] = []
        while node := self._library.ebnn_call_tree_node(self.handle, len(found)):
            one = node.contents
            found.append(CallNode(one.parent, one.function, one.address, one.calls, one.cycles))
        return found
