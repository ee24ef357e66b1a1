"""Runs the firmware slice by slice, and settles whatever stops it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from . import engine as stops
from . import unicorn_library as uc
from .board import MEMORY_END, Board
from .core import Core
from .counting import Counting
from .elf import Elf
from .errors import UserError
from .exception_control import ExceptionControl
from .exception_entry import BASIC_FRAME_BYTES
from .fault_delivery import delivery_of
from .faults import BudgetExceeded, Fault, Place, RamUse
from .memory_map import MemoryMap
from .peripherals import (
    CCR,
    CCR_DIV_0_TRP,
    CCR_UNALIGN_TRP,
    CPACR,
    FPCCR,
    PPB_BYTES,
    PPB_START,
)
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
    from .followed_memory import FollowedMemory

# LR of a call from outside points here: external RAM, executable and unmapped on every board.
RETURN_PAGE, _RETURN_PAGE_BYTES = MEMORY_END, 1024
_CLEAR_EXCLUSIVE = RETURN_PAGE + _RETURN_PAGE_BYTES - 8  # code of our own
# A run comes back every so many cycles to look at the clock and for Ctrl-C: by how long the last
# ones took, since firmware can make the host work for each cycle (unaligned accesses, registers).
_FIRST_SLICE_CYCLES, _LARGEST_SLICE_CYCLES = 50_000, 100_000_000
_SLICE_SECONDS = 0.1
_INTERRUPT_SVC, _INTERRUPT_UNALIGNED, _INTERRUPT_BKPT = 2, 4, 7
_INTERRUPT_EXCEPTION_RETURN, _INTERRUPT_NO_FPU = 8, 17
_INTERRUPT_FETCH = 3
_XPSR_T = 1 << 24


class Execution:
    """The firmware's run: where it is (`pc`), and how it ended.

    Attributes:
        pc: of the next instruction.
        fault: what the silicon refused, where that ended the run.
        exit_code: of the error that ended the run; 0 without one.
        max_cycles, timeout_seconds: budgets of each `go`.
        ram_use: RAM by what it is for, so far.
        followed: hears of accesses, where they are followed.
    """

    def __init__(
        self,
        elf: Elf,
        core: Core,
        board: Board,
        cpu: uc.Cpu,
        memory: MemoryMap,
        counting: Counting,
        ram_use: Callable[[], RamUse],
        semihosting: Semihosting,
        delivers_faults: bool,
        max_cycles: int | None,
        timeout_seconds: float | None,
    ) -> None:
        self.pc = 0
        self.fault: Fault | None = None
        self.exit_code = 0
        self.followed: FollowedMemory | None = None
        self._elf = elf
        self._core = core
        self._board = board
        self._cpu = cpu
        self._memory = memory
        self._counting = counting
        self._engine, self._state = counting.engine, counting.state
        self._ram_use = ram_use
        self._semihosting = semihosting
        self._delivers_faults = delivers_faults
        self._max_cycles = max_cycles
        self._timeout_seconds = timeout_seconds
        self._ended: UserError | None = None
        self._access_pc = 0
        self._memory_callback = uc.MEMORY_CALLBACK(self._on_invalid_access)
        memory.hook_invalid(self._memory_callback)
        self.control = ExceptionControl(
            cpu,
            core,
            board.interrupt_priority_bits or core.interrupt_priority_bits,
            counting,
            lambda: counting.cycles_before(self._access_pc),
            self._on_register,
            lambda at, size, is_load: memory.why_refused(at, size, is_load) is None,
            self._check_frame,
            self._clear_exclusive,
            self.place,
        )
        peripherals = self.control.peripherals
        cpu.map_callbacks(PPB_START, PPB_BYTES, peripherals.read, peripherals.write)
        cpu.map(RETURN_PAGE, _RETURN_PAGE_BYTES, uc.PROT_READ | uc.PROT_EXEC)
        cpu.write(RETURN_PAGE, b"\xfe\xe7" * (_RETURN_PAGE_BYTES // 2))
        cpu.write(_CLEAR_EXCLUSIVE, b"\xbf\xf3\x2f\x8f\x00\xbe")  # CLREX, BKPT

    def go(self) -> None:
        """Run until something ends it: returns on arrival, raises otherwise."""
        state, cpu = self._state, self._cpu
        limit = None if self._max_cycles is None else int(state.cycles) + self._max_cycles
        started = time.monotonic()
        if self._ended is not None:
            raise UserError(f"{self._elf.path}: the run has ended: {self._ended}")
        slice_cycles = _FIRST_SLICE_CYCLES
        is_between_blocks = True
        while True:
            began = time.monotonic()
            if self._timeout_seconds is not None and began - started >= self._timeout_seconds:
                self._end(
                    BudgetExceeded(
                        "timeout",
                        f"still running in {self.place(self.pc)} after "
                        f"{self._timeout_seconds:g} s: --timeout",
                    )
                )
            state.deadline = int(state.cycles) + slice_cycles
            if limit is not None:
                state.deadline = min(state.deadline, limit)
            slice_end = state.deadline
            if is_between_blocks:
                self.pc = self._guarded(self.control.take_pending, self.pc)
            else:
                self.control.review()
            is_between_blocks = True
            state.stop = stops.STOP_NONE
            error = cpu.run(self.pc)
            if self._ended is not None:
                self.pc = cpu.register(uc.REG_PC)
                refused, self._ended = self._ended, None
                self._fail(refused)
                continue
            failure = self._engine.failure
            if failure is not None:
                self._engine.failure = None
                raise failure
            stop = state.stop
            if stop == stops.STOP_INTERRUPT:
                self.pc = cpu.register(uc.REG_PC)
                is_between_blocks = self._interrupt(state.interrupt)
            elif stop == stops.STOP_NONE:
                self.pc = cpu.register(uc.REG_PC)
                self._stopped_by_itself(error)
            else:
                self.pc = state.stop_address
                if stop in (stops.STOP_RETURNED, stops.STOP_ARRIVED):
                    return
                if stop == stops.STOP_UNHOOKED:
                    self._counting.hook_current_block()
                elif stop == stops.STOP_DEADLINE:
                    if limit is not None and state.cycles >= limit:
                        self._end(
                            BudgetExceeded(
                                "max-cycles",
                                f"still running in {self.place(self.pc)} after "
                                f"{state.cycles:,} cycles: --max-cycles {self._max_cycles:,}",
                            )
                        )
                    slow = time.monotonic() - began > _SLICE_SECONDS
                    if slow or state.cycles >= slice_end:
                        slice_cycles = slice_cycles // 2 if slow else slice_cycles * 2
                        slice_cycles = min(max(slice_cycles, 1000), _LARGEST_SLICE_CYCLES)
                elif stop == stops.STOP_SYSTEM:
                    self.pc = self._guarded(self.control.system, self.pc, limit)
                    is_between_blocks = self._go_on_behind(self.pc)
                else:
                    self._refuse(stop)

    def _guarded(self, step: Callable[..., int], *arguments: Any) -> int:
        """Where `step` goes on; what it raises is handled as any fault of the firmware."""
        try:
            return step(*arguments)
        except (Fault, BudgetExceeded) as error:
            self._fail(error)
            return self.pc

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
            self.pc = self.control.deliver(error, delivery, self.pc)
        except UserError as worse:
            self._end(worse)

    def _check_frame(self, address: int, frame_bytes: int) -> None:
        """Refuse an exception's frame where there is no room for it."""
        state, sp = self._state, self._cpu.register(uc.REG_SP)
        if address < state.stack_floor <= sp <= state.stack_top and address < state.lowest_sp:
            state.lowest_sp, state.lowest_sp_address = address, self.pc
            self._refuse(stops.STOP_STACK)
        kind = self._memory.why_refused(address, frame_bytes, False)
        if kind is not None:
            error = self._refused_access(kind, address, frame_bytes, self.pc)
            if isinstance(error, Fault):
                error = Fault("stacking", f"exception frame: {error.reason}", error.place, address)
            raise error
        if self.followed:
            self.followed.stored_by_core(address, BASIC_FRAME_BYTES)

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

    def place(self, pc: int) -> Place:
        return place_of(self._elf, pc)

    def _on_invalid_access(
        self, _uc: Any, kind: int, address: int, size: int, _value: int, _user: Any
    ) -> bool:
        """Unicorn: an access to memory that is unmapped or protected. True lets it happen."""
        try:
            pc = self._cpu.register(uc.REG_PC)
            if kind in (uc.MEM_READ_PROT, uc.MEM_WRITE_PROT):
                self._cpu.forget_it()
                if PPB_START <= address < PPB_START + PPB_BYTES:
                    self._access_pc = pc
                    if self.control.may_access(address, kind == uc.MEM_WRITE_PROT):
                        return True
                    if self._ended is None:
                        self._ended = unprivileged_access(address, self.place(pc))
                    return False
                if self._memory.allows_in_last_page(address, size):
                    return True
            if self._ended is None:
                self._ended = self._refused_access(kind, address, size, pc)
        except BaseException as error:
            self._engine.failure = error
        return False

    def refuse_access(self, fault: Fault) -> None:
        if self._ended is None:
            self._ended = fault

    def _refused_access(self, kind: int, address: int, size: int, pc: int) -> UserError:
        return refused_access(
            kind,
            address,
            size,
            self.place(pc),
            self._board,
            self._memory.ram_bytes,
            self._ram_use(),
            int(self._state.heap_break),
        )

    def _stopped_by_itself(self, error: int) -> None:
        place = self.place(self.pc)
        if not self._cpu.register(uc.REG_XPSR) & _XPSR_T:
            self._fail(Fault("invalid-state", "jump to an even address: no Thumb code", place))
        else:
            reason = self._cpu.error_text(error)
            self._fail(refused_by_unicorn(error, reason, self._instruction_bytes(), place))

    def _instruction_bytes(self) -> bytes:
        try:
            first = self._cpu.read(self.pc, 2)
            return first if first[1] >> 3 < 0x1D else self._cpu.read(self.pc, 4)
        except uc.UnicornError:
            return b""

    def _refuse(self, stop: int) -> None:
        place = self.place(self.pc)
        if stop == stops.STOP_ILLEGAL:
            self._fail(missing_on_core(self._core, self._instruction_bytes(), place))
        elif stop == stops.STOP_NO_FPU and self.control.entry.fpu_is_unsaved:
            self.control.entry.save_fpu_lazily(self.pc)
            self.control.set_fpu_alert()
        elif stop == stops.STOP_NO_FPU:
            block = self._counting.current_block()
            assert block is not None
            at = next(i.address for i in block.instructions if "fp" in i.feature)
            self._fail(fpu_is_off(self.place(at)))
        elif stop == stops.STOP_DIVIDE:
            self._fail(Fault("divide-by-zero", "division by zero with CCR.DIV_0_TRP set", place))
        else:
            self._end(
                refused_growth(stop, self._state, place, self._memory.ram_bytes, self._ram_use())
            )

    def _interrupt(self, number: int) -> bool:
        """Unicorn stopped for an exception of its own; whether the next block is a new one."""
        cpu, pc = self._cpu, self.pc
        if number == _INTERRUPT_BKPT:
            if cpu.read(pc, 1) != b"\xab":
                self._end(Fault("breakpoint", "BKPT without a debugger", self.place(pc)))
            try:
                result = self._semihosting.call(
                    cpu.register(uc.REG_R0), cpu.register(uc.REG_R0 + 1), self._counting.cycles
                )
            except uc.UnicornError:
                self._end(Fault("unmapped", "semihosting call with a bad address", self.place(pc)))
            except Exit:
                self.pc = pc + 2
                raise
            cpu.set_register(uc.REG_R0, result)
            self.pc = pc + 2
        elif number == _INTERRUPT_SVC:
            self.pc = self._guarded(self.control.supervisor_call, pc)
        elif number == _INTERRUPT_EXCEPTION_RETURN:
            self.pc = self._guarded(self.control.exception_return, pc)
        elif number == _INTERRUPT_UNALIGNED:
            return self._unaligned(pc)
        elif number == _INTERRUPT_NO_FPU:
            place = self.place(pc)
            self._fail(Fault("no-fpu", "coprocessor instruction without that unit", place))
        elif number == _INTERRUPT_FETCH:
            kind = uc.MEM_FETCH_UNMAPPED
            self._fail(self._refused_access(kind, pc, 2, pc))
        else:
            self._end(Fault("exception", f"Unicorn raised its exception {number}", self.place(pc)))
        return True

    def _unaligned(self, pc: int) -> bool:
        """An unaligned access: a fault, or done in parts at a cost (ARMv7-M ARM A3.2.1)."""
        trapped = self.control.peripherals.words.get(CCR, 0) & CCR_UNALIGN_TRP
        may = not self._core.unaligned_faults and not trapped
        access = decode_access(self._cpu, pc) if may else None
        if access is None:
            self._fail(
                Fault("unaligned", "unaligned access that this core refuses", self.place(pc))
            )
            return True
        kind = self._memory.why_refused(access.address, access.size_bytes, access.is_load)
        if kind is not None:
            self._fail(self._refused_access(kind, access.address, access.size_bytes, pc))
            return True
        self._counting.add_unaligned(carry_out(self._cpu, access), pc)
        if self.followed:
            self.followed.watch.access(access.is_load, access.address, access.size_bytes)
            if self._ended is not None:
                self._end(self._ended)
        self.pc = pc + access.instruction_bytes
        return self._go_on_behind(self.pc)

    # --- the core's own registers ---------------------------------------------------------

    def _on_register(self, address: int, value: int) -> None:
        if address in (CPACR, FPCCR):
            self.control.set_fpu_alert()
        elif address == CCR:
            self.set_divide_trap()
        self.control.review()

    def set_divide_trap(self) -> None:
        words = self.control.peripherals.words
        self._state.trap_divide = bool(words.get(CCR, 0) & CCR_DIV_0_TRP)
