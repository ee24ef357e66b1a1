"""What the cycle model needs to know of one instruction."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

SP, LR, PC = 13, 14, 15


class Kind(Enum):
    """Timing classes, after the instruction tables of Arm's Technical Reference Manuals."""

    ALU = "alu"
    LOAD = "load"
    STORE = "store"
    LOAD_MULTIPLE = "load multiple"  # LDM, POP, LDRD, VLDM, VPOP: `transfers` words
    STORE_MULTIPLE = "store multiple"  # STM, PUSH, STRD, VSTM, VPUSH
    MULTIPLY = "multiply"
    MULTIPLY_ACCUMULATE = "multiply-accumulate"
    MULTIPLY_LONG = "multiply long"
    MULTIPLY_LONG_ACCUMULATE = "multiply-accumulate long"
    DIVIDE = "divide"
    BRANCH = "branch"  # B, CBZ, CBNZ: to an address in the encoding
    BRANCH_LINK = "branch with link"  # BL
    BRANCH_REGISTER = "branch to register"  # BX, BLX, MOV PC, ADD PC
    LOAD_PC = "load pc"  # LDR PC
    POP_PC = "pop pc"  # POP or LDM with PC among the registers
    TABLE_BRANCH = "table branch"  # TBB, TBH
    IT = "it"
    HINT = "hint"  # NOP, WFI, WFE, SEV, YIELD
    SYSTEM = "system"  # MRS, MSR
    CHANGE_STATE = "change state"  # CPS
    BARRIER = "barrier"  # DMB, DSB, ISB
    EXCEPTION = "exception"  # SVC, BKPT
    UNDEFINED = "undefined"
    FP = "fp"  # add, subtract, multiply, convert, compare
    FP_MOVE = "fp move"  # between or within register files
    FP_MULTIPLY_ACCUMULATE = "fp multiply-accumulate"
    FP_DIVIDE = "fp divide"  # VDIV, VSQRT
    FP_LOAD = "fp load"
    FP_STORE = "fp store"

    # Looked up for every instruction decoded, and each is one object: the object's own is quick.
    __hash__ = object.__hash__


BRANCHES = frozenset(
    {
        Kind.BRANCH,
        Kind.BRANCH_LINK,
        Kind.BRANCH_REGISTER,
        Kind.LOAD_PC,
        Kind.POP_PC,
        Kind.TABLE_BRANCH,
    }
)


class Instruction(NamedTuple):
    """One instruction; `reads`, `writes` and `address_registers` are masks of r0 (bit 0) to r15.

    `transfers` counts words of a multiple access; `fp_reads` and `fp_writes` are masks of s0..s31.
    `feature` is what a core needs to have it. `stack_change` is by how many bytes SP changes (None:
    by an amount only known when it runs), `stack_lowest` the lowest SP it reaches, relative to SP
    before it. `condition` is the condition that an IT instruction put on it (None: always runs).

    A named tuple, because each run's start makes thousands: a frozen dataclass takes ten times as
    long to make.
    """

    address: int
    size: int
    kind: Kind
    feature: str = "base"
    reads: int = 0
    writes: int = 0
    address_registers: int = 0
    transfers: int = 0
    fp_reads: int = 0
    fp_writes: int = 0
    register_offset: bool = False
    literal: bool = False
    conditional_branch: bool = False
    is_signed: bool = False
    is_double: bool = False
    stack_change: int | None = 0
    stack_lowest: int = 0
    it: int = 0  # an IT instruction's condition and mask, its low byte
    condition: int | None = None
    access_bytes: int = 0  # of one transfer: what the address must be a multiple of, or unaligned
    must_align: bool = False
    operands: tuple[int, int] = (0, 0)  # of a division or long multiply: Rn, Rm

    @property
    def end(self) -> int:
        return self.address + self.size
