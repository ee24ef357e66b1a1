"""The machine: a board with an ELF image in its flash, that runs and is measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from . import engine as stops
from . import unicorn_library as uc
from .board import Board
from .boot_stage import STEP_BYTES
from .call_tree import FunctionTable
from .core import SMALL_MULTIPLIER_CORES, Core, core_named, with_small_multiplier
from .cost import BoardTiming
from .counting import Counting
from .deepest_stack import DeepestStack
from .default_board import default_board
from .elf import Elf, Symbol
from .engine import native_library
from .errors import UserError
from .execution import RETURN_PAGE, Execution
from .faults import Fault, RamUse
from .memory_map import MemoryMap
from .memory_use import check_placement, check_static, static_bytes, static_end
from .record import RegionRun, RunRecord
from .regions import Regions
from .semihosting import Exit, Semihosting
from .slow_ram import SlowRam

if TYPE_CHECKING:
    from .annotate import Annotation
    from .followed_memory import FollowedMemory
    from .hot_lines import HotLine
    from .profile import Profile
    from .stack_bound import StackBound
    from .stack_capture import ChainFrame
    from .stack_usage import StackUsage
    from .uninitialized import UninitializedRead


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
        if self.board.small_multiplier and self.core.name in SMALL_MULTIPLIER_CORES:
            self.core = with_small_multiplier(self.core)
        check_placement(self.elf, self.board)
        self._stack_usage: dict[str, StackUsage] | None = None
        if self.elf.path.with_suffix(".su").exists():
            from .stack_usage import read_usage

            self._stack_usage = read_usage(self.elf.path)
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
            self._reachable_slow_ram(),
        )
        functions = FunctionTable(self.elf) if profile else None
        self._counting = Counting(self._cpu, self.core, timing, library, functions)
        self._engine, self._state = self._counting.engine, self._counting.state
        self.deepest_stack = DeepestStack(self._cpu, self.elf, self._state, RETURN_PAGE)
        self._engine.watch_stack(self.deepest_stack.on_deeper)
        self._execution = Execution(
            self.elf,
            self.core,
            self.board,
            self._cpu,
            self._memory,
            self._counting,
            self.ram_use,
            Semihosting(self._cpu.read, output or sys.stdout, errors or sys.stderr),
            faults == "deliver",
            max_cycles,
            timeout_seconds,
        )
        self._control = self._execution.control
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
                self._execution.place,
                self._execution.refuse_access,
            )
            self._execution.followed = self._followed
        self._call_function = self._engine.add_function(stops.FUNCTION_CALL)
        self._regions = Regions(self.elf, self._cpu, self._counting)
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
        self._regions.watch(name)

    def require_region(self, name: str) -> None:
        """`UserError` where the image has no such function, or not both markers."""
        self._regions.require(name)

    def _reachable_slow_ram(self) -> SlowRam | None:
        """The board's slow RAM, unless the RAM limit leaves nothing of it."""
        slow = self.board.slow_ram
        return slow if slow and self._memory.ram_end > slow.address else None

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
        self._execution.pc = pc
        self._control.entry.vector_table = self._vector_table
        self._control.set_fpu_alert()
        self._engine.jump()

    def _vectors(self) -> tuple[int, int]:
        """Initial SP and PC, from the vector table: behind the board's boot stage, which is not
        run, or at the start of flash. Else the image's entry point."""
        flash, behind = self.board.flash, self.board.vector_table
        # An image for RP2040 may come without a board that says so.
        tables = dict.fromkeys((behind, flash.address, flash.address + STEP_BYTES))
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
        """The last activation of a watched region; `UserError` before it ever returned."""
        return self._regions.last(name)

    def region_runs(self, name: str) -> list[RegionRun]:
        """Every activation of a watched function so far, in the order in which they returned."""
        return self._regions.runs(name)

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
            self._execution.go()
        except Exit as request:
            return request.status
        raise AssertionError("a run ends by exit, fault or budget")

    def run_until(self, function: str) -> None:
        """Run up to the first instruction of `function`. Raises what `run` raises."""
        self._state.break_address = self.symbol(function).address & ~1
        try:
            self._execution.go()
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
        pc, lr = self._execution.pc, cpu.register(uc.REG_LR)
        outside = self.deepest_stack.context(pc)
        for index, argument in enumerate(arguments):
            cpu.set_register(uc.REG_R0 + index, argument)
        call_sp = outside.sp & ~7
        cpu.set_register(uc.REG_SP, call_sp)
        cpu.set_register(uc.REG_LR, RETURN_PAGE | 1)
        self._engine.jump()
        self._engine.open_call(self._call_function, RETURN_PAGE, call_sp)
        tree = self._counting.call_tree
        open_calls = tree.enter(interrupts=False) if tree else 0
        self._execution.pc = address & ~1
        try:
            with self.deepest_stack.call_from_outside(outside):
                self._execution.go()
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
        cpu.set_register(uc.REG_SP, outside.sp)
        cpu.set_register(uc.REG_LR, lr)
        self._execution.pc = pc
        self._engine.jump()
        return result

    def snapshot(self) -> Snapshot:
        """Registers and RAM as they are now."""
        return Snapshot(
            self,
            self._execution.pc,
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
        self._execution.pc = snapshot.pc
        self._cpu.set_context_bytes(snapshot.context)
        self._memory.restore_ram(snapshot.memories)
        self._control.restore(snapshot.exceptions)
        self._execution.set_divide_trap()
        if self._followed and snapshot.known is not None:
            self._followed.watch.restore_known(snapshot.known)
        self._engine.jump()

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
        return self.deepest_stack.chain_now(
            self.fault.place.pc if self.fault else self._execution.pc
        )

    def regions(self) -> dict[str, dict[str, Any]]:
        """The run record's `regions`: those that have returned at least once."""
        return self._regions.records()

    @property
    def fault(self) -> Fault | None:
        """What the silicon refused, where that ended the run."""
        return self._execution.fault

    @property
    def exit_code(self) -> int:
        """0 while nothing ended the run badly; see `Fault` and `BudgetExceeded`."""
        return self._execution.exit_code

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
