@ Straight-line functions, one for each cycle rule, with the count that the manuals give worked
@ out by hand. Each count holds the function's own BX LR: M0 3, M0+ 2, M3 and M4 1 + P = 3.
@ Sources: section 3.3 of the Cortex-M3 manual, table 3-1 of the Cortex-M4 manual.
@ cores: m3 m4
        .syntax unified
        .thumb
        .text

@ cycles 5 4: M3 2, M4 1
        .balign 4
        .global multiply_accumulate
        .thumb_func
multiply_accumulate:
        mla r0, r1, r2, r3
        bx lr

@ cycles 6 4: M3 3 at least, M4 1
        .balign 4
        .global multiply_long
        .thumb_func
multiply_long:
        umull r0, r1, r2, r3
        bx lr

@ cycles 7 4: M3 4 at least, M4 1
        .balign 4
        .global multiply_accumulate_long
        .thumb_func
multiply_accumulate_long:
        umlal r0, r1, r2, r3
        bx lr

@ cycles 5 5: 2 at least
        .balign 4
        .global divide
        .thumb_func
divide:
        udiv r0, r1, r2
        bx lr

@ cycles 6 6: LDRD 1 + N
        .balign 4
        .global load_pair
        .thumb_func
load_pair:
        ldrd r0, r2, [r1]
        bx lr

@ cycles 5 5: CMP 1, IT folded into it, a skipped instruction 1
        .balign 4
        .global it_skipped
        .thumb_func
it_skipped:
        cmp r0, #0
        it eq
        ldreq r0, [r1]
        bx lr

@ cycles 6 6: CMP 1, IT 1 behind a 32-bit instruction, a skipped instruction 1
        .balign 4
        .global it_behind_wide
        .thumb_func
it_behind_wide:
        cmp.w r0, #0
        it eq
        ldreq r0, [r1]
        bx lr

@ cycles 6 6: 1 each, and 1 for the address that the first writes back
        .balign 4
        .global store_written_back_address
        .thumb_func
store_written_back_address:
        str r0, [r1], #4
        str r0, [r1], #4
        bx lr

@ cycles 8 8: NOP 1, LDR 2, a pipelined LDR 1, and 1 as both loads lie across words
        .balign 4
        .global split_loads
        .thumb_func
split_loads:
        nop
        ldr.w r0, [r1]
        ldr.w r2, [r1, #4]
        bx lr

@ cycles 6 6: the same loads on word boundaries
        .balign 4
        .global aligned_loads
        .thumb_func
aligned_loads:
        ldr.w r0, [r1]
        ldr.w r2, [r1, #4]
        bx lr
