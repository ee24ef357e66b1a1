"""Everything about exceptions that a running machine needs: what waits, when, and what comes of it.

Exceptions are taken between basic blocks. The engine stops there when the cycles reach `deadline`,
so that a run without exceptions never comes here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import engine as stops
from . import unicorn_library as uc
from .core import Core
from .counting import Counting
from .exception_entry import ExceptionEntry, InvalidReturn
from .exceptions import HARD_FAULT, SVCALL, SYSTICK, Exceptions, exception_name
from .fault_delivery import Delivery
from .faults import Fault, Place
from .nvic import Nvic
from .peripherals import CCR, CPACR, SCR, SCR_SEVONPEND, SCR_SLEEPONEXIT, Peripherals
from .system_registers import Operation, SystemRegisters, system_instruction
from .systick import SysTick

SLEEP = "sleep"  # the cause of stalls: WFI, WFE and SLEEPONEXIT
_FPU_ENABLED = 0xF << 20
_CCR_USERSETMPEND = 1 << 1
_STIR = 0xE000EF00


class ExceptionControl:
    """Exceptions of one machine.

    Args:
        cycles: cycles up to the access to a register that is under way.
        changed: hears of every word stored on the private peripheral bus.
        is_memory: whether so many bytes at an address can be read (True) or written (False).
        check_frame: raises what the machine says to a frame of so many bytes at an address.
        clear_exclusive: makes the next store-exclusive fail.
        place: names the instruction at an address.
    """

    def __init__(
        self,
        cpu: uc.Cpu,
        core: Core,
        priority_bits: int,
        counting: Counting,
        cycles: Callable[[], int],
        changed: Callable[[int, int], None],
        is_memory: Callable[[int, int, bool], bool],
        check_frame: Callable[[int, int], None],
        clear_exclusive: Callable[[], None],
        place: Callable[[int], Place],
    ) -> None:
        is_armv6m = core.architecture == "armv6-m"
        self._cpu = cpu
        self._core = core
        self._counting = counting
        self._state: Any = counting.state
        self._engine = counting.engine
        self._check_frame = check_frame
        self._clear_exclusive = clear_exclusive
        self._place = place
        self._open_calls: list[int] = []  # depths of the call tree at which handlers were entered
        self.exceptions = Exceptions(32 if is_armv6m else 240, priority_bits)
        self._systick = SysTick()
        self._nvic = Nvic(self.exceptions, is_armv6m)
        self.registers = SystemRegisters(cpu, self.exceptions, not is_armv6m)
        self.peripherals = Peripherals(
            core.name,
            core.has_fpu,
            self._nvic,
            self._systick,
            cycles,
            lambda: self.registers.running,
            changed,
        )
        self.entry = ExceptionEntry(
            cpu, core, self.exceptions, counting, self.peripherals.words, is_memory
        )

    # --- while it runs --------------------------------------------------------------------

    def review(self) -> None:
        """After a change of what is pending or masked: let the engine stop where it matters."""
        exceptions = self.exceptions
        waits = bool(exceptions.pending)
        if self._nvic.reset_requested or (waits and exceptions.next(self.registers.primask)):
            self._state.deadline = 0  # at the end of the block
        else:
            due = self._systick.next_exception()
            if due is not None:
                self._state.deadline = min(self._state.deadline, due)
        self._state.trap_system = int(waits or exceptions.unprivileged)

    def set_fpu_alert(self) -> None:
        """Stop before floating-point instructions while CPACR forbids them or a context waits."""
        enabled = self.peripherals.words.get(CPACR, 0) & _FPU_ENABLED == _FPU_ENABLED
        watch = not enabled or self.entry.fpu_is_unsaved
        self._state.alert = stops.ALWAYS_ALERT | (stops.FLAG_FPU if watch else 0)

    def may_access(self, address: int, is_write: bool) -> bool:
        """Whether the code that runs may access that address of the private peripheral bus."""
        if not self.exceptions.unprivileged or self.registers.running:
            return True
        allowed = self.peripherals.words.get(CCR, 0) & _CCR_USERSETMPEND
        return bool(is_write and address == _STIR and allowed)

    # --- between blocks: each returns where to go on --------------------------------------

    def take_pending(self, pc: int) -> int:
        """Take the exception that is due before the instruction at `pc`; `pc` where none is.

        Raises:
            Fault: there is no handler, or no room for its frame.
        """
        self._catch_up()
        if self._nvic.reset_requested:
            self._nvic.reset_requested = False
            self._engine.jump()
            raise Fault("reset", "asks for a reset (AIRCR.SYSRESETREQ)", self._place(pc))
        if self.exceptions.pending:
            number = self.exceptions.next(self.registers.primask)
            if number is not None:
                pc = self._take(number, pc)
        self.review()
        return pc

    def supervisor_call(self, pc: int) -> int:
        """SVC ran; `pc` is behind it."""
        if self.exceptions.may_take(SVCALL, self.registers.primask):
            return self._take(SVCALL, pc)
        self._engine.jump()
        raise Fault(
            "hard-fault", "SVC where its priority does not let it be taken", self._place(pc)
        )

    def exception_return(self, pc: int) -> int:
        """A handler branched to an EXC_RETURN; `pc` is that without its lowest bit."""
        exc_return = pc | 1
        block = self._counting.current_block()
        last = pc if block is None else block.instructions[-1].address
        self._engine.jump()
        self._catch_up()
        try:
            self.entry.leave()
            self._engine.leave_handler()
            number = self.exceptions.next(self.registers.primask)
            if number is not None:  # what is more urgent than the code returned to
                handler = self._handler(number, last)
                self.entry.chain(number, exc_return, last)
                self._close_call()
                self._open_call()
                return handler
            pc = self.entry.unstack(exc_return, last)
        except InvalidReturn as error:
            raise Fault(
                "exception-return", f"invalid exception return: {error}", self._place(last)
            ) from error
        self._close_call()
        self.set_fpu_alert()
        if exc_return & 8 and self.peripherals.words.get(SCR, 0) & SCR_SLEEPONEXIT:
            self._sleep(pc, None)
        return pc

    def system(self, pc: int, limit: int | None) -> int:
        """Do the instruction at `pc`, which Unicorn was kept from. `limit` is in cycles."""
        instruction = system_instruction(self._cpu.read(pc, 4))
        assert instruction is not None
        operation = instruction.operation
        exceptions = self.exceptions
        if operation is Operation.SEND_EVENT:
            exceptions.event = True
        elif operation is Operation.WAIT_FOR_EVENT:
            if not exceptions.event:
                self._sleep(pc, limit, for_event=True)
            exceptions.event = False
        elif operation is Operation.WAIT_FOR_INTERRUPT:
            self._sleep(pc, limit)
        elif operation is not Operation.YIELD:
            self.registers.carry_out(instruction)
            self._state.sp_unknown = 1
        self._cpu.advance_it()
        return pc + instruction.size

    def deliver(self, fault: Fault, delivery: Delivery, return_address: int) -> int:
        """Hand a fault of the firmware to its own handler (B1.5.14).

        Raises:
            Fault: the core would lock up, or there is no handler.
        """
        nvic, exceptions = self._nvic, self.exceptions
        number = delivery.exception
        primask = self.registers.primask
        if self._core.architecture == "armv6-m":
            number = HARD_FAULT
        else:
            nvic.cfsr |= delivery.cfsr
            if delivery.has_address and fault.address is not None:
                nvic.bfar = fault.address
            if (
                number == HARD_FAULT
                or not exceptions.is_enabled(number)
                or not exceptions.may_take(number, primask)
            ):
                nvic.hfsr |= 1 << 30  # FORCED
                number = HARD_FAULT
        if not exceptions.may_take(number, primask):
            running = exception_name(self.registers.running)
            self._engine.jump()
            raise Fault(
                "lockup", f"{fault.reason}, in {running}: lockup", fault.place, fault.address
            )
        return self._take(number, return_address)

    # --- parts ----------------------------------------------------------------------------

    def _catch_up(self) -> None:
        if self._systick.advance(self._counting.cycles):
            self.exceptions.pending.add(SYSTICK)

    def _handler(self, number: int, pc: int) -> int:
        try:
            return self.entry.handler(number)
        except ValueError as error:
            name = exception_name(number)
            raise Fault(
                "no-handler", f"{name} cannot be taken: {error}", self._place(pc)
            ) from error

    def _take(self, number: int, return_address: int) -> int:
        self._engine.jump()
        handler = self._handler(number, return_address)
        self.entry.enter(number, handler, return_address, self._check_frame)
        self._open_call()
        self._clear_exclusive()
        self.set_fpu_alert()
        return handler

    def _open_call(self) -> None:
        """For a profile: what runs next is a handler, called by what it interrupted."""
        if self._counting.call_tree:
            self._open_calls.append(self._counting.call_tree.enter(interrupts=True))

    def _close_call(self) -> None:
        if self._counting.call_tree and self._open_calls:
            self._counting.call_tree.leave(self._open_calls.pop())

    def _sleep(self, pc: int, limit: int | None, for_event: bool = False) -> None:
        """Let time pass up to what wakes the core, or to `limit`."""
        counting, exceptions = self._counting, self.exceptions
        while True:
            self._catch_up()
            if for_event:
                sevonpend = self.peripherals.words.get(SCR, 0) & SCR_SEVONPEND
                wakes = exceptions.next(self.registers.primask) is not None
                wakes = wakes or bool(sevonpend and exceptions.pending)
            else:
                wakes = exceptions.wakes()
            if wakes:
                return
            due = self._systick.next_exception()
            if due is None or SYSTICK in exceptions.pending:  # it will never be taken
                self._engine.jump()
                raise Fault(
                    "no-wake-up",
                    "waits for an interrupt (WFI or WFE) that cannot come",
                    self._place(pc),
                )
            if limit is not None and due > limit:
                counting.add(SLEEP, max(0, limit - counting.cycles), pc)
                return
            counting.add(SLEEP, due - counting.cycles, pc)

    # --- snapshots ------------------------------------------------------------------------

    def save(self) -> tuple[Any, ...]:
        """A copy of everything that changes, for `restore`."""
        return (
            dict(self.peripherals.words),
            self.exceptions.save(),
            self._systick.save(self._counting.cycles),
            self._nvic.save(),
        )

    def restore(self, saved: tuple[Any, ...]) -> None:
        """Back to what was saved; the cycles go on from where they are."""
        words, exceptions, systick, nvic = saved
        self.peripherals.words.clear()
        self.peripherals.words.update(words)
        self.exceptions.restore(exceptions)
        self._systick.restore(systick, self._counting.cycles)
        self._nvic.restore(nvic)
        self._open_calls.clear()
        self.set_fpu_alert()
        self.review()
