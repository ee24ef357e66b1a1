"""Names what the silicon refuses: from what stopped a run to the error that says so."""

from __future__ import annotations

from typing import Any

from . import engine as stops
from . import unicorn_library as uc
from .board import Board
from .core import Core, missing_feature
from .elf import Elf
from .errors import UserError
from .faults import Fault, Place, RamExceeded, RamUse
from .thumb import Kind
from .thumb_decode import decode


def place_of(elf: Elf, pc: int) -> Place:
    """The function and, where the image has debug information, the source line at `pc`."""
    from .lines import source_line

    function = elf.function_at(pc)
    line = source_line(elf, pc)
    return Place(pc, function.name if function else None, *(line or (None, None)))


def refused_access(
    kind: int,
    address: int,
    size_bytes: int,
    place: Place,
    board: Board,
    ram_bytes: int,
    use: RamUse,
    heap_break: int,
) -> UserError:
    """The error for an access that Unicorn refused with `kind`.

    `heap_break` is the end of the heap, 0 before the first `_sbrk`.
    """
    reads = kind in (uc.MEM_READ_UNMAPPED, uc.MEM_READ_PROT)
    fetches = kind in (uc.MEM_FETCH_UNMAPPED, uc.MEM_FETCH_PROT)
    what = "fetch from" if fetches else "load from" if reads else "store to"
    ram = board.ram
    ram_end = ram.address + ram_bytes
    if not fetches and ram.address <= address < ram.end and address + size_bytes > ram_end:
        return RamExceeded(
            "heap" if heap_break and address < heap_break else "access",
            f"{what} {address:#010x}",
            place,
            address + size_bytes - ram_end,
            ram_bytes,
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


def unprivileged_access(address: int, place: Place) -> Fault:
    """The fault for unprivileged code that reaches for the core's own registers."""
    return Fault(
        "unprivileged",
        f"access to {address:#010x}: unprivileged code (CONTROL.nPRIV) cannot reach the private "
        "peripheral bus",
        place,
        address,
    )


def refused_by_unicorn(error: int, reason: str, code: bytes, place: Place) -> Fault:
    """The fault for a run that Unicorn ended by itself, with its `error` and the words for it."""
    if error == uc.ERR_INSN_INVALID:
        return Fault("undefined", f"undefined instruction {code.hex()}", place)
    return Fault("exception", f"the core stopped: {reason}", place)


def missing_on_core(core: Core, code: bytes, place: Place) -> Fault:
    """The fault for an instruction that `core` does not have."""
    instruction = decode(code, place.pc)
    kind = "undefined" if instruction.kind is Kind.UNDEFINED else "not-on-core"
    return Fault(
        kind,
        f"{core.title} cannot run the instruction {code[: instruction.size].hex()}: "
        f"it lacks {missing_feature(core, instruction)}",
        place,
    )


def fpu_is_off(place: Place) -> Fault:
    """The fault for a floating-point instruction before CPACR enables the FPU."""
    return Fault(
        "no-fpu",
        "floating-point instruction while the FPU is off: set CPACR's CP10 and CP11",
        place,
    )


def refused_growth(stop: int, state: Any, place: Place, ram_bytes: int, use: RamUse) -> UserError:
    """The error for a stack or heap (`stop`) that grew into something; `state` is the engine's."""
    over_by = use.total - ram_bytes
    if stop == stops.STOP_HEAP:
        over_by = max(over_by, state.heap_break - state.ram_end, 1)
        return RamExceeded("heap", "_sbrk grows the heap", place, over_by, ram_bytes, use)
    if over_by <= 0:
        into = "the heap" if state.heap_break else "static data"
        by = state.stack_floor - state.lowest_sp
        return Fault("stack-overflow", f"the stack runs {by} bytes into {into}; {use}", place)
    return RamExceeded(
        "stack",
        "the stack grows into other data",
        place,
        over_by,
        ram_bytes,
        use,
        state.lowest_sp,
    )
