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

@ cycles 6 6: CMP 1, IT 1, a skipped instruction 1
        .balign 4
        .global it_skipped
        .thumb_func
it_skipped:
        cmp r0, #0
        it eq
        ldreq r0, [r1]
        bx lr
