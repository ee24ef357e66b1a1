"""The cycle rules of each core: data only, each row with its source.

TRM stands for the core's Technical Reference Manual; "measured" for published figures of real
boards that the rule was held against.

    M0   Cortex-M0 TRM r0p0 (DDI 0432C), table 3-1
    M0+  Cortex-M0+ TRM r0p1 (DDI 0484C), table 3-1
    M3   Cortex-M3 TRM r2p1 (DDI 0337I), section 3.3: instruction set summary, load/store timings
    M4   Cortex-M4 TRM r0p1 (DDI 0439D), table 3-1, section 3.3.2 and table 7-1
    M7   no table is published: an approximation, not validated
    M33  no table is published: the M4's rules, not validated
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Timing:
    """Cycles of one core. Costs are of the whole instruction; `*_refill` come on top when a branch
    is taken, `*_interlock` when an instruction waits for the one before it."""

    load: int  # LDR, LDRB...
    store: int  # STR with an immediate offset
    store_register_offset: int  # STR with a register offset
    load_pipelined: int  # a load, or a store, directly behind a load
    multiple_base: int  # LDM, STM, PUSH, POP, LDRD, STRD: this and 1 for each word
    branch_refill: int  # B, CBZ
    branch_link: int  # BL: the whole, beyond 1
    branch_register: int  # BX, BLX, MOV PC: beyond 1
    load_pc: int  # LDR PC: beyond a load
    pop_pc: int  # POP with PC: beyond that of POP
    table_branch: int  # TBB, TBH: beyond a load
    unaligned_target: int  # a taken branch to a 32-bit instruction that is not word-aligned
    address_interlock: int  # a loaded register is the next instruction's address
    result_interlock: int  # a computed register is the next load's or store's address
    multiply: int
    multiply_accumulate: int
    multiply_long: int  # least
    multiply_long_accumulate: int  # least
    multiply_long_early: bool  # the long multiplies take more for wide operands (M3)
    divide_least: int
    divide_most: int
    skipped: int  # an instruction whose IT condition failed
    system: int  # MRS, MSR
    barrier: int
    unaligned_access: int  # more for each further access that an unaligned one is split into
    fp: int = 1
    fp_move_pair: int = 2
    fp_multiply_accumulate: int = 3
    fp_divide: int = 14
    fp_load: int = 1  # and 1 for each word
    fp_interlock: int = 1  # an fp result is used by the next instruction
    dual_issue: bool = False
    it_folds: bool = False  # IT behind a 16-bit data-processing instruction takes no cycle
    compare_branch: int = 0  # CBZ, CBNZ taken: beyond B; once more if just computed
    split_wide: int = 0  # a split 32-bit instruction directly behind a split 32-bit load
    load_behind_store: int = 0  # a load directly behind an STR that is not behind a load
    # M3 TRM and M4 TRM, exception handling: at most 12 from asserting an interrupt to the handler's
    # first instruction, 12 to return, 6 to tail-chain. For M0 and M0+ only the entry is published.
    exception_entry: int = 12
    exception_return: int = 12
    tail_chain: int = 6
    exception_fpu: int = 17  # words of a floating-point context: ARM application note 298


# M0 TRM table 3-1: LDR and STR 2, LDM, STM, PUSH, POP 1 + N, POP with PC 4 + N, B taken 3, BL 4,
# BX 3, MOV PC and ADD PC 3, MRS and MSR 4, barriers 4, MULS 1 (or 32:
# core.py's `with_small_multiplier`).
M0 = Timing(
    load=2,
    store=2,
    store_register_offset=2,
    load_pipelined=2,
    multiple_base=1,
    branch_refill=2,
    branch_link=3,
    branch_register=2,
    load_pc=0,
    pop_pc=3,
    table_branch=0,
    unaligned_target=0,
    address_interlock=0,
    result_interlock=0,
    multiply=1,
    multiply_accumulate=1,
    multiply_long=1,
    multiply_long_accumulate=1,
    multiply_long_early=False,
    divide_least=1,
    divide_most=1,
    skipped=1,
    system=4,
    barrier=4,
    unaligned_access=0,
    exception_entry=16,
)

# M0+ TRM table 3-1: a two-stage pipeline: B taken 2, BL 3, BX 2, POP with PC 3 + N, MRS and MSR 3,
# barriers 3. Measured on SAM D20: within 0.1 % on 23 of 26 hand-written routines.
M0_PLUS = replace(
    M0,
    branch_refill=1,
    branch_link=2,
    branch_register=1,
    pop_pc=2,
    system=3,
    barrier=3,
    exception_entry=15,
)

# M3 TRM section 3.3, with the refill P of 1..3 as measured: B 1 + 1, BL 1 + 1, BX 1 + 2,
# POP with PC 1 + N + 2, LDR PC 2 + 2, TBB 2 + 3. Load/store timings: loads and stores behind a load
# are pipelined; STR with an immediate offset is 1, with a register offset 2; an address that the
# instruction before computed, or wrote back, costs 1 ("there is no forwarding path for this
# scenario"); a loaded one only keeps the two from being pipelined.
# Measured on STM32F100 by cmemu's tests (mimuw-distributed-systems-group/cmemu), one instruction
# sequence each: IT folded into a 16-bit data-processing instruction (control_flow/it_fold, also on
# the CC2652's M4), CBZ 1 + 2 and one more behind the instruction that computes its register
# (cbz_deps), no pipelining between code bus and data bus (ldr_two_memories).
# A load behind a lone STR: M3 TRM, "the impact on timing is only felt if another load or store
# operation is executed before completion"; jnk0le/random, cortex_m3m4.md; measured on STM32F100.
# Split loads: same page ("may fail to pipeline correctly if they are not positioned at word aligned
# boundaries"); that it costs 1, and not at a branch's target, is from the STM32F100 programs.
M3 = Timing(
    load=2,
    store=1,
    store_register_offset=2,
    load_pipelined=1,
    multiple_base=1,
    branch_refill=1,
    branch_link=1,
    branch_register=2,
    load_pc=2,
    pop_pc=2,
    table_branch=3,
    unaligned_target=1,
    address_interlock=0,
    result_interlock=1,
    multiply=1,
    multiply_accumulate=2,
    multiply_long=3,  # UMULL, SMULL 3 to 5
    multiply_long_accumulate=4,  # UMLAL, SMLAL 4 to 7
    multiply_long_early=True,
    divide_least=2,
    divide_most=12,
    skipped=1,
    system=2,
    barrier=4,
    unaligned_access=1,
    it_folds=True,
    compare_branch=1,
    load_behind_store=1,
    split_wide=1,
)

# M4 TRM table 3-1: as M3, but every multiply takes 1. Table 7-1: VLDR 1 + N, VMLA 3, VDIV and
# VSQRT 14; one cycle more where the next instruction uses an arithmetic result.
M4 = replace(
    M3,
    multiply_accumulate=1,
    multiply_long=1,
    multiply_long_accumulate=1,
    multiply_long_early=False,
)

# No published table; see the module's docstring. AES on an RP2350 (jnk0le/cortexm-AES,
# doc/aes/CM33_details.md) shows no cost of split instructions, and loads that cost less than here.
M33 = replace(M4, split_wide=0)

# Two instructions a cycle where they do not depend on each other and at most one of them accesses
# memory, multiplies or branches; branches are predicted.
M7 = replace(
    M4,
    load=1,
    store=1,
    store_register_offset=1,
    branch_refill=1,
    branch_link=1,
    branch_register=1,
    pop_pc=1,
    load_pc=1,
    table_branch=2,
    unaligned_target=0,
    fp_multiply_accumulate=1,
    dual_issue=True,
    it_folds=False,
    compare_branch=0,
    load_behind_store=0,
    split_wide=0,
)
