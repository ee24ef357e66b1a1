"""The machine: a board with an ELF image in its flash, that runs and is measured."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from . import engine as stops
from . import unicorn_library as uc
from .board import Board
from .core import MODEL_VERSION, Core, core_named
from .cost import BoardTiming, block_cost
from .costs import CostModel
from .default_board import default_board
from .elf import Elf, Symbol
from .engine import make_engine
from .errors import UserError
from .faults import BudgetExceeded, Fault, Place, RamExceeded, RamUse
from .memory_use import check_placement, check_static, flash_bytes, static_bytes, static_end
from .peripherals import (
    CCR,
    CCR_DIV_0_TRP,
    CCR_UNALIGN_TRP,
    CPACR,
    PPB_BYTES,
    PPB_START,
    Peripherals,
)
from .published import model_error
from .record import SCHEMA, RegionRun, RunRecord, spread
from .semihosting import Exit, Semihosting
from .sizes import format_limit
from .thumb import Kind
from .thumb_decode import decode
from .unaligned import UNALIGNED, carry_out, decode_access

_PAGE = 1024
# LR of a call from outside points here: external RAM, executable and unmapped on every board.
_RETURN_PAGE = 0x9FFFFC00
_SLICE_CYCLES = 100_000_000  # how often a run comes back to look at the clock and for Ctrl-C
_INTERRUPT_SVC, _INTERRUPT_UNALIGNED, _INTERRUPT_BKPT = 2, 4, 7
_INTERRUPT_EXCEPTION_RETURN, _INTERRUPT_NO_FPU = 8, 17
_FPU_ENABLED = 0xF << 20


@dataclass(frozen=True)
class Snapshot:
    """Registers and memories of one moment; what was counted is not part of it."""

    context: bytes
    memories: tuple[tuple[int, bytes], ...]
    words: dict[int, int]


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
    ) -> None:
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
        ram = self.board.ram
        if ram_bytes is not None and ram_bytes > ram.size_bytes:
            raise UserError(
                f"--ram {format_limit(ram_bytes)}: {self.board.name} has only "
                f"{format_limit(ram.size_bytes)}: give less, or another board"
            )
        self.ram_bytes = ram_bytes or ram.size_bytes
        self._ram_end = ram.address + self.ram_bytes
        self.max_cycles = max_cycles
        self.timeout_seconds = timeout_seconds
        self._ended: UserError | None = None
        self._fault: Fault | None = None
        self._exit_code = 0
        self._static_end = (static_end(self.elf, self.board) + 7) & ~7
        self._static_bytes = (static_bytes(self.elf, self.board) + 7) & ~7
        check_static(self.elf, self.board, self.ram_bytes)
        self._cpu = uc.Cpu(self.core.name)
        self._board_timing = BoardTiming(self.board.store_penalty_cycles)
        self._map_memories()
        self._costs = CostModel(self.core, self._board_timing, self._cpu.read)
        self._engine = make_engine(engine, self._cpu, self._costs.fill)
        self._state = self._engine.state
        self._engine.install()
        self._memory_callback = uc.MEMORY_CALLBACK(self._on_invalid_access)
        self._cpu.hook(uc.HOOK_MEM_INVALID, self._memory_callback)
        self._access_pc = 0
        self._peripherals = Peripherals(self.core.name, self._cycles_at_access, self._on_register)
        self._cpu.map_callbacks(
            PPB_START, PPB_BYTES, self._peripherals.read, self._peripherals.write
        )
        self._semihosting = Semihosting(self._cpu.read, output or sys.stdout, errors or sys.stderr)
        self._unaligned_cycles = 0
        self._causes: dict[int, str] = {}  # of dynamic instructions, by address
        self._partial: Counter[str] = Counter()
        self._partial_cycles = self._partial_instructions = 0
        self._call_function = self._engine.add_function(stops.FUNCTION_CALL)
        self._regions: dict[str, int] = {}
        for name in regions:
            self.watch(name)
        self._watch_heap()
        self._load()
        self._reset()

    # --- set up ---------------------------------------------------------------------------

    def _map_memories(self) -> None:
        cpu, first_ram = self._cpu, self.board.ram
        for memory in self.board.memories:
            if memory.kind == "flash":
                cpu.map(memory.address, memory.size_bytes, uc.PROT_READ | uc.PROT_EXEC)
                # Erased flash: run into it, and the core meets an undefined instruction.
                cpu.write(memory.address, b"\xff" * memory.size_bytes)
            elif memory is not first_ram:
                cpu.map(memory.address, memory.size_bytes, uc.PROT_ALL)
        whole_bytes = self.ram_bytes - self.ram_bytes % _PAGE
        if whole_bytes:
            cpu.map(first_ram.address, whole_bytes, uc.PROT_ALL)
        self._last_page = first_ram.address + whole_bytes
        self._last_page_bytes = bytearray(_PAGE)
        if whole_bytes < self.ram_bytes:
            cpu.map_callbacks(self._last_page, _PAGE, self._read_last_page, self._write_last_page)
        cpu.map(_RETURN_PAGE, _PAGE, uc.PROT_READ | uc.PROT_EXEC)
        cpu.write(_RETURN_PAGE, b"\xfe\xe7" * (_PAGE // 2))

    def _read_last_page(self, offset: int, size: int) -> int:
        return int.from_bytes(self._last_page_bytes[offset : offset + size], "little")

    def _write_last_page(self, offset: int, size: int, value: int) -> None:
        mask = (1 << 8 * size) - 1
        self._last_page_bytes[offset : offset + size] = (value & mask).to_bytes(size, "little")

    def _load(self) -> None:
        for segment in self.elf.segments:
            if segment.data:
                self._cpu.write(segment.load_address, segment.data)

    def _watch_heap(self) -> None:
        for name in ("_sbrk", "sbrk", "_sbrk_r"):
            symbol = self.elf.symbols.get(name)
            if symbol is not None and symbol.is_function and name != "_sbrk_r":
                self._costs.entries[symbol.address] = self._engine.add_function(stops.FUNCTION_SBRK)
                return

    def watch(self, name: str) -> None:
        """Measure the activations of function `name` from now on; unknown names are ignored.

        Only before the function has run for the first time.
        """
        symbol = self.elf.symbols.get(name)
        if symbol is None or name in self._regions:
            return
        index = self._engine.add_function(stops.FUNCTION_REGION)
        self._regions[name] = index
        self._costs.entries[symbol.address & ~1] = index

    def _reset(self) -> None:
        """What the core does at reset: SP and PC from the vector table (ARMv7-M ARM B1.5.5)."""
        sp, pc = self._vectors()
        self.initial_sp = sp
        self.stack_top_moved_from: int | None = None
        if sp > self._ram_end and self.board.ram.address < sp <= self.board.ram.end:
            self.stack_top_moved_from = sp
            sp = self._ram_end & ~7
        self._stack_top = sp
        state = self._state
        state.ram_end = self._ram_end
        state.stack_floor = self._static_end
        state.stack_top = sp
        state.lowest_sp = sp
        state.deadline = (1 << 64) - 1
        self._cpu.set_register(uc.REG_SP, sp)
        self._cpu.set_register(uc.REG_LR, 0xFFFFFFFF)
        self._pc = pc
        self._set_fpu_alert(0)
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
        return self._ram_end & ~7, entry

    # --- looking at it --------------------------------------------------------------------

    @property
    def cycles(self) -> int:
        """Cycles counted so far."""
        return int(self._state.cycles) - self._partial_cycles

    @property
    def instructions(self) -> int:
        return int(self._state.instructions) - self._partial_instructions

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
        index = self._regions.get(name)
        function = None if index is None else self._engine.function(index)
        if function is None or not function.count:
            raise UserError(f"{self.elf.path}: the region {name!r} has not run")
        return RegionRun(function.last_cycles, function.last_instructions)

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
        for index, argument in enumerate(arguments):
            cpu.set_register(uc.REG_R0 + index, argument)
        call_sp = sp & ~7
        cpu.set_register(uc.REG_SP, call_sp)
        cpu.set_register(uc.REG_LR, _RETURN_PAGE | 1)
        self._engine.jump()
        self._engine.open_call(self._call_function, _RETURN_PAGE, call_sp)
        self._pc = address & ~1
        try:
            self._go()
        except Exit as request:
            self._engine.drop_frames()
            raise UserError(
                f"the firmware exited with {request.status} inside {function}"
            ) from None
        except UserError:
            self._engine.drop_frames()
            raise
        result = cpu.register(uc.REG_R0)
        cpu.set_register(uc.REG_SP, sp)
        cpu.set_register(uc.REG_LR, lr)
        self._pc = pc
        self._engine.jump()
        return result

    def snapshot(self) -> Snapshot:
        """Registers and RAM as they are now."""
        context = self._cpu.save_context()
        import ctypes

        size_bytes = self._cpu.library.uc_context_size(self._cpu.handle)
        raw = ctypes.string_at(context, size_bytes)
        self._cpu.library.uc_context_free(context)
        memories = []
        for memory in self.board.memories:
            if memory.kind == "ram":
                size = (
                    self._last_page - memory.address
                    if memory is self.board.ram
                    else memory.size_bytes
                )
                if size:
                    memories.append((memory.address, self._cpu.read(memory.address, size)))
        words = dict(self._peripherals.words)
        words[-1] = self._pc
        return Snapshot(raw + bytes(self._last_page_bytes), tuple(memories), words)

    def restore(self, snapshot: Snapshot) -> None:
        """Back to a snapshot; counts, peaks and regions go on from where they are."""
        import ctypes

        context = self._cpu.save_context()
        raw, page = snapshot.context[:-_PAGE], snapshot.context[-_PAGE:]
        ctypes.memmove(context, raw, len(raw))
        self._cpu.restore_context(context)
        self._cpu.library.uc_context_free(context)
        for address, data in snapshot.memories:
            self._cpu.write(address, data)
        self._last_page_bytes[:] = page
        words = dict(snapshot.words)
        self._pc = words.pop(-1)
        self._peripherals.words.clear()
        self._peripherals.words.update(words)
        self._set_fpu_alert(words.get(CPACR, 0))
        self._state.trap_divide = bool(words.get(CCR, 0) & CCR_DIV_0_TRP)
        self._engine.jump()

    def _go(self) -> None:
        """Run until something ends it: returns on arrival, raises otherwise."""
        state, cpu = self._state, self._cpu
        limit = None if self.max_cycles is None else int(state.cycles) + self.max_cycles
        started = time.monotonic()
        if self._ended is not None:
            raise UserError(f"{self.elf.path}: the run has ended: {self._ended}")
        while True:
            state.deadline = int(state.cycles) + _SLICE_CYCLES
            if limit is not None:
                state.deadline = min(state.deadline, limit)
            state.stop = stops.STOP_NONE
            error = cpu.run(self._pc)
            if self._ended is not None:
                self._end(self._ended)
            failure = self._engine.failure
            if failure is not None:
                self._engine.failure = None
                raise failure
            stop = state.stop
            if stop == stops.STOP_INTERRUPT:
                self._pc = cpu.register(uc.REG_PC)
                self._interrupt(state.interrupt)
            elif stop == stops.STOP_NONE:
                self._pc = cpu.register(uc.REG_PC)
                self._stopped_by_itself(error)
            else:
                self._pc = state.stop_address
                if stop in (stops.STOP_RETURNED, stops.STOP_ARRIVED):
                    return
                if stop == stops.STOP_UNHOOKED:
                    self._hook_block()
                elif stop == stops.STOP_DEADLINE:
                    if limit is not None and state.cycles >= limit:
                        self._end(
                            BudgetExceeded(
                                "max-cycles",
                                f"still running in {self._place(self._pc)} after "
                                f"{state.cycles:,} cycles: --max-cycles {self.max_cycles:,}",
                            )
                        )
                    if (
                        self.timeout_seconds is not None
                        and time.monotonic() - started >= self.timeout_seconds
                    ):
                        self._end(
                            BudgetExceeded(
                                "timeout",
                                f"still running in {self._place(self._pc)} after "
                                f"{self.timeout_seconds:g} s: --timeout",
                            )
                        )
                else:
                    self._refuse(stop)

    def _end(self, error: UserError) -> None:
        """The run is over, badly: keep what the record needs, count only what ran, raise."""
        self._ended = error
        self._exit_code = error.exit_code
        if isinstance(error, Fault):
            self._fault = error
            self._discount_rest_of_block(error.place.pc)
        raise error

    def _discount_rest_of_block(self, pc: int) -> None:
        current = self._engine.current()
        if current == stops.NO_BLOCK:
            return
        block = self._costs.blocks[current]
        if not any(one.address == pc for one in block.instructions) or self._state.stop in (
            stops.STOP_NO_FPU,
            stops.STOP_STACK,
        ):
            return
        earlier = [one for one in block.instructions if one.address < pc]
        self._partial.update(block.cost.stalls)
        self._partial_instructions = len(block.instructions)
        self._partial_cycles = block.cost.cycles
        if earlier:
            cost = block_cost(self.core, self._board_timing, earlier, block.before)
            self._partial.subtract(cost.stalls)
            self._partial_instructions -= len(earlier)
            self._partial_cycles -= cost.cycles

    def _hook_block(self) -> None:
        """Hook the dynamic instructions of the block about to run, and translate it anew."""
        index = self._engine.current()
        block = self._costs.blocks[index]
        missing = [
            at for at in self._costs.watched_instructions(block) if at not in self._costs.hooked
        ]
        dynamic = {one.address: one for one in block.cost.dynamic}
        by_address = {one.address: one for one in block.instructions}
        from .core import missing_feature

        for address in missing:
            record = self._engine.add_instruction(address)
            if record is None:
                raise UserError(f"{self.elf.path}: too many conditional instructions to follow")
            instruction = by_address[address]
            record.address = address
            if missing_feature(self.core, instruction):
                record.kind = stops.KIND_ILLEGAL
            else:
                cost = dynamic[address]
                if cost.kind == "executed":
                    record.kind = stops.KIND_EXECUTED
                    record.cycles = cost.extra_cycles
                else:
                    timing = self.core.timing
                    record.kind = (
                        stops.KIND_DIVIDE if cost.kind == "divide" else stops.KIND_LONG_MULTIPLY
                    )
                    record.is_signed = cost.is_signed
                    record.dividend = uc.REG_R0 + cost.dividend
                    record.divisor = uc.REG_R0 + cost.divisor
                    record.least_cycles = timing.divide_least
                    record.most_cycles = timing.divide_most
                    record.cycles = int(instruction.kind is Kind.MULTIPLY_LONG_ACCUMULATE)
                    executed = [
                        d
                        for d in block.cost.dynamic
                        if d.address == address and d.kind == "executed"
                    ]
                    record.executed_cycles = sum(d.extra_cycles for d in executed)
            self._causes.setdefault(address, dynamic[address].cause if address in dynamic else "")
            self._costs.hooked.add(address)
            self._engine.hook_instructions(address, address)
        last = block.instructions[-1]
        self._cpu.forget_translation(block.address, last.address + last.size)
        for number, other in enumerate(self._costs.blocks):
            if other.address == block.address:
                self._engine.block(number).flags &= ~stops.FLAG_UNHOOKED

    # --- what stops a run -----------------------------------------------------------------

    def _place(self, pc: int) -> Place:
        from .lines import source_line

        function = self.elf.function_at(pc)
        line = source_line(self.elf, pc)
        return Place(pc, function.name if function else None, *(line or (None, None)))

    def _on_invalid_access(
        self, _uc: Any, kind: int, address: int, size: int, _value: int, _user: Any
    ) -> bool:
        """Unicorn: an access to memory that is unmapped or protected. True lets it happen."""
        try:
            pc = self._cpu.register(uc.REG_PC)
            is_data = kind in (uc.MEM_READ_PROT, uc.MEM_WRITE_PROT)
            if is_data and PPB_START <= address < PPB_START + PPB_BYTES:
                self._access_pc = pc
                return True
            if is_data and self._last_page <= address and address + size <= self._ram_end:
                return True
            if self._ended is None:
                self._ended = self._refused_access(kind, address, size, pc)
        except BaseException as error:
            self._engine.failure = error
        return False

    def _refused_access(self, kind: int, address: int, size: int, pc: int) -> UserError:
        reads = kind in (uc.MEM_READ_UNMAPPED, uc.MEM_READ_PROT)
        fetches = kind in (uc.MEM_FETCH_UNMAPPED, uc.MEM_FETCH_PROT)
        what = "fetch from" if fetches else "load from" if reads else "store to"
        place = self._place(pc)
        ram = self.board.ram
        if not fetches and ram.address <= address < ram.end and address + size > self._ram_end:
            use = self.ram_use()
            grew = "access"
            if self._state.heap_break and address < self._state.heap_break:
                grew = "heap"
            return RamExceeded(
                grew,  # type: ignore[arg-type]
                f"{what} {address:#010x}",
                place,
                address + size - self._ram_end,
                self.ram_bytes,
                use,
                address,
            )
        if kind == uc.MEM_WRITE_PROT:
            return Fault("write-to-flash", f"store to flash at {address:#010x}", place, address)
        where = "no memory there"
        if 0x40000000 <= address < 0x60000000:
            where = "the board's peripherals are not modelled"
        if fetches:
            return Fault("unmapped", f"jump to {address:#010x}: {where}", place, address)
        return Fault("unmapped", f"{what} {address:#010x}: {where}", place, address)

    def _stopped_by_itself(self, error: int) -> None:
        place = self._place(self._pc)
        if error == uc.ERR_INSN_INVALID:
            code = self._instruction_bytes()
            self._end(Fault("undefined", f"undefined instruction {code.hex()}", place))
        if error == uc.ERR_OK:
            self._end(
                Fault("no-wake-up", "waits for an interrupt (WFI or WFE) that cannot come", place)
            )
        reason = self._cpu.library.uc_strerror(error).decode()
        self._end(Fault("exception", f"the core stopped: {reason}", place))

    def _instruction_bytes(self) -> bytes:
        try:
            first = self._cpu.read(self._pc, 2)
            return first if first[1] >> 3 < 0x1D else self._cpu.read(self._pc, 4)
        except uc.UnicornError:
            return b""

    def _refuse(self, stop: int) -> None:
        place = self._place(self._pc)
        if stop == stops.STOP_ILLEGAL:
            from .core import missing_feature

            code = self._cpu.read(self._pc, 4)
            lacks = missing_feature(self.core, decode(code, self._pc))
            kind = "undefined" if decode(code, self._pc).kind is Kind.UNDEFINED else "not-on-core"
            self._end(
                Fault(
                    kind,
                    f"{self.core.title} cannot run the instruction "
                    f"{self._instruction_bytes().hex()}: it lacks {lacks}",
                    place,
                )
            )
        if stop == stops.STOP_NO_FPU:
            block = self._costs.blocks[self._engine.current()]
            at = next(i.address for i in block.instructions if "fp" in i.feature)
            self._end(
                Fault(
                    "no-fpu",
                    "floating-point instruction while the FPU is off: set CPACR's CP10 and CP11",
                    self._place(at),
                )
            )
        if stop == stops.STOP_DIVIDE:
            self._end(Fault("divide-by-zero", "division by zero with CCR.DIV_0_TRP set", place))
        use = self.ram_use()
        over_by = use.total - self.ram_bytes
        if stop == stops.STOP_STACK and over_by <= 0:
            into = "the heap" if self._state.heap_break else "static data"
            by = self._state.stack_floor - self._state.lowest_sp
            self._end(
                Fault("stack-overflow", f"the stack runs {by} bytes into {into}; {use}", place)
            )
        if stop == stops.STOP_STACK:
            self._end(
                RamExceeded(
                    "stack",
                    "the stack grows into other data",
                    place,
                    over_by,
                    self.ram_bytes,
                    use,
                    self._state.lowest_sp,
                )
            )
        over_by = max(over_by, self._state.heap_break - self._ram_end, 1)
        self._end(RamExceeded("heap", "_sbrk grows the heap", place, over_by, self.ram_bytes, use))

    def _interrupt(self, number: int) -> None:
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
        elif number == _INTERRUPT_UNALIGNED:
            self._unaligned(pc)
        elif number == _INTERRUPT_NO_FPU:
            self._end(Fault("no-fpu", "coprocessor instruction without that unit", self._place(pc)))
        else:
            names = {_INTERRUPT_SVC: "SVC", _INTERRUPT_EXCEPTION_RETURN: "exception return"}
            name = names.get(number, f"exception {number}")
            self._end(
                Fault("exception", f"{name}: exceptions are not modelled yet", self._place(pc))
            )

    def _unaligned(self, pc: int) -> None:
        """An unaligned access: a fault, or done in parts at a cost (ARMv7-M ARM A3.2.1)."""
        trapped = self._peripherals.words.get(CCR, 0) & CCR_UNALIGN_TRP
        may = not self.core.unaligned_faults and not trapped
        access = decode_access(self._cpu, pc) if may else None
        if access is None:
            self._end(
                Fault("unaligned", "unaligned access that this core refuses", self._place(pc))
            )
            return
        kind = self._why_refused(access.address, access.size_bytes, access.is_load)
        if kind is not None:
            self._end(self._refused_access(kind, access.address, access.size_bytes, pc))
        extra = self.core.timing.unaligned_access * carry_out(self._cpu, access)
        self._unaligned_cycles += extra
        self._state.cycles += extra
        self._pc = pc + access.instruction_bytes
        self._engine.resume(self._pc)

    def _why_refused(self, address: int, size: int, is_load: bool) -> int | None:
        """Unicorn's kind of the invalid access that this one would be; None where it is allowed."""
        for memory in self.board.memories:
            end = self._ram_end if memory is self.board.ram else memory.end
            if memory.address <= address and address + size <= end:
                if memory.kind == "flash" and not is_load:
                    return uc.MEM_WRITE_PROT
                return None
        return uc.MEM_READ_UNMAPPED if is_load else uc.MEM_WRITE_UNMAPPED

    # --- the core's own registers ---------------------------------------------------------

    def _cycles_at_access(self) -> int:
        """Cycles before the instruction that is accessing a register now."""
        current = self._engine.current()
        if current == stops.NO_BLOCK:
            return self.cycles
        block = self._costs.blocks[current]
        whole = int(self._engine.block(current).cycles)
        so_far = block.cycles_before(self.core, self._board_timing, self._access_pc)
        return self.cycles - whole + so_far

    def _on_register(self, address: int, value: int) -> None:
        if address == CPACR:
            self._set_fpu_alert(value)
        elif address == CCR:
            self._state.trap_divide = bool(value & CCR_DIV_0_TRP)

    def _set_fpu_alert(self, cpacr: int) -> None:
        enabled = cpacr & _FPU_ENABLED == _FPU_ENABLED
        self._state.alert = stops.ALWAYS_ALERT | (0 if enabled else stops.FLAG_FPU)

    # --- what came of it ------------------------------------------------------------------

    def stalls(self) -> dict[str, int]:
        """Cycles beyond one for each instruction, by cause; instructions plus these are cycles."""
        found: Counter[str] = Counter()
        for index, block in enumerate(self._costs.blocks):
            counted = self._engine.block(index)
            count, taken = counted.count, counted.taken
            for cause, cycles in block.cost.stalls.items():
                found[cause] += cycles * count
            found[block.cost.taken_cause] += block.cost.taken_cycles * taken
            if block.entered_by_branch:
                found[block.cost.entry_cause] += block.cost.entry_cycles * count
        for instruction in self._engine.instructions():
            found[self._causes.get(instruction.address, "")] += instruction.extra
        found[UNALIGNED] += self._unaligned_cycles
        found.subtract(self._partial)
        return {cause: cycles for cause, cycles in sorted(found.items()) if cycles}

    def record(self) -> RunRecord:
        """The run record: cycles, regions, memory, fault; see record.schema.json."""
        use = self.ram_use()
        regions = {}
        for name, index in self._regions.items():
            samples = self._engine.samples(index)
            if samples:
                regions[name] = {
                    "count": int(self._engine.function(index).count),
                    "cycles": spread([cycles for cycles, _ in samples]),
                    "instructions": spread([instructions for _, instructions in samples]),
                }
        error = model_error(self.core.name, self.board.store_penalty_cycles)
        deepest = self.elf.function_at(self._state.lowest_sp_address)
        return RunRecord(
            {
                "schema": SCHEMA,
                "kind": "sim",
                "elf": {"path": str(self.elf.path), "sha256": self.elf.sha256},
                "core": self.core.name,
                "board": self.board.name,
                "clock_hz": self.board.clock_hz,
                "model": {
                    "version": MODEL_VERSION,
                    "wait_states": 0,  # all that version 1 models, whatever the board's flash has
                    "store_penalty_cycles": self._board_timing.store_penalty_cycles,
                    "error": asdict(error) if error else None,
                },
                "engine": self._engine.name,
                "cycles": self.cycles,
                "instructions": self.instructions,
                "stalls": self.stalls(),
                "regions": regions,
                "memory": {
                    "flash": flash_bytes(self.elf, self.board),
                    "static": use.static,
                    "heap": use.heap,
                    "stack": use.stack,
                    "ram": use.total,
                    "ram_limit": self.ram_bytes,
                    "deepest_function": deepest.name if deepest else None,
                    "stack_top_moved_from": self.stack_top_moved_from,
                },
                "fault": self._fault.record() if self._fault else None,
                "exit": self._exit_code,
            }
        )
