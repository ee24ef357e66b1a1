/* ebnn_count_pair for cores with Thumb-2: see count_planes.c. */
#ifndef EBNN_COUNT_PLANES_THUMB2_H
#define EBNN_COUNT_PLANES_THUMB2_H

#include "count_planes.h"
#include "pair_lanes_thumb2.h"

/* In a row the four bytes and the four planes take 9 cycles on an M4; for that none of the latter
 * may be split by a word's end. */
#define EBNN_LOAD_FOUR(first, second, third, fourth)                                               \
    "ldrb   r2, [r0, #" first "]\n"                                                                \
    "ldrb   r3, [r0, #" second "]\n"                                                               \
    "ldrb   r4, [r0, #" third "]\n"                                                                \
    "ldrb   r5, [r0" fourth "\n"                                                                   \
    "ldr.w  r2, [r1, r2, lsl #2]\n"                                                                \
    "ldr.w  r3, [r1, r3, lsl #2]\n"                                                                \
    "ldr.w  r4, [r1, r4, lsl #2]\n"                                                                \
    "ldr.w  r5, [r1, r5, lsl #2]\n"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
EBNN_COUNT_PAIR {
    /* r0 the list, 15 ahead within a part, r1 planes; r2 to r5 four of them, r6 ones, r7 twos, r8
     * fours, r12 eights, r9 and lr wait for the second four and eight planes, r10 carry, r11 turn
     * and 256 * (quads - 1). */
    /* clang-format off */
    __asm__ volatile(
        ".syntax unified\n"
        "add    r2, r1, #92\n"
        "stm    r2, {r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"
        "ldrd   r2, r10, [r1, #24]\n"
        "ldm    r2, {r6, r7, r8, r12}\n"
        "ldr    r1, [r1, #32]\n"
        "movs   r3, #1\n"
        "str    r3, [sp, #4]\n"
        "mov.w  r11, #0\n"
        "ldrb   r2, [r0], #15\n"
        "b      4f\n"
        "5:\n"
        "adds   r0, #1\n"
        ".p2align 2\n"
        "10:\n" /* 16 planes; the first time perhaps only 12, 8 or 4 of them */
        EBNN_LOAD_FOUR("-15", "-14", "-13", ", #-12]") EBNN_ADD_FOUR_TO_R6 EBNN_FIRST_TO_R7
        "11:\n"
        EBNN_LOAD_FOUR("-11", "-10", "-9", ", #-8]") EBNN_ADD_FOUR_TO_R6 EBNN_SECOND_TO_R7
        "eor.w  lr, r8, r4\n"
        "orr.w  lr, lr, r9\n"
        "eor.w  r8, r8, r9\n"
        "12:\n"
        EBNN_LOAD_FOUR("-7", "-6", "-5", ", #-4]") EBNN_ADD_FOUR_TO_R6 EBNN_FIRST_TO_R7
        "13:\n"
        EBNN_LOAD_FOUR("-3", "-2", "-1", "], #16") EBNN_ADD_FOUR_TO_R6 EBNN_SECOND_TO_R7
        "eor.w  r4, r4, r8\n"
        "bic.w  r4, r4, r9\n"
        "eor.w  lr, lr, r4\n"
        "eor.w  r4, r4, r8\n"
        "eor.w  r8, r8, r9\n"
        "eor.w  r4, r4, r12\n"
        "bic.w  r4, r4, lr\n"
        "eor.w  r4, r4, r12\n"
        "eor.w  r12, r12, lr\n"
        "ror.w  r4, r4, r11\n"
        "str.w  r4, [r10], #4\n"
        "subs.w r11, r11, #1024\n"
        "bcs    10b\n"
        /* The next part: rotate the counts. */
        "ldrb   r2, [r0, #-15]\n"
        "ldr    r3, [sp, #4]\n"
        "cmp    r2, #253\n"
        "bhs    6f\n"
        "ror.w  r6, r6, r3\n"
        "ror.w  r7, r7, r3\n"
        "ror.w  r8, r8, r3\n"
        "ror.w  r12, r12, r3\n"
        "sub.w  r11, r11, r3\n");
    __asm__ volatile(
        /* A part starts where absent planes would have left zeros. */
        "4:\n"
        "bfi    r11, r2, #8, #24\n"
        "lsls   r2, r2, #31\n"
        "bcs    3f\n"
        "bmi    2f\n"
        "subs   r0, #11\n"
        "mov    r9, r7\n"
        "mov    lr, r8\n"
        "b      13b\n"
        "2:\n"
        "subs   r0, #7\n"
        "mov    lr, r8\n"
        "b      12b\n"
        "3:\n"
        "bmi    5b\n"
        "subs   r0, #3\n"
        "mov    r9, r7\n"
        "b      11b\n"
        "6:\n" /* the next block of planes */
        "rsb.w  r3, r3, #32\n"
        "bhi    7f\n"
        "str    r3, [sp, #4]\n"
        "addw   r1, r1, #924\n"
        "ldrb   r2, [r0, #-14]\n"
        "adds   r0, #1\n"
        "b      4b\n"
        "7:\n" /* the end of a list */
        "adds   r0, #1\n"
        "ldr    r1, [sp]\n"
        "cmp    r2, #254\n"
        "bne    8f\n"
        "str    r3, [r1, #72]\n"
        "stm    r1, {r6, r7, r8, r10, r11, r12}\n"
        "b      16f\n");
    __asm__ volatile(
        /* Add the carries, from r1 on, to bits 4 to 10 in r6, r7, r8, r10, r11, r12 and lr. */
        "8:\n"
        EBNN_SUM_CARRIES);
    __asm__ volatile(
        /* Lanes of one class, r5 the carry, r2 the margin. */
        EBNN_FIND_LANES
        "18:\n" /* the filter's lanes */
        "ldrb   r2, [r0, #-15]\n"
        "adds   r0, #1\n"
        EBNN_STORE_LANES
        "subs   r4, #1\n"
        "beq    17f\n"
        "str    r4, [r1, #76]\n"
        "ldm    r1, {r6, r7, r8, r10, r11, r12}\n"
        "16:\n" /* the next own list */
        "ldr    r1, [r1, #32]\n"
        "ldrb   r2, [r0, #-15]\n"
        "str    r3, [sp, #4]\n"
        "b      4b\n"
        "17:\n"
        "subs   r0, #15\n"
        "add    r1, r1, #92\n"
        "ldm    r1, {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n");
    /* clang-format on */
}
#pragma GCC diagnostic pop

#endif
