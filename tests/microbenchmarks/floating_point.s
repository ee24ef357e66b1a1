@ Straight-line functions, one for each cycle rule, with the count that the manuals give worked
@ out by hand. Each count holds the function's own BX LR: M0 3, M0+ 2, M3 and M4 1 + P = 3.
@ Source: table 7-1 of the Cortex-M4 manual.
@ cores: m4f
        .syntax unified
        .thumb
        .text

@ cycles 4: 1
        .balign 4
        .global add
        .thumb_func
add:
        vadd.f32 s0, s1, s2
        bx lr

@ cycles 6: 1, 1 of interlock, 1
        .balign 4
        .global add_used_next
        .thumb_func
add_used_next:
        vadd.f32 s0, s1, s2
        vadd.f32 s3, s0, s1
        bx lr

@ cycles 6: VMLA 3
        .balign 4
        .global multiply_accumulate
        .thumb_func
multiply_accumulate:
        vmla.f32 s0, s1, s2
        bx lr

@ cycles 16: VDIV 14, in which the first cycle of BX passes; P = 2
        .balign 4
        .global divide
        .thumb_func
divide:
        vdiv.f32 s0, s1, s2
        bx lr

@ cycles 16: VSQRT 14, in which the first cycle of BX passes; P = 2
        .balign 4
        .global square_root
        .thumb_func
square_root:
        vsqrt.f32 s0, s1
        bx lr

@ cycles 18: VDIV 14, with two ADDS inside; VMOV 1
        .balign 4
        .global divide_overlaps_integers
        .thumb_func
divide_overlaps_integers:
        vdiv.f32 s0, s1, s2
        adds r0, r0, #1
        adds r1, r1, #1
        vmov r2, s0
        bx lr

@ cycles 5: VLDR 1 + 1
        .balign 4
        .global load
        .thumb_func
load:
        vldr s0, [r1]
        bx lr

@ cycles 6: VLDR of a double 1 + 2
        .balign 4
        .global load_double
        .thumb_func
load_double:
        vldr d0, [r1]
        bx lr

@ cycles 8: VLDM 1 + N
        .balign 4
        .global load_multiple
        .thumb_func
load_multiple:
        vldm r1!, {s0-s3}
        bx lr

@ cycles 5: VMOV of two core registers 2
        .balign 4
        .global move_pair
        .thumb_func
move_pair:
        vmov s0, s1, r0, r1
        bx lr
