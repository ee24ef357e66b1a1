"""The machine: a board with an ELF image in its flash, that runs and is measured."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from . import engine as stops
from . import unicorn_library as uc
from .board import MEMORY_END, Board
from .call_tree import FunctionTable
from .core import Core, core_named
from .cost import BoardTiming
from .counting import Counting
from .deepest_stack import DeepestStack
from .default_board import default_board
from .elf import Elf, Symbol
from .engine import native_library
from .errors import UserError
from .exception_control import ExceptionControl
from .exception_entry import BASIC_FRAME_BYTES
from .fault_delivery import delivery_of
from .faults import BudgetExceeded, Fault, Place, RamUse
from .memory_map import MemoryMap
from .memory_use import check_placement, check_static, static_bytes, static_end
from .peripherals import (
    CCR,
    CCR_DIV_0_TRP,
    CCR_UNALIGN_TRP,
    CPACR,
    FPCCR,
    PPB_BYTES,
    PPB_START,
)
from .record import RegionRun, RunRecord, spread
from .refusals import (
    fpu_is_off,
    missing_on_core,
    place_of,
    refused_access,
    refused_by_unicorn,
    refused_growth,
    unprivileged_access,
)
from .semihosting import Exit, Semihosting
from .unaligned import carry_out, decode_access

if TYPE_CHECKING:
    from .annotate import Annotation
    from .followed_memory import FollowedMemory
    from .hot_lines import HotLine
    from .markers import MarkedRegion
    from .profile import Profile
    from .stack_bound import StackBound
    from .stack_capture import ChainFrame
    from .stack_usage import StackUsage
    from .uninitialized import UninitializedRead

# LR of a call from outside points here: external RAM, executable and unmapped on every board.
_RETURN_PAGE, _RETURN_PAGE_BYTES = MEMORY_END, 1024
_CLEAR_EXCLUSIVE = _RETURN_PAGE + _RETURN_PAGE_BYTES - 8  # code of our own
# A run comes back every so many cycles to look at the clock and for Ctrl-C: by how long the last
# ones took, since firmware can make the host work for each cycle (unaligned accesses, registers).
_FIRST_SLICE_CYCLES, _LARGEST_SLICE_CYCLES = 50_000, 100_000_000
_SLICE_SECONDS = 0.1
_INTERRUPT_SVC, _INTERRUPT_UNALIGNED, _INTERRUPT_BKPT = 2, 4, 7
_INTERRUPT_EXCEPTION_RETURN, _INTERRUPT_NO_FPU = 8, 17
_INTERRUPT_FETCH = 3
_XPSR_T = 1 << 24


@dataclass(frozen=True)
class Snapshot:
    """Registers and memories of one moment; what was counted is not part of it."""

    owner: Machine
    pc: int
    context: bytes
    memories: tuple[tuple[int, bytes], ...]
    exceptions: tuple[Any, ...]
    known: list[bytes] | None = None


class Machine:
    """Runs an ELF image on a board.

    Args:
        elf_path: a linked Cortex-M image.
        board: the board; by default the generic one of `core`, or of the core that the image's
            build attributes name.
        core: run as this core instead of the board's.
        ram_bytes: only the first so many bytes of the board's first RAM exist.
        regions: functions whose activations are measured, where the image has them.
        engine: `auto`, `native` or `python`.
        max_cycles: budget for each `run` or `call`, in cycles.
        timeout_seconds: of host time, likewise.
        profile: follow calls, for `profile()`.
        faults: `stop` ends the run where the firmware faults, `deliver` hands the fault to the
            firmware's own handler, as the silicon does.
        touched: follow every access to memory, for the record's `memory.touched`; much slower.
        uninitialized: `warn` or `error`: report loads of RAM that nothing was stored to since
            reset, or end the run at the first; much slower.

    Raises:
        UserError: bad input. `RamExceeded`: static data alone do not fit `ram_bytes`.
    """

    def __init__(
        self,
        elf_path: str | Path,
        board: Board | None = None,
        core: str | None = None,
        ram_bytes: int | None = None,
        regions: Sequence[str] = ("ebnn_infer",),
        engine: str = "auto",
        max_cycles: int | None = None,
        timeout_seconds: float | None = None,
        output: TextIO | None = None,
        errors: TextIO | None = None,
        profile: bool = False,
        faults: str = "stop",
        touched: bool = False,
        uninitialized: str | None = None,
    ) -> None:
        if faults not in ("stop", "deliver"):
            raise UserError(f"faults are not handled by {faults!r}: choose stop or deliver")
        self.elf = Elf(elf_path)
        core_name = core or (board.core if board else self.elf.core())
        if core_name is None:
            raise UserError(
                f"{self.elf.path}: its build attributes name no Cortex-M core: "
                "say which with --core or --board"
            )
        self.core: Core = core_named(core_name)
        self.board = board or default_board(self.elf, self.core.name)
        check_placement(self.elf, self.board)
        self._stack_usage: dict[str, StackUsage] | None = None
        if self.elf.path.with_suffix(".su").exists():
            from .stack_usage import read_usage

            self._stack_usage = read_usage(self.elf.path)
        self.max_cycles = max_cycles
        self.timeout_seconds = timeout_seconds
        self.fault: Fault | None = None
        self.exit_code = 0
        self._ended: UserError | None = None
        self._cpu = uc.Cpu(self.core.name)
        library = native_library(engine)
        self._memory = MemoryMap(self._cpu, self.board, ram_bytes, library)
        self.ram_bytes = self._memory.ram_bytes
        check_static(self.elf, self.board, self.ram_bytes)
        self._static_end = (static_end(self.elf, self.board) + 7) & ~7
        self._static_bytes = (static_bytes(self.elf, self.board) + 7) & ~7
        timing = BoardTiming(
            self.board.store_penalty_cycles,
            self.board.flash.address,
            self.board.flash.size_bytes,
            self.board.flash_timing,
        )
        functions = FunctionTable(self.elf) if profile else None
        self._counting = Counting(self._cpu, self.core, timing, library, functions)
        self._engine, self._state = self._counting.engine, self._counting.state
        self.deepest_stack = DeepestStack(self._cpu, self.elf, self._state, _RETURN_PAGE)
        self._engine.watch_stack(self.deepest_stack.on_deeper)
        self._memory_callback = uc.MEMORY_CALLBACK(self._on_invalid_access)
        self._cpu.hook(uc.HOOK_MEM_INVALID, self._memory_callback)
        self._followed: FollowedMemory | None = None
        self._touched = touched
        if touched or uninitialized is not None:
            from .followed_memory import FollowedMemory

            self._followed = FollowedMemory(
                self._cpu,
                self.elf,
                self.board,
                self._counting,
                uninitialized,
                self.deepest_stack.read_or_zeros,
                self._place,
                self._refuse_access,
            )
        self._access_pc = 0
        self._delivers_faults = faults == "deliver"
        self._control = ExceptionControl(
            self._cpu,
            self.core,
            self.board.interrupt_priority_bits or self.core.interrupt_priority_bits,
            self._counting,
            lambda: self._counting.cycles_before(self._access_pc),
            self._on_register,
            lambda at, size, is_load: self._memory.why_refused(at, size, is_load) is None,
            self._check_frame,
            self._clear_exclusive,
            self._place,
        )
        peripherals = self._control.peripherals
        self._cpu.map_callbacks(PPB_START, PPB_BYTES, peripherals.read, peripherals.write)
        self._cpu.map(_RETURN_PAGE, _RETURN_PAGE_BYTES, uc.PROT_READ | uc.PROT_EXEC)
        self._cpu.write(_RETURN_PAGE, b"\xfe\xe7" * (_RETURN_PAGE_BYTES // 2))
        self._cpu.write(_CLEAR_EXCLUSIVE, b"\xbf\xf3\x2f\x8f\x00\xbe")  # CLREX, BKPT
        self._semihosting = Semihosting(self._cpu.read, output or sys.stdout, errors or sys.stderr)
        self._call_function = self._engine.add_function(stops.FUNCTION_CALL)
        self._regions: dict[str, int] = {}
        self._marked: dict[str, MarkedRegion] = {}
        for name in regions:
            self.watch(name)
        self._watch_heap()
        self._load()
        self._reset()

    # --- set up ---------------------------------------------------------------------------

    def _load(self) -> None:
        for segment in self.elf.segments:
            if segment.data:
                self._cpu.write(segment.load_address, segment.data)

    def close(self) -> None:
        """Give the emulator's memory back now, not when Python gets to it.

        Take the record before.
        """
        self._cpu.close()

    def _watch_heap(self) -> None:
        for name in ("_sbrk", "sbrk"):
            symbol = self.elf.symbols.get(name)
            if symbol is not None and symbol.is_function:
                index = self._engine.add_function(stops.FUNCTION_SBRK)
                self._counting.costs.entries[symbol.address] = index
                return

    def watch(self, name: str) -> None:
        """Measure the activations of function `name` from now on; unknown names are ignored.

        `START..END` is the region from one symbol to another, and `name` the one between the
        labels `name_begin` and `name_end` (markers.py). Only before the code has run for the
        first time.
        """
        symbols = self.elf.symbols
        if ".." not in name and (name in symbols or f"{name}_begin" not in symbols):
            if name in symbols:
                self._watch_function(name, symbols[name])
            return
        from .markers import MarkedRegion, marker_symbols

        markers = marker_symbols(self.elf, name)
        if markers is None or name in self._marked or any(m not in symbols for m in markers):
            return
        start, end = (symbols[marker].address & ~1 for marker in markers)
        self._marked[name] = MarkedRegion(self._cpu, self._counting, start, end)

    def _watch_function(self, name: str, symbol: Symbol) -> None:
        if name in self._regions:
            return
        index = self._engine.add_function(stops.FUNCTION_REGION)
        self._regions[name] = index
        self._counting.costs.entries[symbol.address & ~1] = index

    def require_region(self, name: str) -> None:
        """`UserError` where the image has no such function, or not both markers."""
        from .markers import marker_symbols

        for symbol in marker_symbols(self.elf, name) or (name,):
            self.elf.symbol(symbol)

    def _reset(self) -> None:
        """What the core does at reset: SP and PC from the vector table (ARMv7-M ARM B1.5.5)."""
        sp, pc = self._vectors()
        self._reset_handler = pc
        self.initial_sp = sp
        self.stack_top_moved_from: int | None = None
        if sp > self._memory.ram_end and self.board.ram.address < sp <= self.board.ram.end:
            self.stack_top_moved_from = sp
            sp = self._memory.ram_end & ~7
        self._stack_top = sp
        state = self._state
        state.ram_end = self._memory.ram_end
        state.stack_floor = self._static_end
        state.stack_top = sp
        state.lowest_sp = sp
        state.deadline = (1 << 64) - 1
        self._cpu.set_register(uc.REG_SP, sp)
        self._cpu.set_register(uc.REG_LR, 0xFFFFFFFF)
        self._pc = pc
        self._control.entry.vector_table = self._vector_table
        self._control.set_fpu_alert()
        self._engine.jump()

    def _vectors(self) -> tuple[int, int]:
        """Initial SP and PC: from the vector table at the start of flash where one is there."""
        flash = self.board.flash
        tables = [flash.address, flash.address + 0x100]  # RP2040: behind the second-stage boot
        for table in tables:
            sp, pc = (int.from_bytes(self._cpu.read(table + at, 4), "little") for at in (0, 4))
            in_ram = any(m.kind == "ram" and m.address < sp <= m.end for m in self.board.memories)
            in_memory = any(m.address <= pc < m.end for m in self.board.memories)
            if in_ram and in_memory and pc & 1:
                self._vector_table = table
                return sp, pc & ~1
        entry = self.elf.entry & ~1
        if not any(m.address <= entry < m.end for m in self.board.memories):
            raise UserError(
                f"{self.elf.path}: no vector table at {flash.address:#010x}, and the entry point "
                f"{self.elf.entry:#010x} lies outside the memories of {self.board.name}"
            )
        self._vector_table = flash.address
        return self._memory.ram_end & ~7, entry

    # --- looking at it --------------------------------------------------------------------

    @property
    def cycles(self) -> int:
        """Cycles counted so far."""
        return self._counting.cycles

    @property
    def instructions(self) -> int:
        return self._counting.instructions

    def symbol(self, name: str) -> Symbol:
        """The ELF's symbol `name`; `UserError` when it has none."""
        return self.elf.symbol(name)

    def read(self, address: int, size_bytes: int) -> bytes:
        """Memory as the core sees it; `UserError` outside the board's memories."""
        if size_bytes == 0:
            return b""
        try:
            return self._cpu.read(address, size_bytes)
        except uc.UnicornError as error:
            raise UserError(f"{size_bytes} bytes at {address:#010x}: {error}") from error

    def write(self, address: int, data: bytes) -> None:
        """Write memory from outside; nothing is counted. `UserError` outside the memories."""
        try:
            self._cpu.write(address, bytes(data))
        except uc.UnicornError as error:
            raise UserError(f"{len(data)} bytes at {address:#010x}: {error}") from error

    def register(self, name: str) -> int:
        """A core register: `r0` to `r12`, `sp`, `lr`, `pc`."""
        names = [*(f"r{n}" for n in range(13)), "sp", "lr", "pc"]
        return self._cpu.register(uc.CORE_REGISTERS[names.index(name)])

    def region(self, name: str) -> RegionRun:
        """The last activation of a watched function; `UserError` before it ever returned."""
        marked = self._marked.get(name)
        if marked is not None and marked.last is not None:
            return RegionRun(*marked.last)
        index = self._regions.get(name)
        function = None if index is None else self._engine.function(index)
        if function is None or not function.count:
            raise UserError(f"{self.elf.path}: the region {name!r} has not run")
        return RegionRun(function.last_cycles, function.last_instructions)

    @property
    def stack_top(self) -> int:
        """SP at reset, which the stack's bytes are counted from."""
        return self._stack_top

    def ram_use(self) -> RamUse:
        """Static, heap and stack so far, in bytes; each in steps of 8, the stack's alignment."""
        state = self._state
        heap = 0
        if state.heap_start:
            heap = max(0, (state.heap_peak + 7 & ~7) - max(self._static_end, state.heap_start & ~7))
        return RamUse(self._static_bytes, heap, self._stack_top - (state.lowest_sp & ~7))

    # --- running it -----------------------------------------------------------------------

    def run(self) -> int:
        """Run from where the machine is to the firmware's exit; its exit status.

        Raises:
            Fault: the firmware did what the silicon refuses. BudgetExceeded: a budget did not hold.
        """
        self._state.break_address = stops.NEVER
        try:
            self._go()
        except Exit as request:
            return request.status
        raise AssertionError("a run ends by exit, fault or budget")

    def run_until(self, function: str) -> None:
        """Run up to the first instruction of `function`. Raises what `run` raises."""
        self._state.break_address = self.symbol(function).address & ~1
        try:
            self._go()
        except Exit as request:
            raise UserError(
                f"{self.elf.path}: exited with {request.status} before {function} was reached"
            ) from None
        finally:
            self._state.break_address = stops.NEVER

    def call(self, function: str | int, *arguments: int) -> int:
        """Call a function of the firmware with up to four integers, from the current state; its r0.

        The registers and the place where the firmware was are left as they were before.
        Raises what `run` raises.
        """
        address = self.symbol(function).address if isinstance(function, str) else function
        if len(arguments) > 4:
            raise UserError(f"{function}: at most four integer arguments can be passed")
        cpu = self._cpu
        sp, lr, pc = cpu.register(uc.REG_SP), cpu.register(uc.REG_LR), self._pc
        outside = self.deepest_stack.context(pc)
        for index, argument in enumerate(arguments):
            cpu.set_register(uc.REG_R0 + index, argument)
        call_sp = sp & ~7
        cpu.set_register(uc.REG_SP, call_sp)
        cpu.set_register(uc.REG_LR, _RETURN_PAGE | 1)
        self._engine.jump()
        self._engine.open_call(self._call_function, _RETURN_PAGE, call_sp)
        tree = self._counting.call_tree
        open_calls = tree.enter(interrupts=False) if tree else 0
        self._pc = address & ~1
        try:
            with self.deepest_stack.call_from_outside(outside):
                self._go()
        except Exit as request:
            self._engine.drop_frames()
            if tree:
                tree.leave(open_calls)
            raise UserError(
                f"the firmware exited with {request.status} inside {function}"
            ) from None
        except UserError:
            self._engine.drop_frames()
            raise
        if tree:
            tree.leave(open_calls)
        result = cpu.register(uc.REG_R0)
        cpu.set_register(uc.REG_SP, sp)
        cpu.set_register(uc.REG_LR, lr)
        self._pc = pc
        self._engine.jump()
        return result

    def snapshot(self) -> Snapshot:
        """Registers and RAM as they are now."""
        return Snapshot(
            self,
            self._pc,
            self._cpu.context_bytes(),
            self._memory.save_ram(),
            self._control.save(),
            self._followed.watch.save_known() if self._followed else None,
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Back to a snapshot; counts, peaks and regions go on from where they are.

        Raises:
            UserError: the snapshot is another machine's; Unicorn's registers hold host pointers.
        """
        if snapshot.owner is not self:
            raise UserError(f"{self.elf.path}: the snapshot was taken of another machine")
        self._pc = snapshot.pc
        self._cpu.set_context_bytes(snapshot.context)
        self._memory.restore_ram(snapshot.memories)
        self._control.restore(snapshot.exceptions)
        self._set_divide_trap()
        if self._followed and snapshot.known is not None:
            self._followed.watch.restore_known(snapshot.known)
        self._engine.jump()

    def _go(self) -> None:
        """Run until something ends it: returns on arrival, raises otherwise."""
        state, cpu = self._state, self._cpu
        limit = None if self.max_cycles is None else int(state.cycles) + self.max_cycles
        started = time.monotonic()
        if self._ended is not None:
            raise UserError(f"{self.elf.path}: the run has ended: {self._ended}")
        slice_cycles = _FIRST_SLICE_CYCLES
        is_between_blocks = True
        while True:
            began = time.monotonic()
            if self.timeout_seconds is not None and began - started >= self.timeout_seconds:
                self._end(
                    BudgetExceeded(
                        "timeout",
                        f"still running in {self._place(self._pc)} after "
                        f"{self.timeout_seconds:g} s: --timeout",
                    )
                )
            state.deadline = int(state.cycles) + slice_cycles
            if limit is not None:
                state.deadline = min(state.deadline, limit)
            slice_end = state.deadline
            if is_between_blocks:
                self._pc = self._guarded(self._control.take_pending, self._pc)
            else:
                self._control.review()
            is_between_blocks = True
            state.stop = stops.STOP_NONE
            error = cpu.run(self._pc)
            if self._ended is not None:
                self._pc = cpu.register(uc.REG_PC)
                refused, self._ended = self._ended, None
                self._fail(refused)
                continue
            failure = self._engine.failure
            if failure is not None:
                self._engine.failure = None
                raise failure
            stop = state.stop
            if stop == stops.STOP_INTERRUPT:
                self._pc = cpu.register(uc.REG_PC)
                is_between_blocks = self._interrupt(state.interrupt)
            elif stop == stops.STOP_NONE:
                self._pc = cpu.register(uc.REG_PC)
                self._stopped_by_itself(error)
            else:
                self._pc = state.stop_address
                if stop in (stops.STOP_RETURNED, stops.STOP_ARRIVED):
                    return
                if stop == stops.STOP_UNHOOKED:
                    self._counting.hook_current_block()
                elif stop == stops.STOP_DEADLINE:
                    if limit is not None and state.cycles >= limit:
                        self._end(
                            BudgetExceeded(
                                "max-cycles",
                                f"still running in {self._place(self._pc)} after "
                                f"{state.cycles:,} cycles: --max-cycles {self.max_cycles:,}",
                            )
                        )
                    slow = time.monotonic() - began > _SLICE_SECONDS
                    if slow or state.cycles >= slice_end:
                        slice_cycles = slice_cycles // 2 if slow else slice_cycles * 2
                        slice_cycles = min(max(slice_cycles, 1000), _LARGEST_SLICE_CYCLES)
                elif stop == stops.STOP_SYSTEM:
                    self._pc = self._guarded(self._control.system, self._pc, limit)
                    is_between_blocks = self._go_on_behind(self._pc)
                else:
                    self._refuse(stop)

    def _guarded(self, step: Callable[..., int], *arguments: Any) -> int:
        """Where `step` goes on; what it raises is handled as any fault of the firmware."""
        try:
            return step(*arguments)
        except (Fault, BudgetExceeded) as error:
            self._fail(error)
            return self._pc

    def _go_on_behind(self, pc: int) -> bool:
        """An instruction was done for Unicorn; whether `pc`, the next, is a block's first."""
        block = self._counting.current_block()
        if block is None or pc == block.instructions[-1].end:
            return True
        self._engine.resume(pc)
        return False

    def _fail(self, error: UserError) -> None:
        """A fault ends the run, or is handed to the firmware's handler."""
        delivery = delivery_of(error) if isinstance(error, Fault) else None
        if not self._delivers_faults or delivery is None:
            self._end(error)
        assert isinstance(error, Fault) and delivery is not None
        self._counting.discount_rest_of_block(error.place.pc)
        try:
            self._pc = self._control.deliver(error, delivery, self._pc)
        except UserError as worse:
            self._end(worse)

    def _check_frame(self, address: int, frame_bytes: int) -> None:
        """Refuse an exception's frame where there is no room for it."""
        state, sp = self._state, self._cpu.register(uc.REG_SP)
        if address < state.stack_floor <= sp <= state.stack_top and address < state.lowest_sp:
            state.lowest_sp, state.lowest_sp_address = address, self._pc
            self._refuse(stops.STOP_STACK)
        kind = self._memory.why_refused(address, frame_bytes, False)
        if kind is not None:
            error = self._refused_access(kind, address, frame_bytes, self._pc)
            if isinstance(error, Fault):
                error = Fault("stacking", f"exception frame: {error.reason}", error.place, address)
            raise error
        if self._followed:
            self._followed.stored_by_core(address, BASIC_FRAME_BYTES)

    def _clear_exclusive(self) -> None:
        """An exception clears the local monitor: a store-exclusive behind it fails. Unicorn
        has no way but the instruction, which is run here without being counted."""
        if self._counting.costs.loads_exclusive:
            self._state.stop = stops.STOP_INTERRUPT
            self._cpu.run(_CLEAR_EXCLUSIVE)

    def _end(self, error: UserError) -> NoReturn:
        """The run is over, badly: keep what the record needs, count only what ran, raise."""
        self._ended = error
        self.exit_code = error.exit_code
        if isinstance(error, Fault):
            self.fault = error
            self._counting.discount_rest_of_block(error.place.pc)
        raise error

    # --- what stops a run -----------------------------------------------------------------

    def _place(self, pc: int) -> Place:
        return place_of(self.elf, pc)

    def _on_invalid_access(
        self, _uc: Any, kind: int, address: int, size: int, _value: int, _user: Any
    ) -> bool:
        """Unicorn: an access to memory that is unmapped or protected. True lets it happen."""
        try:
            pc = self._cpu.register(uc.REG_PC)
            if kind in (uc.MEM_READ_PROT, uc.MEM_WRITE_PROT):
                if PPB_START <= address < PPB_START + PPB_BYTES:
                    self._access_pc = pc
                    if self._control.may_access(address, kind == uc.MEM_WRITE_PROT):
                        return True
                    if self._ended is None:
                        self._ended = unprivileged_access(address, self._place(pc))
                    return False
                if self._memory.allows_in_last_page(address, size):
                    return True
            if self._ended is None:
                self._ended = self._refused_access(kind, address, size, pc)
        except BaseException as error:
            self._engine.failure = error
        return False

    def _refuse_access(self, fault: Fault) -> None:
        if self._ended is None:
            self._ended = fault

    def _refused_access(self, kind: int, address: int, size: int, pc: int) -> UserError:
        return refused_access(
            kind,
            address,
            size,
            self._place(pc),
            self.board,
            self.ram_bytes,
            self.ram_use(),
            int(self._state.heap_break),
        )

    def _stopped_by_itself(self, error: int) -> None:
        place = self._place(self._pc)
        if not self._cpu.register(uc.REG_XPSR) & _XPSR_T:
            self._fail(Fault("invalid-state", "jump to an even address: no Thumb code", place))
        else:
            reason = self._cpu.error_text(error)
            self._fail(refused_by_unicorn(error, reason, self._instruction_bytes(), place))

    def _instruction_bytes(self) -> bytes:
        try:
            first = self._cpu.read(self._pc, 2)
            return first if first[1] >> 3 < 0x1D else self._cpu.read(self._pc, 4)
        except uc.UnicornError:
            return b""

    def _refuse(self, stop: int) -> None:
        place = self._place(self._pc)
        if stop == stops.STOP_ILLEGAL:
            self._fail(missing_on_core(self.core, self._instruction_bytes(), place))
        elif stop == stops.STOP_NO_FPU and self._control.entry.fpu_is_unsaved:
            self._control.entry.save_fpu_lazily(self._pc)
            self._control.set_fpu_alert()
        elif stop == stops.STOP_NO_FPU:
            block = self._counting.current_block()
            assert block is not None
            at = next(i.address for i in block.instructions if "fp" in i.feature)
            self._fail(fpu_is_off(self._place(at)))
        elif stop == stops.STOP_DIVIDE:
            self._fail(Fault("divide-by-zero", "division by zero with CCR.DIV_0_TRP set", place))
        else:
            self._end(refused_growth(stop, self._state, place, self.ram_bytes, self.ram_use()))

    def _interrupt(self, number: int) -> bool:
        """Unicorn stopped for an exception of its own; whether the next block is a new one."""
        cpu, pc = self._cpu, self._pc
        if number == _INTERRUPT_BKPT:
            if cpu.read(pc, 1) != b"\xab":
                self._end(Fault("breakpoint", "BKPT without a debugger", self._place(pc)))
            try:
                result = self._semihosting.call(
                    cpu.register(uc.REG_R0), cpu.register(uc.REG_R0 + 1), self.cycles
                )
            except uc.UnicornError:
                self._end(Fault("unmapped", "semihosting call with a bad address", self._place(pc)))
            except Exit:
                self._pc = pc + 2
                raise
            cpu.set_register(uc.REG_R0, result)
            self._pc = pc + 2
        elif number == _INTERRUPT_SVC:
            self._pc = self._guarded(self._control.supervisor_call, pc)
        elif number == _INTERRUPT_EXCEPTION_RETURN:
            self._pc = self._guarded(self._control.exception_return, pc)
        elif number == _INTERRUPT_UNALIGNED:
            return self._unaligned(pc)
        elif number == _INTERRUPT_NO_FPU:
            place = self._place(pc)
            self._fail(Fault("no-fpu", "coprocessor instruction without that unit", place))
        elif number == _INTERRUPT_FETCH:
            kind = uc.MEM_FETCH_UNMAPPED
            self._fail(self._refused_access(kind, pc, 2, pc))
        else:
            self._end(Fault("exception", f"Unicorn raised its exception {number}", self._place(pc)))
        return True

    def _unaligned(self, pc: int) -> bool:
        """An unaligned access: a fault, or done in parts at a cost (ARMv7-M ARM A3.2.1)."""
        trapped = self._control.peripherals.words.get(CCR, 0) & CCR_UNALIGN_TRP
        may = not self.core.unaligned_faults and not trapped
        access = decode_access(self._cpu, pc) if may else None
        if access is None:
            self._fail(
                Fault("unaligned", "unaligned access that this core refuses", self._place(pc))
            )
            return True
        kind = self._memory.why_refused(access.address, access.size_bytes, access.is_load)
        if kind is not None:
            self._fail(self._refused_access(kind, access.address, access.size_bytes, pc))
            return True
        self._counting.add_unaligned(carry_out(self._cpu, access), pc)
        if self._followed:
            self._followed.watch.access(access.is_load, access.address, access.size_bytes)
            if self._ended is not None:
                self._end(self._ended)
        self._pc = pc + access.instruction_bytes
        return self._go_on_behind(self._pc)

    # --- the core's own registers ---------------------------------------------------------

    def _on_register(self, address: int, value: int) -> None:
        if address in (CPACR, FPCCR):
            self._control.set_fpu_alert()
        elif address == CCR:
            self._set_divide_trap()
        self._control.review()

    def _set_divide_trap(self) -> None:
        words = self._control.peripherals.words
        self._state.trap_divide = bool(words.get(CCR, 0) & CCR_DIV_0_TRP)

    # --- what came of it ------------------------------------------------------------------

    def stalls(self) -> dict[str, int]:
        """Cycles beyond one for each instruction, by cause; instructions plus these are cycles."""
        return self._counting.stalls()

    def profile(self) -> Profile:
        """Cycles, calls and stalls of each function so far; only with `profile=True`."""
        from .profile import make_profile

        return make_profile(self.elf, self._counting)

    def annotate(
        self, functions: Sequence[str] | None = None, source_folders: Sequence[Path] = ()
    ) -> Annotation:
        """What each instruction and source line of `functions` (default: of all that ran) has cost
        so far; only with `profile=True`. `UserError` without capstone, or for unknown functions.
        """
        from .annotate import annotate

        return annotate(
            self.elf, self._counting, self.profile(), self.read, functions, source_folders
        )

    def hot_lines(self) -> list[HotLine]:
        """The source lines of what ran, by the cycles they have cost so far, the most first."""
        from .hot_lines import hot_lines

        return hot_lines(self.elf, self._counting)

    def backtrace(self) -> list[ChainFrame]:
        """The functions on the stack where the firmware stands, or faulted; the outermost first."""
        return self.deepest_stack.chain_now(self.fault.place.pc if self.fault else self._pc)

    def regions(self) -> dict[str, dict[str, Any]]:
        """The run record's `regions`: those that have returned at least once."""
        found = {}
        for name, index in self._regions.items():
            samples = self._engine.samples(index)
            if samples:
                found[name] = _region_record(int(self._engine.function(index).count), samples)
        for name, marked in self._marked.items():
            if marked.samples:
                found[name] = _region_record(marked.count, marked.samples)
        return found

    @property
    def deepest_function(self) -> str | None:
        """The function that took the stack to its peak."""
        function = self.elf.function_at(self._state.lowest_sp_address)
        return function.name if function else None

    @cached_property
    def stack_bound(self) -> StackBound | None:
        """The most stack that the code can take, from the compiler's stack usage (`model.su` beside
        the image); None where that is not there."""
        if self._stack_usage is None:
            return None
        from .stack_bound import stack_bound

        frames = self.deepest_stack.frames
        return stack_bound(
            self.elf, frames, self._stack_usage, self._reset_handler, self._vector_table
        )

    def touched(self) -> dict[str, Any] | None:
        """Bytes read, written and executed so far; None where that was not asked for."""
        if self._followed is None or not self._touched:
            return None
        return self._followed.touched(self._memory.ram_end)

    @property
    def uninitialized_reads(self) -> list[UninitializedRead]:
        """The loads of never-written RAM so far, each instruction once."""
        return self._followed.uninitialized if self._followed else []

    @property
    def engine_name(self) -> str:
        return self._engine.name

    def record(self) -> RunRecord:
        """The run record: cycles, regions, memory, fault; see record.schema.json."""
        from .run_record import run_record

        return run_record(self)


def _region_record(count: int, samples: list[tuple[int, int]]) -> dict[str, Any]:
    return {
        "count": count,
        "cycles": spread([cycles for cycles, _ in samples]),
        "instructions": spread([instructions for _, instructions in samples]),
    }
