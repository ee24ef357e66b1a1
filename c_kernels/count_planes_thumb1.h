/* ebnn_count_pair for cores with Thumb-1 alone: see count_planes.c. */
#ifndef EBNN_COUNT_PLANES_THUMB1_H
#define EBNN_COUNT_PLANES_THUMB1_H

#include "count_planes.h"
#include "pair_lanes_thumb1.h"

#define EBNN_LOAD_PLANE(to, tap)                                                                   \
    "ldrb   " to ", [r0, #" tap "]\n"                                                              \
    "lsls   " to ", #2\n"                                                                          \
    "ldr    " to ", [r1, " to "]\n"
/* r5 + four planes: of the two carries a and b, `other` becomes b and r2 a ^ b. */
#define EBNN_COUNT_FOUR(first, second, other, third, fourth)                                       \
    EBNN_LOAD_PLANE("r2", first)                                                                   \
    EBNN_LOAD_PLANE("r3", second)                                                                  \
    "eors   r3, r2\n"                                                                              \
    "eors   r2, r5\n"                                                                              \
    "orrs   r2, r3\n"                                                                              \
    "eors   r5, r3\n" EBNN_LOAD_PLANE(other, third)                                                \
        EBNN_LOAD_PLANE("r3", fourth) "eors   r3, " other "\n"                                     \
                                      "eors   " other ", r5\n"                                     \
                                      "bics   " other ", r3\n"                                     \
                                      "eors   r2, " other "\n"                                     \
                                      "eors   " other ", r5\n"                                     \
                                      "eors   r5, r3\n"
/* The carries of four to r6; they wait in r7 for those of four more. */
#define EBNN_FIRST_TO_R6                                                                           \
    "eors   r7, r6\n"                                                                              \
    "orrs   r7, r2\n"                                                                              \
    "eors   r6, r2\n"
/* The carries of four more; those of both become r4 and r7. */
#define EBNN_SECOND_TO_R6                                                                          \
    "eors   r4, r6\n"                                                                              \
    "bics   r4, r2\n"                                                                              \
    "eors   r7, r4\n"                                                                              \
    "eors   r4, r6\n"                                                                              \
    "eors   r6, r2\n"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
EBNN_COUNT_PAIR {
    /* r0 the list, r1 planes; r2 to r4 three of them, r5 ones, r6 twos, r8 fours, r12 eights, r7
     * and lr wait for the second four and eight planes, r9 carry, r10 turn, r11 the part's end. */
    /* clang-format off */
    __asm__ volatile(
        ".syntax unified\n"
        "movs   r2, r1\n"
        "adds   r2, #92\n"
        "stmia  r2!, {r4, r5, r6, r7}\n"
        "mov    r4, r8\n"
        "mov    r5, r9\n"
        "mov    r6, r10\n"
        "mov    r7, r11\n"
        "stmia  r2!, {r4, r5, r6, r7}\n"
        "mov    r4, lr\n"
        "str    r4, [r2]\n"
        "movs   r3, #1\n"
        "str    r3, [sp, #4]\n"
        "ldr    r2, [r1, #24]\n"
        "ldmia  r2!, {r3, r4, r5, r6}\n"
        "mov    r8, r5\n"
        "mov    r12, r6\n"
        "movs   r5, r3\n"
        "movs   r6, r4\n"
        "ldr    r2, [r1, #28]\n"
        "mov    r9, r2\n"
        "movs   r2, #0\n"
        "mov    r10, r2\n"
        "ldr    r1, [r1, #32]\n"
        "ldrb   r2, [r0]\n"
        "b      4f\n"
        "10:\n" /* 16 planes; the first time perhaps only 12, 8 or 4 of them */
        EBNN_COUNT_FOUR("0", "1", "r7", "2", "3") EBNN_FIRST_TO_R6
        "11:\n"
        EBNN_COUNT_FOUR("4", "5", "r4", "6", "7") EBNN_SECOND_TO_R6
        "mov    r3, r8\n"
        "eors   r4, r3\n"
        "orrs   r4, r7\n"
        "eors   r3, r7\n"
        "mov    r8, r3\n"
        "mov    lr, r4\n"
        "12:\n"
        EBNN_COUNT_FOUR("8", "9", "r7", "10", "11") EBNN_FIRST_TO_R6
        "13:\n"
        EBNN_COUNT_FOUR("12", "13", "r4", "14", "15") EBNN_SECOND_TO_R6
        "mov    r3, r8\n"
        "eors   r4, r3\n"
        "bics   r4, r7\n"
        "mov    r2, lr\n"
        "eors   r2, r4\n"
        "eors   r4, r3\n"
        "eors   r3, r7\n"
        "mov    r8, r3\n"
        "mov    r3, r12\n"
        "eors   r4, r3\n"
        "bics   r4, r2\n"
        "eors   r4, r3\n"
        "eors   r3, r2\n"
        "mov    r12, r3\n"
        "mov    r3, r10\n"
        "rors   r4, r3\n"
        "mov    r3, r9\n"
        "stmia  r3!, {r4}\n"
        "mov    r9, r3\n"
        "adds   r0, #16\n"
        "cmp    r0, r11\n"
        "beq    3f\n"
        "b      10b\n"
        /* The next part: rotate the counts. */
        "3:\n"
        "ldrb   r2, [r0]\n"
        "ldr    r3, [sp, #4]\n"
        "cmp    r2, #253\n"
        "bhs    6f\n"
        "rors   r5, r3\n"
        "rors   r6, r3\n"
        "mov    r4, r8\n"
        "rors   r4, r3\n"
        "mov    r8, r4\n"
        "mov    r4, r12\n"
        "rors   r4, r3\n"
        "mov    r12, r4\n"
        "mov    r4, r10\n"
        "subs   r4, r4, r3\n"
        "mov    r10, r4\n");
    __asm__ volatile(
        /* A part starts where absent planes would have left zeros. */
        "4:\n"
        "adds   r0, #1\n"
        "lsls   r3, r2, #2\n"
        "adds   r3, #4\n"
        "adds   r3, r3, r0\n"
        "mov    r11, r3\n"
        "lsls   r3, r2, #31\n"
        "bcs    5f\n"
        "bmi    2f\n"
        "subs   r0, #12\n"
        "mov    r7, r6\n"
        "mov    lr, r8\n"
        "b      13b\n"
        "2:\n"
        "subs   r0, #8\n"
        "mov    lr, r8\n"
        "b      12b\n"
        "5:\n"
        "bpl    18f\n"
        "b      10b\n"
        "18:\n"
        "subs   r0, #4\n"
        "mov    r7, r6\n"
        "b      11b\n"
        "6:\n" /* the next block of planes */
        "bhi    7f\n"
        "adds   r0, #1\n"
        "movs   r2, #32\n"
        "subs   r3, r2, r3\n"
        "str    r3, [sp, #4]\n"
        "movs   r3, #231\n"
        "lsls   r3, r3, #2\n"
        "adds   r1, r1, r3\n"
        "ldrb   r2, [r0]\n"
        "b      4b\n"
        "7:\n" /* the end of a list */
        "adds   r0, #1\n"
        "ldr    r1, [sp]\n"
        "cmp    r2, #254\n"
        "bne    8f\n"
        "movs   r2, #32\n"
        "subs   r3, r2, r3\n"
        "str    r3, [r1, #72]\n"
        "movs   r7, r3\n"
        "movs   r2, r5\n"
        "movs   r3, r6\n"
        "mov    r4, r8\n"
        "stmia  r1!, {r2, r3, r4}\n"
        "mov    r2, r9\n"
        "mov    r3, r10\n"
        "mov    r4, r12\n"
        "stmia  r1!, {r2, r3, r4}\n"
        "subs   r1, #24\n"
        "b      16f\n");
    __asm__ volatile(
        /* Add the carries, from r1 on, to bits 4 and 5 in r6 and r7, and bits 6 to 10 in r8 to r12. */
        "8:\n"
        "str    r0, [r1, #88]\n"
        EBNN_SUM_CARRIES);
    __asm__ volatile(
        /* Lanes of one class, r5 the carry, r2 the margin. */
        EBNN_FIND_LANES
        /* The filter's lanes. */
        "ldr    r0, [r1, #88]\n"
        "ldrb   r2, [r0]\n"
        "adds   r0, #1\n"
        EBNN_STORE_LANES
        "ldr    r7, [r1, #72]\n"
        "ldr    r2, [r1, #76]\n"
        "subs   r2, #1\n"
        "beq    17f\n"
        "str    r2, [r1, #76]\n"
        "ldmia  r1!, {r2, r3, r4, r5, r6}\n"
        "mov    r8, r4\n"
        "mov    r9, r5\n"
        "mov    r10, r6\n"
        "movs   r5, r2\n"
        "movs   r6, r3\n"
        "ldmia  r1!, {r2}\n"
        "mov    r12, r2\n"
        "subs   r1, #24\n"
        "16:\n" /* the next own list */
        "str    r7, [sp, #4]\n"
        "ldr    r1, [r1, #32]\n"
        "ldrb   r2, [r0]\n"
        "b      4b\n"
        "17:\n"
        "adds   r1, #108\n"
        "ldmia  r1!, {r2, r3, r4, r5, r6}\n"
        "mov    r8, r2\n"
        "mov    r9, r3\n"
        "mov    r10, r4\n"
        "mov    r11, r5\n"
        "mov    lr, r6\n"
        "subs   r1, #36\n"
        "ldmia  r1!, {r4, r5, r6, r7}\n"
        "bx     lr\n");
    /* clang-format on */
}
#pragma GCC diagnostic pop

#endif
