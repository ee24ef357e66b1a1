@ Straight-line functions, one for each cycle rule, with the count that the manuals give worked
@ out by hand. Each count holds the function's own BX LR: M0 3, M0+ 2, M3 and M4 1 + P = 3.
@ Sources: table 3-1 of the Cortex-M0, M0+ and M4 manuals, section 3.3 of the M3 manual.
@ cores: m0 m0plus m3 m4
        .syntax unified
        .thumb
        .text

@ cycles 5 4 5 5: one cycle each
        .balign 4
        .global alu
        .thumb_func
alu:
        adds r0, r0, #1
        adds r0, r0, #1
        bx lr

@ cycles 4 3 4 4: MULS is 1 with the fast multiplier
        .balign 4
        .global multiply
        .thumb_func
multiply:
        muls r0, r1, r0
        bx lr

@ cycles 5 4 5 5: LDR is 2
        .balign 4
        .global load
        .thumb_func
load:
        ldr r0, [r1]
        bx lr

@ cycles 7 6 6 6: M3, M4: 2, then 1 behind a load; M0, M0+: 2 each
        .balign 4
        .global loads_pipelined
        .thumb_func
loads_pipelined:
        ldr r0, [r1]
        ldr r2, [r1, #4]
        bx lr

@ cycles 7 6 7 7: M3, M4: not pipelined
        .balign 4
        .global load_address_loaded
        .thumb_func
load_address_loaded:
        ldr r0, [r1]
        ldr r2, [r0]
        bx lr

@ cycles 6 5 7 7: M3, M4: 1 of interlock
        .balign 4
        .global load_address_computed
        .thumb_func
load_address_computed:
        adds r1, r1, #4
        ldr r0, [r1]
        bx lr

@ cycles 5 4 4 4: M3, M4: 1, behind the write buffer; M0, M0+: 2
        .balign 4
        .global store
        .thumb_func
store:
        str r0, [r1]
        bx lr

@ cycles 5 4 5 5: 2
        .balign 4
        .global store_register_offset
        .thumb_func
store_register_offset:
        str r0, [r1, r2]
        bx lr

@ cycles 7 6 6 6: M3, M4: 1 behind a load
        .balign 4
        .global store_pipelined
        .thumb_func
store_pipelined:
        ldr r0, [r1]
        str r0, [r3, r2]
        bx lr

@ cycles 7 6 7 7: 1 + N
        .balign 4
        .global load_multiple
        .thumb_func
load_multiple:
        ldm r1!, {r0, r2, r3}
        bx lr

@ cycles 7 6 7 7: 1 + N
        .balign 4
        .global store_multiple
        .thumb_func
store_multiple:
        stm r1!, {r0, r2, r3}
        bx lr

@ cycles 11 10 10 10: PUSH 1 + N; POP with PC: M0 4 + N, M0+ 3 + N, M3 and M4 1 + N + P
        .balign 4
        .global push_pop_pc
        .thumb_func
push_pop_pc:
        push {r4, r5, lr}
        pop {r4, r5, pc}

@ cycles 7 5 5 5: MRS: M0 4, M0+ 3, M3 and M4 2
        .balign 4
        .global status
        .thumb_func
status:
        mrs r0, primask
        bx lr

@ cycles 7 5 7 7: M0 4, M0+ 3, M3 and M4 1 + B
        .balign 4
        .global barrier
        .thumb_func
barrier:
        dsb
        bx lr

@ cycles 7 6 7 7: M3, M4: the load waits a cycle for the store
        .balign 4
        .global load_behind_store
        .thumb_func
load_behind_store:
        str r0, [r1]
        ldr r2, [r1, #4]
        bx lr

@ cycles 9 8 8 8: M3, M4: a store that is pipelined behind a load is off the bus in time
        .balign 4
        .global load_behind_pipelined_store
        .thumb_func
load_behind_pipelined_store:
        ldr r0, [r1]
        str r0, [r1]
        ldr r2, [r1, #4]
        bx lr

@ cycles 7 6 7 7: M3, M4: a literal comes over the code bus, so the next load is not pipelined
        .balign 4
        .global load_behind_literal
        .thumb_func
load_behind_literal:
        ldr r0, literal
        ldr r2, [r1]
        bx lr
        .balign 4
literal:
        .word 0
