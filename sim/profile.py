"""The profile of a run: cycles, calls and stalls of each function, and the stacks they ran in.

A function's own figures and its stalls come from where the cycles were spent (`spent.py`), its
calls and inclusive cycles from the calling-context tree. Both sum to the run's cycles, exactly.
"""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from .call_tree import NO_FUNCTION, OVERFLOW, CallNode, FunctionTable
from .counting import Counting
from .elf import Elf
from .errors import UserError
from .spent import Spent, spent

_OVERFLOW_NAME = "(deeper calls)"


@dataclass(frozen=True)
class FunctionProfile:
    """What one function took. `inclusive_cycles` has those of what it called, recursion once."""

    name: str
    address: int
    calls: int
    instructions: int
    self_cycles: int
    inclusive_cycles: int
    stalls: dict[str, int]


@dataclass(frozen=True)
class Stack:
    """A chain of calls, the outermost first, and the cycles spent in its last function itself."""

    frames: tuple[str, ...]
    cycles: int


@dataclass(frozen=True)
class Profile:
    """Functions by their own cycles, the most first; and the tree that `stacks` walks."""

    cycles: int
    functions: tuple[FunctionProfile, ...]
    nodes: tuple[CallNode, ...] = field(repr=False)
    node_names: tuple[str, ...] = field(repr=False)

    def stacks(self) -> Iterator[Stack]:
        """Every chain of calls in which cycles were spent, in the order first seen."""
        for index, node in enumerate(self.nodes):
            if node.cycles:
                yield Stack(self._frames(index), node.cycles)

    def _frames(self, index: int) -> tuple[str, ...]:
        frames = []
        while index:
            frames.append(self.node_names[index])
            index = self.nodes[index].parent
        return tuple(reversed(frames)) or ("(outside)",)

    def to_dict(self) -> dict[str, Any]:
        """The run record's `profile`."""
        return {"cycles": self.cycles, "functions": [asdict(one) for one in self.functions]}


def make_profile(elf: Elf, counting: Counting) -> Profile:
    """The profile of what `counting` has counted so far.

    Raises:
        UserError: calls were not followed.
    """
    if counting.call_tree is None:
        raise UserError(f"{elf.path}: the run was not profiled: make the machine with profile=True")
    table = FunctionTable(elf)
    nodes = counting.call_tree.nodes(counting.cycles)
    names = [_node_name(table, index, node) for index, node in enumerate(nodes)]
    # Code without a symbol belongs to where it was last entered by a call.
    entries = sorted({n.address for n in nodes[2:] if n.function == NO_FUNCTION})
    own = _by_function(table, entries, spent_by_function(table, counting))
    calls: Counter[tuple[int, int]] = Counter()
    for node in nodes[2:]:
        calls[_key(node)] += node.calls
    inclusive = _inclusive(nodes)
    functions = []
    for key in {*own, *inclusive}:
        instructions, stalls = own.get(key, (0, Counter()))
        number, address = key
        functions.append(
            FunctionProfile(
                name=table.name(number, address),
                address=table.ranges[number - 1][0] if number else address,
                calls=calls[key],
                instructions=instructions,
                self_cycles=instructions + sum(stalls.values()),
                inclusive_cycles=inclusive.get(key, 0),
                stalls={cause: cycles for cause, cycles in sorted(stalls.items()) if cycles},
            )
        )
    functions.sort(key=lambda one: (-one.self_cycles, -one.inclusive_cycles, one.address))
    return Profile(counting.cycles, tuple(functions), tuple(nodes), tuple(names))


def spent_by_function(table: FunctionTable, counting: Counting) -> Iterator[Spent]:
    """Where the run's cycles went, in pieces that lie in one function each."""
    return spent(
        counting,
        lambda block: (
            table.number_at(block.address)
            == table.number_at(block.instructions[-1].address)
            != NO_FUNCTION
        ),
    )


def _by_function(
    table: FunctionTable, entries: list[int], pieces: Iterator[Spent]
) -> dict[tuple[int, int], tuple[int, Counter[str]]]:
    found: dict[tuple[int, int], tuple[int, Counter[str]]] = {}
    for piece in pieces:
        number = table.number_at(piece.address)
        address = 0
        if number == NO_FUNCTION:
            index = bisect.bisect_right(entries, piece.address)
            address = entries[index - 1] if index else piece.address
        instructions, stalls = found.get((number, address), (0, Counter()))
        stalls.update(piece.stalls)
        found[number, address] = instructions + piece.instructions, stalls
    return {key: value for key, value in found.items() if value[0] or any(value[1].values())}


def _inclusive(nodes: list[CallNode]) -> dict[tuple[int, int], int]:
    """Cycles of each function with all that it called: of nested activations the outermost."""
    total = [node.cycles for node in nodes]
    for index in range(len(nodes) - 1, 0, -1):
        total[nodes[index].parent] += total[index]
    children: dict[int, list[int]] = defaultdict(list)
    for index, node in enumerate(nodes[1:], 1):
        children[node.parent].append(index)
    found: dict[tuple[int, int], int] = defaultdict(int)
    above: Counter[tuple[int, int]] = Counter()  # activations that the walk is inside of
    ahead = [(index, False) for index in children[0]]
    while ahead:
        index, is_done = ahead.pop()
        key = _key(nodes[index])
        above[key] += -1 if is_done else 1
        if is_done:
            continue
        if above[key] == 1 and index != OVERFLOW:
            found[key] += total[index]
        ahead.append((index, True))
        ahead += [(child, False) for child in children[index]]
    return found


def _key(node: CallNode) -> tuple[int, int]:
    return node.function, 0 if node.function else node.address


def _node_name(table: FunctionTable, index: int, node: CallNode) -> str:
    return _OVERFLOW_NAME if index == OVERFLOW else table.name(node.function, node.address)
