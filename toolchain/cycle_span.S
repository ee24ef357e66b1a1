/* One call between two readings of a counter. In assembly, so that what lies between them beside
 * the call is known, the same each time, and within one line of flash: one load, one BL. */
    .syntax unified
    .thumb
    .section .text.cycle_span, "ax", %progbits

/* int32_t infer_between_readings(const void *in, void *out,
 *                                const volatile uint32_t *counter, uint32_t readings[2]) */
    .global infer_between_readings
    .type infer_between_readings, %function
    .balign 8
    .thumb_func
infer_between_readings:
    push {r4, r5, r6, lr}
    mov r4, r2
    mov r5, r3
    nop
    ldr r6, [r4] /* a multiple of 8 bytes from the start */
    bl ebnn_infer
    ldr r1, [r4]
    str r6, [r5]
    str r1, [r5, #4]
    pop {r4, r5, r6, pc}
    .size infer_between_readings, . - infer_between_readings

/* void nothing_between_readings(const volatile uint32_t *counter, uint32_t readings[2])
 * The same load and BL, without the call's inside: BL leads to the second reading. */
    .global nothing_between_readings
    .type nothing_between_readings, %function
    .balign 8
    .thumb_func
nothing_between_readings:
    push {r4, r5, r6, lr}
    mov r4, r0
    mov r5, r1
    nop
    ldr r6, [r4]
    bl 1f
1:  ldr r1, [r4]
    str r6, [r5]
    str r1, [r5, #4]
    pop {r4, r5, r6, pc}
    .size nothing_between_readings, . - nothing_between_readings
