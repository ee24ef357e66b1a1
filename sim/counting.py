"""Counts a run: an engine that adds up, the cost model it asks, and what both come to."""

from __future__ import annotations

from collections import Counter
from typing import Any

from . import engine as stops
from . import unicorn_library as uc
from .call_tree import FunctionTable
from .core import Core, missing_feature
from .cost import FLASH_WAIT, SLOW_RAM, BoardTiming, block_cost
from .costs import CostedBlock, CostModel
from .engine import Engine, make_engine
from .errors import UserError
from .stack_watches import stack_watches
from .thumb import Kind
from .unaligned import UNALIGNED


class Counting:
    """Cycles, instructions and stalls of what `cpu` runs as `core`; `library` is `make_engine`'s.

    `engine` counts while it runs; `state` is its plain state. Cycles that are settled here, outside
    of any block (`add`), are in the totals too. `added` are these by place and cause, `causes` are
    those of dynamic instructions by address, and `cuts` are the blocks and the places in them where
    a fault left them: what the block holds from there was counted but did not run. With functions
    to be `profiled`, `call_tree` follows their calls.
    """

    def __init__(
        self,
        cpu: uc.Cpu,
        core: Core,
        timing: BoardTiming,
        library: Any,
        profiled: FunctionTable | None = None,
    ) -> None:
        self._cpu = cpu
        self.core = core
        self.timing = timing
        self.costs = CostModel(core, timing, cpu.read)
        self.engine: Engine = make_engine(library, cpu, self.costs.fill)
        self.state: Any = self.engine.state
        self.call_tree = self.engine.follow_calls(profiled) if profiled else None
        if timing.has_wait_states:
            self.engine.set_flash(timing.flash_start, timing.flash_bytes, timing.flash)
        self.engine.install()
        self.causes: dict[int, str] = {}
        self.added: Counter[tuple[int, str]] = Counter()
        self.cuts: Counter[tuple[int, int]] = Counter()
        self._discounted: Counter[str] = Counter()

    @property
    def cycles(self) -> int:
        return int(self.state.cycles)

    @property
    def instructions(self) -> int:
        return int(self.state.instructions)

    def add(self, cause: str, cycles: int, pc: int) -> None:
        """Cycles that an event at `pc`, outside of the blocks' costs, takes."""
        self.added[pc, cause] += cycles
        self.state.cycles += cycles

    def current_block(self) -> CostedBlock | None:
        """The block that runs or was about to; None where nothing has run yet."""
        current = self.engine.current()
        return None if current == stops.NO_BLOCK else self.costs.blocks[current]

    def cycles_before(self, pc: int) -> int:
        """Cycles up to, and without, the instruction at `pc` of the block that runs."""
        block = self.current_block()
        if block is None:
            return self.cycles
        whole = int(self.engine.block(self.engine.current()).cycles)
        return self.cycles - whole + block.cycles_before(self.core, self.timing, pc)

    def add_unaligned(self, accesses: int, pc: int) -> None:
        """The cost of an access at `pc` that was split into so many more."""
        self.add(UNALIGNED, self.core.timing.unaligned_access * accesses, pc)

    def discount_rest_of_block(self, pc: int) -> None:
        """The block that was counted was left at `pc`: what it holds from there did not run."""
        block = self.current_block()
        if (
            block is None
            or not any(one.address == pc for one in block.instructions)
            or self.state.stop == stops.STOP_NO_FPU
            # At a block's start it is refused before it was counted; further in, after.
            or (self.state.stop == stops.STOP_STACK and pc == block.address)
        ):
            return
        earlier = [one for one in block.instructions if one.address < pc]
        self.cuts[self.engine.current(), pc] += 1
        self._discounted.update(block.cost.stalls)
        instructions, cycles = len(block.instructions), block.cost.cycles
        if earlier:
            cost = block_cost(self.core, self.timing, earlier, block.before)
            self._discounted.subtract(cost.stalls)
            instructions -= len(earlier)
            cycles -= cost.cycles
        self.state.instructions -= instructions
        self.state.cycles -= cycles

    def hook_current_block(self) -> None:
        """Hook the dynamic instructions of the block about to run, and translate it anew.

        Raises:
            UserError: the image has more of them than the engine can follow.
        """
        block = self.costs.blocks[self.engine.current()]
        for address in self.costs.watched_instructions(block):
            if address not in self.costs.hooked:
                self._hook_instruction(block, address)
        last = block.instructions[-1]
        self._cpu.forget_translation(block.address, last.address + last.size)
        for number, other in enumerate(self.costs.blocks):
            if other.address == block.address:
                self.engine.block(number).flags &= ~stops.FLAG_UNHOOKED

    def _hook_instruction(self, block: CostedBlock, address: int) -> None:
        record = self.engine.add_instruction(address)
        if record is None:
            raise UserError("the image has too many conditional instructions to follow")
        instruction = next(one for one in block.instructions if one.address == address)
        costs = [one for one in block.cost.dynamic if one.address == address]
        record.address = address
        if missing_feature(self.core, instruction):
            record.kind = stops.KIND_ILLEGAL
        elif (system := self.costs.system(instruction)) is not None:
            record.kind = stops.KIND_SYSTEM
            record.cycles = int(system.always)
            record.executed_cycles = sum(cost.extra_cycles for cost in costs)
        elif not costs:
            record.kind = stops.KIND_STACK
            taken = {c.address for c in block.cost.dynamic}
            taken |= {
                one.address
                for one in block.instructions
                if missing_feature(self.core, one) or self.costs.system(one) is not None
            }
            watches = stack_watches(block.instructions, taken)
            record.lowest_sp = watches[address].lowest_sp
            record.same_stack = watches[address].same_stack
        elif all(cost.kind == "executed" for cost in costs):
            record.kind = stops.KIND_EXECUTED
            record.cycles = costs[0].extra_cycles
        elif (slow := self.timing.slow_ram) and costs[-1].kind == "slow_ram":
            record.kind = stops.KIND_SLOW_RAM
            record.cycles = costs[-1].extra_cycles
            record.dividend = uc.CORE_REGISTERS[costs[-1].dividend]
            record.divisor = uc.CORE_REGISTERS[costs[-1].divisor]
            record.least_cycles, record.most_cycles = slow.address, slow.last_address
            record.executed_cycles = sum(c.extra_cycles for c in costs if c.kind == "executed")
        else:
            cost = next(cost for cost in costs if cost.kind != "executed")
            timing = self.core.timing
            divides = cost.kind == "divide"
            record.kind = stops.KIND_DIVIDE if divides else stops.KIND_LONG_MULTIPLY
            record.is_signed = cost.is_signed
            record.dividend = uc.REG_R0 + cost.dividend
            record.divisor = uc.REG_R0 + cost.divisor
            record.least_cycles = timing.divide_least
            record.most_cycles = timing.divide_most
            record.cycles = int(instruction.kind is Kind.MULTIPLY_LONG_ACCUMULATE)
            record.executed_cycles = sum(c.extra_cycles for c in costs if c.kind == "executed")
        own = [cost for cost in costs if cost.kind != "slow_ram"]
        self.causes.setdefault(address, own[-1].cause if own else "")
        self.costs.hooked.add(address)
        self.engine.hook_instruction(address)

    def extra_of(self, hooked: Any) -> Counter[str]:
        """Cycles of a dynamic instruction beyond what its blocks count, by cause."""
        extra = int(hooked.extra)
        found = Counter({self.causes.get(hooked.address, ""): extra})
        if hooked.kind == stops.KIND_SLOW_RAM:  # the rest is of running where it may be skipped
            slow = extra - int(hooked.count) * int(hooked.executed_cycles)
            found = Counter({SLOW_RAM: slow})
            found[self.causes[hooked.address]] += extra - slow
        return found

    def stalls(self) -> dict[str, int]:
        """Cycles beyond one for each instruction, by cause; instructions plus these are cycles."""
        found: Counter[str] = Counter()
        for (_, cause), cycles in self.added.items():
            found[cause] += cycles
        found.subtract(self._discounted)
        found[FLASH_WAIT] += int(self.state.wait_cycles)
        for index, block in enumerate(self.costs.blocks):
            counted = self.engine.block(index)
            count, taken = counted.count, counted.taken
            for cause, cycles in block.cost.stalls.items():
                found[cause] += cycles * count
            found[block.cost.taken_cause] += block.cost.taken_cycles * taken
            if block.entered_by_branch:
                found[block.cost.entry_cause] += block.cost.entry_cycles * count
        for instruction in self.engine.instructions():
            found.update(self.extra_of(instruction))
        return {cause: cycles for cause, cycles in sorted(found.items()) if cycles}
