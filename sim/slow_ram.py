"""A RAM of the board whose first access in a row takes longer than the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .thumb import PC, Instruction, Kind

_LOADS = (Kind.LOAD, Kind.LOAD_MULTIPLE, Kind.POP_PC, Kind.LOAD_PC, Kind.FP_LOAD)
_BURST_STORES = (Kind.STORE_MULTIPLE, Kind.FP_STORE)
_ACCESSES = (*_LOADS, *_BURST_STORES, Kind.STORE)
# Split instructions behind a slow access until the core's three-word fetch buffer runs dry.
_STARVING_RUN = 3


@dataclass(frozen=True)
class SlowRam:
    """Where it lies, and how many cycles the first access of an instruction takes more.

    Attributes:
        first_access_cycles: of each load that is not pipelined behind another, and of each LDM,
            STM, PUSH and POP; none of a single store, which leaves through the write buffer.
        starved_cycles: cycles that the third of three 32-bit instructions off word alignment
            waits for its fetch where they follow an access, a single store too, and the first two
            are none.
    """

    address: int
    size_bytes: int
    first_access_cycles: int
    starved_cycles: int = 0

    @property
    def last_address(self) -> int:
        """The end itself: an empty stack's pointer lies there."""
        return self.address + self.size_bytes

    def extra_cycles(self, instructions: Sequence[Instruction], index: int, pipelined: bool) -> int:
        """What instruction `index` takes more where its address lies in this RAM.

        `pipelined`: it overlaps with the load before it.
        """
        instruction = instructions[index]
        if instruction.literal or not base_registers(instruction):
            return 0
        first = instruction.kind in _BURST_STORES or (instruction.kind in _LOADS and not pipelined)
        cycles = self.first_access_cycles if first else 0
        if instruction.kind in _ACCESSES and _starves(
            instructions[index + 1 : index + 1 + _STARVING_RUN]
        ):
            cycles += self.starved_cycles
        return cycles


def base_registers(instruction: Instruction) -> tuple[int, ...]:
    """Numbers of the registers that an address is made of, the program counter left out."""
    return tuple(number for number in range(PC) if instruction.address_registers >> number & 1)


def _starves(behind: Sequence[Instruction]) -> bool:
    return (
        len(behind) == _STARVING_RUN
        and all(_is_split(one) for one in behind)
        and not any(one.kind in _ACCESSES for one in behind[:-1])
    )


def _is_split(instruction: Instruction) -> bool:
    return instruction.size == 4 and instruction.address & 2 != 0 and instruction.condition is None
