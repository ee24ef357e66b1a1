"""Follows calls beside the pure Python engine: call_tree.c line by line; see the comments there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .call_tree import (
    MAX_NODE_DEPTH,
    MAX_NODES,
    MAX_OPEN_CALLS,
    NO_CODE,
    NO_FUNCTION,
    CallNode,
    FunctionTable,
)
from .engine import FLAG_CALL, NEVER, STOP_NONE

if TYPE_CHECKING:
    from .engine_python import Block, PythonEngine


@dataclass(slots=True, eq=False)
class _Node:
    index: int
    up: _Node | None
    function: int
    address: int
    depth: int
    children: dict[tuple[int, int], _Node]
    calls: int = 0
    cycles: int = 0


@dataclass(slots=True)
class _OpenCall:
    node: _Node
    function: int
    return_address: int
    sp: int
    base: bool = False


class PythonCallTree:
    """`step` is the engine's own hook, which `on_block` wraps."""

    def __init__(
        self, engine: PythonEngine, table: FunctionTable, step: Callable[[int, int], None]
    ) -> None:
        self._engine = engine
        self._step = step
        self._table = table
        self._nodes: list[_Node] = []
        root = self._new_node(None, NO_FUNCTION, 0)
        self._overflow = self._new_node(root, NO_FUNCTION, NEVER)
        self._calls: list[_OpenCall] = []
        self._mark = 0
        self._function, self._return_address = NO_CODE, NEVER
        self._attention = self._nowhere = True
        self._last: Block | None = None
        self._functions: dict[int, int] = {}  # by the index of a block

    # --- the interface of a call tree -----------------------------------------------------

    def enter(self, interrupts: bool) -> int:
        depth = len(self._calls)
        self._charge(self._engine.state.cycles)
        node = self._running() if interrupts else self._nodes[0]
        self._push(_OpenCall(node, NO_FUNCTION, NEVER, 0, base=True))
        self._settle()
        self.jump()
        return depth

    def leave(self, depth: int) -> None:
        self._charge(self._engine.state.cycles)
        del self._calls[depth:]
        self._settle()
        self.jump()

    def nodes(self, cycles: int) -> list[CallNode]:
        self._charge(cycles)
        return [
            CallNode(n.up.index if n.up else 0, n.function, n.address, n.calls, n.cycles)
            for n in self._nodes
        ]

    def jump(self) -> None:
        self._nowhere = self._attention = True
        self._last = None

    # --- following ------------------------------------------------------------------------

    def on_block(self, address: int, size: int) -> None:
        engine = self._engine
        before, now = engine.previous, engine.state.cycles
        if engine.is_resuming:
            self._nowhere = self._attention = True
        self._step(address, size)
        if engine.state.stop != STOP_NONE:
            return
        block = engine.previous
        function = self._functions.get(block.index)
        if function is None:
            function = self._functions[block.index] = self._table.number_at(block.address)
        if self._attention or function != self._function or address == self._return_address:
            if address != before.end:
                now += before.taken_cycles
            self._arrive(address, function, now)
            self._nowhere = False
        self._attention = bool(block.flags & FLAG_CALL)
        self._last = block

    def _arrive(self, address: int, function: int, now: int) -> None:
        sp = self._engine.sp()
        self._charge(now)
        last = self._last
        if (
            not self._nowhere
            and last is not None
            and address != last.end
            and last.flags & FLAG_CALL
            and not self._is_far_jump(last, address, function)
        ):
            node = self._child(self._running(), function, address)
            node.calls += 1
            self._push(_OpenCall(node, function, last.address + last.size, sp))
            self._settle()
        else:
            self._move(address, function, sp)

    def _is_far_jump(self, last: Block, address: int, function: int) -> bool:
        return (
            function != NO_FUNCTION
            and function == self._functions[last.index]
            and address != self._table.ranges[function - 1][0]
        )

    def _move(self, address: int, function: int, sp: int) -> None:
        calls, lowest = self._calls, self._lowest_call()
        before = len(calls)
        if not self._nowhere:
            while (
                len(calls) > lowest and calls[-1].return_address == address and sp >= calls[-1].sp
            ):
                calls.pop()
            self._settle()
            if len(calls) < before and self._function == function:
                return
        if self._function == function and len(calls) > lowest:
            return
        while len(calls) > lowest and calls[-1].sp < sp:
            calls.pop()
        self._settle()
        is_entry = function != NO_FUNCTION and address == self._table.ranges[function - 1][0]
        resumed = self._find_resumed(lowest, function, is_entry, sp)
        if resumed:
            del calls[resumed:]
            calls[-1].node.calls += is_entry
        else:
            node = self._child(self._running(), function, address)
            node.calls += is_entry or function == NO_FUNCTION
            return_address = NEVER if self._nowhere else self._return_address
            self._push(_OpenCall(node, function, return_address, sp))
        self._settle()

    def _find_resumed(self, lowest: int, function: int, is_entry: bool, sp: int) -> int:
        for depth in range(len(self._calls), lowest, -1):
            call = self._calls[depth - 1]
            if is_entry and (call.sp != sp or call.return_address != self._return_address):
                return 0
            if call.function == function:
                return depth
            if call.sp > sp:
                return 0
        return 0

    # --- nodes and open calls -------------------------------------------------------------

    def _new_node(self, up: _Node | None, function: int, address: int) -> _Node:
        made = _Node(len(self._nodes), up, function, address, up.depth + 1 if up else 0, {})
        if up is not None:
            up.children[_key(function, address)] = made
        self._nodes.append(made)
        return made

    def _child(self, node: _Node, function: int, address: int) -> _Node:
        key = _key(function, address)
        child = node.children.get(key)
        if child is not None:
            return child
        if node.depth < MAX_NODE_DEPTH and len(self._nodes) < MAX_NODES:
            return self._new_node(node, function, address)
        up: _Node | None = node
        while up is not None and up.up is not None:
            if _key(up.function, up.address) == key:
                return up
            up = up.up
        child = self._overflow.children.get(key)
        if child is None and len(self._nodes) < 2 * MAX_NODES:
            child = self._new_node(self._overflow, function, address)
        return child or self._overflow

    def _running(self) -> _Node:
        return self._calls[-1].node if self._calls else self._nodes[0]

    def _charge(self, now: int) -> None:
        self._running().cycles += now - self._mark
        self._mark = now

    def _settle(self) -> None:
        top = self._calls[-1] if self._calls else None
        self._function = top.function if top and not top.base else NO_CODE
        self._return_address = top.return_address if top else NEVER

    def _push(self, made: _OpenCall) -> None:
        if len(self._calls) < MAX_OPEN_CALLS:
            self._calls.append(made)

    def _lowest_call(self) -> int:
        index = len(self._calls)
        while index > 0 and not self._calls[index - 1].base:
            index -= 1
        return index


def _key(function: int, address: int) -> tuple[int, int]:
    return function, 0 if function else address
