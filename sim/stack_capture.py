"""The moment at which the stack was deepest, and what is found in it.

Apart from the unwinding (`call_chain.py`), which a run that shows no record never loads.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_STACK_BYTES = 64 << 10  # captured; what lies above stays unknown


@dataclass(frozen=True)
class ChainFrame:
    """A function of the chain and the bytes of stack that it held.

    `function` is None for the rest that could not be unwound, `EXCEPTION` for the frame that the
    core pushed on taking one.
    """

    function: str | None
    frame_bytes: int


@dataclass(frozen=True)
class Context:
    """Registers r4 to r11, SP and LR before the instruction at `pc`; None where not known."""

    pc: int
    sp: int
    lr: int | None
    saved: dict[int, int | None]


@dataclass(frozen=True)
class Capture:
    """The moment at which SP was about to reach `lowest_sp`, its lowest so far."""

    context: Context
    lowest_sp: int
    stack: bytes  # from context.sp up

    def word(self, address: int) -> int | None:
        offset = address - self.context.sp
        if offset < 0 or offset + 4 > len(self.stack):
            return None
        return int.from_bytes(self.stack[offset : offset + 4], "little")
