"""The call chain that took the stack to its peak, unwound after the run.

Registers and stack are kept from the moment at which SP was lowest (`deepest_stack.py`). Frames are
found from the code alone (`stack_frames.py`), and each return address must follow a call.
"""

from __future__ import annotations

from collections.abc import Callable

from .elf import Elf
from .stack_capture import Capture, ChainFrame, Context
from .stack_frames import FunctionFrames, StackFrames
from .stack_values import FrameState, Origin
from .thumb import LR
from .thumb_targets import Read

MOST_FRAMES = 1024
_EXCEPTION_RETURN = 0xFFFFFF00  # LR from here up is EXC_RETURN; all ones at reset
_RESET_LR = 0xFFFFFFFF
EXCEPTION = "(exception)"


def unwind(
    capture: Capture,
    stack_top: int,
    elf: Elf,
    frames: StackFrames,
    read: Read,
    caller: Callable[[int], Context | None] = lambda _address: None,
) -> list[ChainFrame]:
    """The frames at the peak, the outermost first; together they are all the stack's bytes.

    `caller` gives what runs on where a return address is not the firmware's.
    """  # fmt: skip
    chain: list[ChainFrame] = []
    context, low = capture.context, capture.lowest_sp
    while len(chain) < MOST_FRAMES:
        function = elf.function_at(context.pc)
        walked = frames.function(function.address) if function else None
        state = _state_at(walked, context.pc)
        base = None if state is None else _entry_sp(state, context)
        if function is None or state is None or base is None or not low <= base <= stack_top:
            break
        chain.append(ChainFrame(function.name, base - low))
        low = base
        return_address, saved = _restored(state, context, base, capture.word)
        if return_address is None or return_address == _RESET_LR:
            break
        outside = caller(return_address & ~1)
        if outside is not None:
            context = outside
            continue
        if return_address >= _EXCEPTION_RETURN:
            frame = _exception_frame(return_address, base, saved, capture.word)
            if frame is None:
                break
            context = frame
            chain.append(ChainFrame(EXCEPTION, context.sp - low))
            low = context.sp
            continue
        call = _call_before(return_address & ~1, read)
        if call is None:
            break
        context = Context(call, base, None, saved)
    if low < stack_top:
        chain.append(ChainFrame(None, stack_top - low))
    chain.reverse()
    return chain


def _state_at(walked: FunctionFrames | None, pc: int) -> FrameState | None:
    return None if walked is None else walked.states.get(pc)


def _entry_sp(state: FrameState, context: Context) -> int | None:
    """SP at the function's entry."""
    if state.sp is not None:
        return context.sp - state.sp
    for register, known in context.saved.items():
        value = state.registers[register]
        if value is not None and value[0] is Origin.FRAME and known is not None:
            return known - value[1]
    return None


def _restored(
    state: FrameState, context: Context, base: int, word: Callable[[int], int | None]
) -> tuple[int | None, dict[int, int | None]]:
    """What LR and r4 to r11 held when the function was entered."""

    def entry_value(register: int) -> int | None:
        offset = state.kept_at(register)
        if offset is not None:
            return word(base + offset)
        for holder, known in (*context.saved.items(), (LR, context.lr)):
            if state.registers[holder] == (Origin.ENTRY, register):
                return known
        return None

    return entry_value(LR), {register: entry_value(register) for register in range(4, 12)}


def _call_before(return_address: int, read: Read) -> int | None:
    """The address of the BL or BLX that `return_address` is behind; None where there is none."""
    code = read(return_address - 4, 4)
    first, second = int.from_bytes(code[:2], "little"), int.from_bytes(code[2:], "little")
    if second & 0xFF87 == 0x4780:
        return return_address - 2
    if first & 0xF800 == 0xF000 and second & 0xD000 == 0xD000:
        return return_address - 4
    return None


def _exception_frame(
    exc_return: int,
    at: int,
    saved: dict[int, int | None],
    word: Callable[[int], int | None],
) -> Context | None:
    """What an exception interrupted, from the frame at `at` (ARMv7-M ARM B1.5.6).

    None where it lies on the other stack.
    """
    if exc_return & 4:
        return None
    lr, pc, xpsr = (word(at + offset) for offset in (0x14, 0x18, 0x1C))
    if lr is None or pc is None or xpsr is None:
        return None
    size_bytes = 0x20 if exc_return & 0x10 else 0x68
    return Context(pc & ~1, at + size_bytes + (4 if xpsr & 1 << 9 else 0), lr, saved)
