"""Where the cycles of a run went: to which instruction, and by which cause.

Nothing is measured for this while the firmware runs: the engine counts executions of blocks, and
the cost model knows what each instruction of a block adds to it. The sum over everything that
`spent` yields is the run's count, exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .cost import FLASH_WAIT, block_cost

if TYPE_CHECKING:
    from .costs import CostedBlock
    from .counting import Counting


@dataclass(frozen=True)
class Spent:
    """What the code at `address` took: `instructions` were run there, or counted as skipped."""

    address: int
    instructions: int
    stalls: Counter[str]

    @property
    def cycles(self) -> int:
        return self.instructions + sum(self.stalls.values())


def spent(counting: Counting, may_stay_whole: Callable[[CostedBlock], bool]) -> Iterator[Spent]:
    """Every cycle of the run, by address; an address can come up any number of times.

    A block that `may_stay_whole` is accounted for at its first address, others instruction by
    instruction. Wait cycles of the flash are known for a block only: they are at its first address.
    """
    costs = counting.costs
    for index, block in enumerate(costs.blocks):
        counted = counting.engine.block(index)
        cuts = {at: times for (cut, at), times in counting.cuts.items() if cut == index}
        outside = Counter({block.cost.taken_cause: block.cost.taken_cycles * counted.taken})
        yield Spent(block.instructions[-1].address, 0, outside)
        if block.entered_by_branch:
            entry = Counter({block.cost.entry_cause: block.cost.entry_cycles * counted.count})
            yield Spent(block.address, 0, entry)
        yield Spent(block.address, 0, Counter({FLASH_WAIT: int(counted.wait_cycles)}))
        if not cuts and may_stay_whole(block):
            instructions = block.cost.instruction_count * counted.count
            yield Spent(block.address, instructions, _times(block.cost.stalls, counted.count))
            continue
        for position, stalls in enumerate(_by_instruction(counting, block)):
            address = block.instructions[position].address
            count = counted.count - sum(times for at, times in cuts.items() if address >= at)
            yield Spent(address, count, _times(stalls, count))
    for dynamic in counting.engine.instructions():
        yield Spent(dynamic.address, 0, counting.extra_of(dynamic))
    for (address, cause), cycles in counting.added.items():
        yield Spent(address, 0, Counter({cause: cycles}))


def _times(stalls: Mapping[str, int], count: int) -> Counter[str]:
    return Counter({cause: cycles * count for cause, cycles in stalls.items()})


def _by_instruction(counting: Counting, block: CostedBlock) -> Iterator[Counter[str]]:
    """Stalls of each instruction in turn: what it adds to the cost of those before it."""
    before: Counter[str] = Counter()
    for length in range(1, len(block.instructions) + 1):
        cost = block_cost(counting.core, counting.timing, block.instructions[:length], block.before)
        stalls: Counter[str] = Counter(cost.stalls)
        added = stalls.copy()
        added.subtract(before)
        yield added
        before = stalls
