"""The cost of a basic block: what is fixed as one sum, what depends on the run as a list.

    cycles = instructions + the sum of the stalls, exactly

An instruction under an IT condition counts here as skipped; where running it costs more, it is in
`dynamic`. Division and the M3's long multiplies count their least; the rest is dynamic too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from .core import Core
from .cycle_rules import Timing
from .flash_timing import NO_WAIT_STATES, FlashTiming
from .slow_ram import SlowRam, base_registers
from .thumb import BRANCHES, SP, Instruction, Kind

# Causes of stalls, as they appear in the run record.
REFILL = "refill"
TARGET_ALIGNMENT = "target alignment"
MEMORY = "memory access"
INTERLOCK = "interlock"
MULTIPLY = "multiply"
DIVIDE = "divide"
FLOATING_POINT = "floating point"
SYSTEM = "system"
STORE_PENALTY = "store penalty"
FLASH_WAIT = "flash wait states"
SPLIT_WIDE = "split instruction"
SLOW_RAM = "slow ram"
FOLDED_IT = "folded it"  # negative: IT instructions that cost nothing
DUAL_ISSUE = "dual issue"  # negative: instructions that cost nothing


@dataclass(frozen=True)
class BoardTiming:
    """What the board adds to the core's timing."""

    # A load directly behind a store waits for the store to leave the bus. The M3 TRM, load/store
    # timings: "the impact on timing is only felt if another load or store operation is executed
    # before completion". Measured: 0 on STM32L100, STM32F407 and SAM D20.
    store_penalty_cycles: int = 0
    flash_start: int = 0
    flash_bytes: int = 0
    flash: FlashTiming = NO_WAIT_STATES
    slow_ram: SlowRam | None = None

    @property
    def has_wait_states(self) -> bool:
        return self.flash.wait_states > 0


@dataclass(frozen=True)
class DynamicCost:
    """An instruction whose cost beyond the block's depends on the run.

    `kind` is `executed` (cost `extra_cycles` by `cause` where its IT condition holds), `divide` or
    `multiply_long` (by the operands in `dividend` and `divisor`, numbers of core registers), or
    `slow_ram` (cost `extra_cycles` where either of those two points into the board's slow RAM).
    """

    address: int
    kind: str
    cause: str
    extra_cycles: int = 0
    dividend: int = 0
    divisor: int = 0
    is_signed: bool = False
    is_conditional: bool = False


class BlockCost(NamedTuple):
    """Fixed costs of one basic block; see `block_cost`."""

    instruction_count: int
    cycles: int
    stalls: Mapping[str, int]
    taken_cycles: int
    entry_cycles: int
    dynamic: tuple[DynamicCost, ...]
    lowest_sp: int  # relative to SP at entry; <= 0
    sp_unknown: bool  # SP changes by an amount only known when it runs
    uses_fpu: bool
    taken_cause: str = REFILL
    entry_cause: str = TARGET_ALIGNMENT
    sp_change: int = 0


def block_cost(
    core: Core,
    board: BoardTiming,
    instructions: Sequence[Instruction],
    before: Instruction | None = None,
) -> BlockCost:
    """Cost of one execution of `instructions`, a basic block, that falls through at its end.

    `before` is the instruction that the block was entered from by falling through, None where a
    branch led here: then nothing is pending, and `entry_cycles` come on top. `taken_cycles` come
    on top when the block is left by a branch.
    """
    timing = core.timing
    stalls: dict[str, int] = {}
    dynamic: list[DynamicCost] = []
    uses_fpu = False
    previous = before
    earlier: Instruction | None = None  # the one before `previous`
    sp: int | None = 0
    lowest_sp = 0
    sp_unknown = False
    for index, instruction in enumerate(instructions):
        if _is_plain(instruction, previous):
            earlier, previous = previous, instruction
            continue
        # Under the same condition both run; behind another condition's, one of them is skipped.
        ran_before = previous is not None and previous.condition in (None, instruction.condition)
        costs = _cost(timing, board, instruction, previous if ran_before else None, earlier)
        if instruction.condition is None:
            for cause, cycles in costs.items():
                stalls[cause] = stalls.get(cause, 0) + cycles
        else:
            extra = sum(costs.values()) + 1 - timing.skipped
            following = instructions[index + 1] if index + 1 < len(instructions) else None
            if following is not None and following.condition is None:
                # What follows pipelines behind this only where this ran.
                ran = sum(_cost(timing, board, following, instruction).values())
                extra += ran - sum(_cost(timing, board, following, None).values())
            is_branch = instruction.kind in BRANCHES
            if extra and not is_branch:
                cause = max(costs, key=lambda name: costs[name]) if costs else MEMORY
                dynamic.append(DynamicCost(instruction.address, "executed", cause, extra))
        if instruction.kind in _BY_OPERANDS:
            dynamic += _operand_dependent(timing, instruction)
        if board.slow_ram is not None:
            dynamic += _slow_access(board, instructions, index, previous if ran_before else None)
        uses_fpu = uses_fpu or instruction.feature in _FPU_FEATURES
        if sp is not None:
            lowest_sp = min(lowest_sp, sp + instruction.stack_lowest)
            sp = None if instruction.stack_change is None else sp + instruction.stack_change
        if sp is None or (instruction.writes >> SP & 1 and instruction.condition is not None):
            sp_unknown, sp = True, None
        earlier, previous = previous, instruction
    if timing.dual_issue:
        stalls[DUAL_ISSUE] = -_paired(instructions)
    if uses_fpu:
        overlapped = _overlapped(timing, board, instructions)
        stalls[FLOATING_POINT] = stalls.get(FLOATING_POINT, 0) - overlapped
    stalls = {cause: count for cause, count in stalls.items() if count}
    last = instructions[-1]
    taken = _refill(timing, last, instructions[-2] if len(instructions) > 1 else before)
    if last.condition is not None and last.kind in BRANCHES:
        taken += sum(_cost(timing, board, last, None).values())
    first = instructions[0]
    entry = timing.unaligned_target if first.size == 4 and first.address & 2 else 0
    return BlockCost(
        instruction_count=len(instructions),
        cycles=len(instructions) + sum(stalls.values()),
        stalls=MappingProxyType(stalls),
        taken_cycles=taken,
        entry_cycles=entry,
        dynamic=tuple(dynamic),
        lowest_sp=lowest_sp,
        sp_unknown=sp_unknown,
        uses_fpu=uses_fpu,
        sp_change=sp or 0,
    )


def fetches(
    core: Core,
    board: BoardTiming,
    instructions: Sequence[Instruction],
    before: Instruction | None,
    entry_cycles: int,
) -> list[tuple[int, int]]:
    """The lines of flash that a block is fetched from, in order, and for each the cycles of the
    block that come before it is needed, without wait states: what a prefetch can use.

    Overlaps that `block_cost` finds across instructions (dual issue, VDIV) are left out here.
    """
    found: list[tuple[int, int]] = []
    cycles = entry_cycles
    previous = before
    for instruction in instructions:
        for at in range(instruction.address, instruction.end, 2):
            offset = at - board.flash_start
            line = board.flash.line(offset)
            if 0 <= offset < board.flash_bytes and (not found or found[-1][0] != line):
                found.append((line, cycles))
        if instruction.condition is None:
            cycles += 1 + sum(_cost(core.timing, board, instruction, previous).values())
        else:
            cycles += core.timing.skipped
        previous = instruction
    return found


def divide_cycles(timing: Timing, dividend: int, divisor: int, is_signed: bool) -> int:
    """Cycles of a division, operands as unsigned 32-bit values. The manuals give 2 to 12 by the
    operands; that the quotient comes out 4 bits a cycle is an approximation."""
    if is_signed:
        dividend = dividend if dividend < 1 << 31 else (1 << 32) - dividend
        divisor = divisor if divisor < 1 << 31 else (1 << 32) - divisor
    if divisor == 0 or dividend < divisor:
        return timing.divide_least
    quotient_bits = dividend.bit_length() - divisor.bit_length()
    cycles = timing.divide_least + 1 + (quotient_bits + 3) // 4
    return min(cycles, timing.divide_most)


def multiply_long_extra(first: int, second: int, is_signed: bool, accumulates: bool) -> int:
    """Cycles that the M3's long multiply takes beyond its least: 1 for each operand that does not
    fit 16 bits, and 1 more where both do not and it accumulates (M3 TRM section 3.3: 3 to 5 and
    4 to 7; which operands take how long is an approximation)."""
    wide = [_is_wide(value, is_signed) for value in (first, second)]
    return sum(wide) + (1 if accumulates and all(wide) else 0)


def _is_wide(value: int, is_signed: bool) -> bool:
    if is_signed:
        return 0x8000 <= value < 0xFFFF8000
    return value >= 0x10000


def _cost(
    timing: Timing,
    board: BoardTiming,
    instruction: Instruction,
    previous: Instruction | None,
    earlier: Instruction | None = None,
) -> dict[str, int]:
    """Stalls of an instruction that runs, by cause: its cycles are 1 and their sum."""
    kind = instruction.kind
    behind_load = previous is not None and previous.kind is _LOAD
    pipelined = previous is not None and behind_load and _pipelines(previous, instruction)
    cause, cycles = MEMORY, 0
    if kind is _LOAD:
        cycles = (timing.load_pipelined if pipelined else timing.load) - 1
    elif kind is _STORE:
        cycles = timing.store_register_offset if instruction.register_offset else timing.store
        if pipelined:
            cycles = min(cycles, timing.load_pipelined)
        cycles -= 1
    elif kind in (Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE, Kind.POP_PC):
        cycles = timing.multiple_base + instruction.transfers - 1
    elif kind in (Kind.LOAD_PC, Kind.TABLE_BRANCH):
        cycles = timing.load - 1
    elif kind in (Kind.FP_LOAD, Kind.FP_STORE):
        cycles = timing.fp_load + instruction.transfers - 1
    elif kind in _PLAIN:
        cause, name = _PLAIN[kind]
        cycles = getattr(timing, name) - 1
    elif kind is Kind.FP_MOVE and instruction.transfers == 2:
        cause, cycles = FLOATING_POINT, timing.fp_move_pair - 1
    costs = {cause: cycles} if cycles else {}
    if previous is None:
        return costs
    if previous.kind in _STORES and kind in _ALL_LOADS:
        lone = previous.kind is _STORE and not previous.register_offset
        if lone and earlier is not None and _pipelines(earlier, previous):
            lone = False
        wait = max(timing.load_behind_store if lone else 0, board.store_penalty_cycles)
        if wait:
            costs[STORE_PENALTY] = wait
    if kind is Kind.IT and timing.it_folds and _carries_it(previous):
        costs[FOLDED_IT] = -1
    splits = timing.split_wide and behind_load and earlier is not None
    if splits and _is_split(previous) and _is_split(instruction):
        costs[SPLIT_WIDE] = timing.split_wide
    interlock = _interlock(timing, instruction, previous)
    if interlock:
        costs[INTERLOCK] = interlock
    return costs


def _is_plain(instruction: Instruction, previous: Instruction | None) -> bool:
    """Whether it takes one cycle, whatever came before `previous`, and leaves SP alone: most do."""
    return (
        instruction.kind is _ALU
        and instruction.condition is None
        and instruction.stack_change == 0
        and (instruction.size == 2 or previous is None or previous.kind is not _LOAD)
    )


def _pipelines(load: Instruction, instruction: Instruction) -> bool:
    """Whether a load or store behind `load` overlaps with it: not where the load makes its address,
    and not between the code bus, where literals lie, and the bus of the data."""
    return (
        load.kind is Kind.LOAD
        and not load.writes & instruction.address_registers
        and load.literal == instruction.literal
    )


def _is_split(instruction: Instruction) -> bool:
    """Whether it is a 32-bit instruction that lies in two words."""
    return instruction.size == 4 and instruction.address & 2 != 0


def _carries_it(previous: Instruction) -> bool:
    """Whether an IT behind `previous` is folded into it."""
    is_plain = previous.kind in (Kind.ALU, Kind.HINT)
    return is_plain and previous.size == 2 and previous.condition is None


# Asked for at each instruction: to find a member of an enumeration by name takes 0.1 us.
_ALU, _LOAD, _STORE = Kind.ALU, Kind.LOAD, Kind.STORE
_PLAIN = {
    Kind.MULTIPLY: (MULTIPLY, "multiply"),
    Kind.MULTIPLY_ACCUMULATE: (MULTIPLY, "multiply_accumulate"),
    Kind.MULTIPLY_LONG: (MULTIPLY, "multiply_long"),
    Kind.MULTIPLY_LONG_ACCUMULATE: (MULTIPLY, "multiply_long_accumulate"),
    Kind.SYSTEM: (SYSTEM, "system"),
    Kind.BARRIER: (SYSTEM, "barrier"),
    Kind.FP: (FLOATING_POINT, "fp"),
    Kind.FP_MULTIPLY_ACCUMULATE: (FLOATING_POINT, "fp_multiply_accumulate"),
    Kind.FP_DIVIDE: (FLOATING_POINT, "fp_divide"),
    Kind.DIVIDE: (DIVIDE, "divide_least"),
}
_REFILLS = {
    Kind.BRANCH: "branch_refill",
    Kind.BRANCH_LINK: "branch_link",
    Kind.BRANCH_REGISTER: "branch_register",
    Kind.LOAD_PC: "load_pc",
    Kind.POP_PC: "pop_pc",
    Kind.TABLE_BRANCH: "table_branch",
}
_CORE_REGISTERS = 0x7FFF
_LOADS = (Kind.LOAD, Kind.LOAD_MULTIPLE)
_ALL_LOADS = (*_LOADS, Kind.POP_PC, Kind.LOAD_PC, Kind.TABLE_BRANCH, Kind.FP_LOAD)
_STORES = (Kind.STORE, Kind.STORE_MULTIPLE, Kind.FP_STORE)
_RESULTS = (
    Kind.ALU,
    Kind.MULTIPLY,
    Kind.MULTIPLY_ACCUMULATE,
    Kind.MULTIPLY_LONG,
    Kind.MULTIPLY_LONG_ACCUMULATE,
    Kind.FP_MOVE,
)
_FP_RESULTS = (Kind.FP, Kind.FP_MULTIPLY_ACCUMULATE)
_BY_OPERANDS = (Kind.DIVIDE, Kind.MULTIPLY_LONG, Kind.MULTIPLY_LONG_ACCUMULATE)
_FPU_FEATURES = ("fp", "fp-double", "fpv5")


def _overlapped(timing: Timing, board: BoardTiming, instructions: Sequence[Instruction]) -> int:
    """Cycles of VDIV and VSQRT that pass while integer instructions behind them run: GCC's
    pipeline description of the Cortex-M4 FPU has them "complete out-of-order". At the block's end
    the rest is waited for, which counts too much."""
    saved = pending = 0
    for instruction in instructions:
        if instruction.condition is not None:
            continue
        if instruction.kind is Kind.FP_DIVIDE:
            pending = timing.fp_divide - 1
        elif instruction.fp_reads or instruction.fp_writes or instruction.feature.startswith("fp"):
            pending = 0
        elif pending:
            cycles = min(pending, 1 + sum(_cost(timing, board, instruction, None).values()))
            saved += cycles
            pending -= cycles
    return saved


def _interlock(timing: Timing, instruction: Instruction, previous: Instruction | None) -> int:
    if previous is None:
        return 0
    if previous.kind in _LOADS and previous.writes & instruction.address_registers:
        return timing.address_interlock
    computes = previous.kind in _RESULTS or previous.kind is Kind.STORE  # by writing back
    if computes and previous.writes & instruction.address_registers:
        return timing.result_interlock
    if previous.kind in _FP_RESULTS and previous.fp_writes & instruction.fp_reads:
        return timing.fp_interlock
    return 0


def _refill(timing: Timing, last: Instruction, previous: Instruction | None) -> int:
    if last.kind is Kind.BRANCH and last.reads & _CORE_REGISTERS:  # CBZ, CBNZ
        cycles = timing.branch_refill + timing.compare_branch
        if previous is not None and previous.kind in _RESULTS and previous.writes & last.reads:
            cycles += timing.compare_branch
        return cycles
    return getattr(timing, _REFILLS[last.kind]) if last.kind in _REFILLS else 0


def _slow_access(
    board: BoardTiming,
    instructions: Sequence[Instruction],
    index: int,
    previous: Instruction | None,
) -> list[DynamicCost]:
    if board.slow_ram is None:
        return []
    instruction = instructions[index]
    pipelined = previous is not None and _pipelines(previous, instruction)
    cycles = board.slow_ram.extra_cycles(instructions, index, pipelined)
    if not cycles:
        return []
    registers = base_registers(instruction)
    return [
        DynamicCost(instruction.address, "slow_ram", SLOW_RAM, cycles, registers[0], registers[-1])
    ]


def _operand_dependent(timing: Timing, instruction: Instruction) -> list[DynamicCost]:
    if instruction.kind is Kind.DIVIDE and timing.divide_most > timing.divide_least:
        kind, cause = "divide", DIVIDE
    elif timing.multiply_long_early and instruction.kind in (
        Kind.MULTIPLY_LONG,
        Kind.MULTIPLY_LONG_ACCUMULATE,
    ):
        kind, cause = "multiply_long", MULTIPLY
    else:
        return []
    return [
        DynamicCost(
            address=instruction.address,
            kind=kind,
            cause=cause,
            dividend=instruction.operands[0],
            divisor=instruction.operands[1],
            is_signed=instruction.is_signed,
            is_conditional=instruction.condition is not None,
        )
    ]


def _paired(instructions: Sequence[Instruction]) -> int:
    """How many instructions issue together with the one before them."""
    pairs = 0
    index = 0
    while index + 1 < len(instructions):
        first, second = instructions[index : index + 2]
        independent = not (
            first.writes & (second.reads | second.writes)
            or first.fp_writes & (second.fp_reads | second.fp_writes)
        )
        heavy = sum(one.kind is not Kind.ALU for one in (first, second))
        if independent and heavy <= 1 and first.kind not in BRANCHES:
            pairs += 1
            index += 1
        index += 1
    return pairs
