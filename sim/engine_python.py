"""The pure Python engine: engine.c line by line, for where no compiler was at hand.

Every rule of counting is the native engine's; the comments there hold here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import engine as stops
from .engine import NEVER, NO_BLOCK, Decode, Deeper
from .flash_timing import Flash, FlashTiming
from .unicorn_library import (
    BLOCK_CALLBACK,
    HOOK_BLOCK,
    HOOK_CODE,
    HOOK_INTR,
    HOOK_MEM_READ,
    INTERRUPT_CALLBACK,
    MEMORY_READ_CALLBACK,
    REG_LR,
    REG_R0,
    REG_SP,
    Cpu,
)

if TYPE_CHECKING:
    from .call_tree import FunctionTable
    from .call_tree_python import PythonCallTree

_MAX_FRAMES = 64
_MAX_SAMPLES = 1 << 20
_NOTHING = 0xFFFFFFFF
_SPAN = 1 << 32


@dataclass(slots=True, eq=False)
class Block:
    address: int = NEVER
    size: int = 0
    end: int = NEVER
    cycles: int = 0
    taken_cycles: int = 0
    instructions: int = 0
    flags: int = 0
    lowest_sp: int = 0
    sp_change: int = 0
    count: int = 0
    taken: int = 0
    index: int = NO_BLOCK
    function: int = 0
    wait_cycles: int = 0
    variants: dict[int, Block] = field(default_factory=dict)  # fallen into from here, by size
    fetches: Sequence[tuple[int, int]] = ()


@dataclass(slots=True)
class Function:
    kind: int
    open: int = 0
    count: int = 0
    last_cycles: int = 0
    last_instructions: int = 0
    samples: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Frame:
    return_address: int
    sp: int
    function: int
    argument: int
    cycles: int
    instructions: int


@dataclass(slots=True)
class Instruction:
    address: int
    kind: int = 0
    cycles: int = 0
    is_signed: int = 0
    dividend: int = 0
    divisor: int = 0
    least_cycles: int = 0
    most_cycles: int = 0
    executed_cycles: int = 0
    lowest_sp: int = 0
    same_stack: int = 0
    count: int = 0
    extra: int = 0


@dataclass(slots=True)
class State:
    cycles: int = 0
    instructions: int = 0
    deadline: int = (1 << 64) - 1
    watched_return: int = NEVER
    alert: int = stops.ALWAYS_ALERT
    stop: int = stops.STOP_NONE
    interrupt: int = 0
    stop_address: int = 0
    stack_floor: int = 0
    stack_top: int = 0
    lowest_sp: int = _NOTHING
    lowest_sp_address: int = 0
    sp: int = 0
    sp_unknown: int = 0
    heap_start: int = 0
    heap_break: int = 0
    heap_peak: int = 0
    ram_end: int = _NOTHING
    break_address: int = NEVER
    trap_divide: int = 0
    trap_system: int = 0
    wait_cycles: int = 0


class PythonEngine:
    """Unicorn calls a Python function for each block."""

    name = "python"

    def __init__(self, cpu: Cpu, decode: Decode) -> None:
        self._cpu = cpu
        self._decode = decode
        self.failure: BaseException | None = None
        self.state: Any = State()
        self._idle = Block()
        self._resumed = Block()
        self._previous = self._idle
        self._pending: Block | None = None
        self._pending_before: Block | None = None
        self._resume_block = self._idle
        self._blocks: list[Block] = []
        self._table: dict[tuple[int, int], Block] = {}
        self._functions: list[Function] = []
        self._frames: list[Frame] = []
        self._instructions: dict[int, Instruction] = {}
        self._deeper: Deeper | None = None
        self._step: Callable[[int, int], None] = self._arrive_at_block
        self._call_tree: PythonCallTree | None = None
        self._instruction_hooks: list[int] | None = []  # None: one hook for every instruction
        self._on_block = BLOCK_CALLBACK(self._block_hook)
        self._on_instruction = BLOCK_CALLBACK(self._instruction_hook)
        self._on_interrupt = INTERRUPT_CALLBACK(self._interrupt_hook)
        self._on_flash_load = MEMORY_READ_CALLBACK(self._flash_load_hook)
        self._flash: Flash | None = None

    # --- the interface of an engine -------------------------------------------------------

    def set_flash(self, address: int, size_bytes: int, timing: FlashTiming) -> None:
        self._flash = Flash(address, size_bytes, timing)

    def install(self) -> None:
        if self._flash is not None:
            first, last = self._flash.address, self._flash.end - 1
            self._cpu.hook(HOOK_MEM_READ, self._on_flash_load, None, first, last)
        self._cpu.hook(HOOK_BLOCK, self._on_block)
        self._cpu.hook(HOOK_INTR, self._on_interrupt)

    def follow_calls(self, table: FunctionTable) -> PythonCallTree:
        from .call_tree_python import PythonCallTree

        self._call_tree = PythonCallTree(self, table, self._arrive_at_block)
        self._step = self._call_tree.on_block
        return self._call_tree

    def jump(self) -> None:
        self._previous, self._pending, self.state.sp_unknown = self._idle, None, 1
        if self._call_tree is not None:
            self._call_tree.jump()

    def resume(self, address: int) -> None:
        if self._pending is None:
            self._resume_block = self._previous
            self._resumed.address = address
            self._pending, self._previous = self._resumed, self._idle

    def drop_frames(self) -> None:
        for frame in self._frames:
            self._functions[frame.function].open -= 1
        self._frames.clear()
        self.state.watched_return = NEVER

    def leave_handler(self) -> None:
        sp = self._cpu.register(REG_SP)
        while self._frames:
            frame = self._frames[-1]
            if frame.return_address < stops.EXC_RETURN_START or sp < frame.sp:
                break
            self._close_frame()

    def block(self, index: int) -> Block:
        return self._blocks[index]

    @property
    def previous(self) -> Block:
        """The block counted last, or one that stands for none."""
        return self._previous

    @property
    def is_resuming(self) -> bool:
        return self._pending is self._resumed

    def sp(self) -> int:
        return self._cpu.register(REG_SP)

    def current(self) -> int:
        current = self._previous if self._pending is None else self._pending
        return (self._resume_block if current is self._resumed else current).index

    def add_function(self, kind: int) -> int:
        self._functions.append(Function(kind))
        return len(self._functions) - 1

    def function(self, index: int) -> Function:
        return self._functions[index]

    def samples(self, index: int) -> list[tuple[int, int]]:
        return self._functions[index].samples

    def open_call(self, index: int, return_address: int, sp: int) -> None:
        if len(self._frames) == _MAX_FRAMES:
            raise RecursionError("too many calls are open")
        state = self.state
        self._frames.append(Frame(return_address, sp, index, 0, state.cycles, state.instructions))
        self._functions[index].open += 1
        state.watched_return = return_address

    def add_instruction(self, address: int) -> Instruction:
        return self._instructions.setdefault(address, Instruction(address))

    def instructions(self) -> list[Instruction]:
        return list(self._instructions.values())

    def hook_instruction(self, address: int) -> None:
        if self._instruction_hooks is None:
            return
        if len(self._instruction_hooks) < stops.MOST_HOOKS:
            hook = self._cpu.hook(HOOK_CODE, self._on_instruction, None, address, address)
            self._instruction_hooks.append(hook)
            return
        for hook in self._instruction_hooks:
            self._cpu.unhook(hook)
        self._instruction_hooks = None
        self._cpu.hook(HOOK_CODE, self._on_instruction)
        self._cpu.forget_all_translations()

    def watch_stack(self, deeper: Deeper) -> None:
        self._deeper = deeper

    # --- hooks ----------------------------------------------------------------------------

    def _stop(self, reason: int, address: int) -> None:
        if self.state.stop == stops.STOP_NONE:
            self.state.stop, self.state.stop_address = reason, address
        self._cpu.stop()

    def _block_hook(self, _uc: Any, address: int, size: int, _user: Any) -> None:
        try:
            if self.state.stop == stops.STOP_NONE:
                self._step(address, size)
        except BaseException as error:  # Ctrl-C too: nothing may pass through Unicorn's frames
            self.failure = error
            self._stop(stops.STOP_DECODE, address)

    def _new_block(self, address: int, size: int, before: Block | None) -> Block:
        made = Block(address, size, address + size, index=len(self._blocks))
        made.fetches = self._decode(address, size, None if before is None else before.index, made)
        self._blocks.append(made)
        return made

    def _arrive_at_block(self, address: int, size: int) -> None:
        state, before = self.state, self._previous
        taken = address != before.end
        cycles = state.cycles
        block = self._find(address, size, None if taken else before)
        if taken:
            cycles += before.taken_cycles
        if (
            block.flags & state.alert
            or address == state.watched_return
            or cycles >= state.deadline
            or address == state.break_address
            or state.sp_unknown
            or (block.lowest_sp and (state.sp + block.lowest_sp) % _SPAN < state.lowest_sp)
            or self._pending is not None
        ):
            self._slow_path(block, before, address, size)
            return
        before.taken += taken
        self._count(block, cycles)

    def _count(self, block: Block, cycles: int) -> None:
        if self._flash is not None:
            cycles += self._fetch(block, cycles)
        block.count += 1
        self.state.sp = (self.state.sp + block.sp_change) % _SPAN
        self.state.cycles = cycles + block.cycles
        self.state.instructions += block.instructions
        self._previous = block

    def _fetch(self, block: Block, now: int) -> int:
        assert self._flash is not None
        waited = 0
        for line, cycles in block.fetches:
            if line != self._flash.current:
                waited += self._flash.fetch(line, now + cycles + waited)
        block.wait_cycles += waited
        self.state.wait_cycles += waited
        return waited

    def _flash_load_hook(
        self, _uc: Any, _kind: int, address: int, size: int, _value: int, _user: Any
    ) -> None:
        self._cpu.forget_it()
        flash = self._flash
        if flash is None or self.state.stop != stops.STOP_NONE:
            return
        if flash.address <= address and address + size <= flash.end:
            waited = flash.load(address, size)
            self.state.cycles += waited
            self.state.wait_cycles += waited
            self._previous.wait_cycles += waited

    def _find(self, address: int, size: int, before: Block | None) -> Block:
        """The block at `address`: the variant fallen into from `before`, if that is not None."""
        if before is None:
            block = self._table.get((address, size))
            if block is None:
                block = self._table[address, size] = self._new_block(address, size, None)
            return block
        block = before.variants.get(size)
        if block is None:
            block = before.variants[size] = self._new_block(address, size, before)
        return block

    def _slow_path(self, block: Block, before: Block, address: int, size: int) -> None:
        state = self.state
        if self._pending is self._resumed:
            self._pending = None
            if address == self._resumed.address:
                self._previous = self._resume_block
                return None
        if self._pending is not None and self._pending.address == address:
            block = self._pending
            if block.size != size:
                block = self._find(address, size, self._pending_before)
        else:
            self._pending_before = before if address == before.end else None
            if address != before.end:
                state.cycles += before.taken_cycles
                before.taken += 1
            self._previous = self._idle
            if address == state.watched_return and self._arrive(address):
                self._pending = block
                return None
        self._pending, self._previous = block, self._idle
        if state.cycles >= state.deadline:
            return self._stop(stops.STOP_DEADLINE, address)
        if address == state.break_address:
            return self._stop(stops.STOP_ARRIVED, address)
        if block.flags & stops.FLAG_UNHOOKED:
            return self._stop(stops.STOP_UNHOOKED, address)
        if block.flags & state.alert & stops.FLAG_FPU:
            return self._stop(stops.STOP_NO_FPU, address)
        moves = block.flags & (stops.FLAG_STACK | stops.FLAG_STACK_AFTER)
        if (moves or state.sp_unknown) and self._follow_stack(block):
            return None
        if block.flags & stops.FLAG_ENTRY:
            self._open_frame(block.function)
        self._pending = None
        return self._count(block, state.cycles)

    def _follow_stack(self, block: Block) -> bool:
        state = self.state
        if state.sp_unknown:
            state.sp = self._cpu.register(REG_SP)
        state.sp_unknown = int(bool(block.flags & stops.FLAG_STACK_AFTER))
        return self._follow_sp(state.sp, block.lowest_sp, block.address)

    def _follow_sp(self, sp: int, change: int, address: int, same_stack: int = 0) -> bool:
        state = self.state
        lowest = max(sp + change, 0)
        is_this_stack = (sp >= state.stack_floor or same_stack) and sp <= state.stack_top
        if lowest < state.lowest_sp and is_this_stack:
            state.lowest_sp, state.lowest_sp_address = lowest, address
            if self._deeper is not None:
                self._deeper(address)
            if lowest < state.stack_floor:
                self._stop(stops.STOP_STACK, address)
                return True
        return False

    def _arrive(self, address: int) -> bool:
        sp = self._cpu.register(REG_SP)
        while self._frames:
            frame = self._frames[-1]
            if frame.return_address != address or sp < frame.sp:
                break
            self._close_frame()
            if self._functions[frame.function].kind == stops.FUNCTION_CALL:
                self._stop(stops.STOP_RETURNED, address)
                return True
        return bool(self.state.stop)

    def _open_frame(self, index: int) -> None:
        watched, state = self._functions[index], self.state
        if len(self._frames) == _MAX_FRAMES or watched.open:
            return
        is_sbrk = watched.kind == stops.FUNCTION_SBRK
        frame = Frame(
            self._cpu.register(REG_LR) & ~1,
            self._cpu.register(REG_SP),
            index,
            self._cpu.register(REG_R0) if is_sbrk else 0,
            state.cycles,
            state.instructions,
        )
        self._frames.append(frame)
        watched.open += 1
        state.watched_return = frame.return_address

    def _close_frame(self) -> None:
        state = self.state
        frame = self._frames.pop()
        watched = self._functions[frame.function]
        state.watched_return = self._frames[-1].return_address if self._frames else NEVER
        watched.open -= 1
        if watched.kind == stops.FUNCTION_SBRK:
            start = self._cpu.register(REG_R0)
            if start != _NOTHING:
                state.heap_start = state.heap_start or start
                state.heap_break = start + frame.argument & 0xFFFFFFFF
                state.heap_peak = max(state.heap_peak, state.heap_break)
                if state.stack_floor and state.heap_break > state.stack_floor:
                    state.stack_floor = state.heap_break + 7 & ~7
                if state.heap_break > state.ram_end or state.stack_floor > state.lowest_sp:
                    self._stop(stops.STOP_HEAP, frame.return_address)
            return
        watched.count += 1
        watched.last_cycles = state.cycles - frame.cycles
        watched.last_instructions = state.instructions - frame.instructions
        if len(watched.samples) < _MAX_SAMPLES:
            watched.samples.append((watched.last_cycles, watched.last_instructions))

    def _instruction_hook(self, _uc: Any, address: int, _size: int, _user: Any) -> None:
        found, state = self._instructions.get(address), self.state
        if found is None or state.stop != stops.STOP_NONE:
            return
        if found.kind == stops.KIND_ILLEGAL:
            self._stop(stops.STOP_ILLEGAL, address)
            return
        if found.kind == stops.KIND_STACK:
            self._follow_sp(self._cpu.register(REG_SP), found.lowest_sp, address, found.same_stack)
            return
        if found.kind == stops.KIND_EXECUTED:
            extra = found.cycles
        elif found.kind == stops.KIND_SYSTEM:
            extra = found.executed_cycles
            if found.cycles or state.trap_system:
                self._stop(stops.STOP_SYSTEM, address)
        else:
            first = self._cpu.register(found.dividend)
            second = self._cpu.register(found.divisor)
            if found.kind == stops.KIND_DIVIDE:
                if second == 0 and state.trap_divide:
                    self._stop(stops.STOP_DIVIDE, address)
                    return
                extra = _divide_extra(found, first, second)
            elif found.kind == stops.KIND_SLOW_RAM:
                start, end = found.least_cycles, found.most_cycles
                extra = found.cycles if start <= first <= end or start <= second <= end else 0
            else:
                wide = _is_wide(first, found.is_signed) + _is_wide(second, found.is_signed)
                extra = wide + (found.cycles if wide == 2 else 0)
            extra += found.executed_cycles
        found.count += 1
        found.extra += extra
        state.cycles += extra

    def _interrupt_hook(self, _uc: Any, number: int, _user: Any) -> None:
        self.state.interrupt = number
        self._stop(stops.STOP_INTERRUPT, 0)


def _is_wide(value: int, is_signed: int) -> int:
    return int(0x8000 <= value < 0xFFFF8000 if is_signed else value >= 0x10000)


def _divide_extra(instruction: Instruction, dividend: int, divisor: int) -> int:
    if instruction.is_signed:
        dividend = -dividend & 0xFFFFFFFF if dividend >> 31 else dividend
        divisor = -divisor & 0xFFFFFFFF if divisor >> 31 else divisor
    if divisor == 0 or dividend < divisor:
        return 0
    extra = 1 + (dividend.bit_length() - divisor.bit_length() + 3) // 4
    return min(extra, instruction.most_cycles - instruction.least_cycles)
