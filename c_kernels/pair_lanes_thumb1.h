/* In assembly for cores with Thumb-1 alone, what pair_lanes.h is in C: for count_planes_thumb1.h
 * and walk_planes_thumb1.h. */
#ifndef EBNN_PAIR_LANES_THUMB1_H
#define EBNN_PAIR_LANES_THUMB1_H

/* r6 + r2 + r3 + r4 + r5: of the two carries a and b, r4 becomes b and r2 a ^ b. */
#define EBNN_ADD_FOUR_TO_R6                                                                        \
    "eors   r3, r2\n"                                                                              \
    "eors   r2, r6\n"                                                                              \
    "orrs   r2, r3\n"                                                                              \
    "eors   r6, r3\n"                                                                              \
    "eors   r5, r4\n"                                                                              \
    "eors   r4, r6\n"                                                                              \
    "bics   r4, r5\n"                                                                              \
    "eors   r2, r4\n"                                                                              \
    "eors   r4, r6\n"                                                                              \
    "eors   r6, r5\n"
/* high + r4; r4 becomes the carry. */
#define EBNN_ADD_HALF_TO(high)                                                                     \
    "mov    r3, " high "\n"                                                                        \
    "eors   r3, r4\n"                                                                              \
    "bics   r4, r3\n"                                                                              \
    "mov    " high ", r3\n"
/* The carry out of plane + margin + carry; the margin's bits leave r2 one by one. */
#define EBNN_CARRY_OF(plane)                                                                       \
    "lsrs   r2, r2, #1\n"                                                                          \
    "bcc    20f\n"                                                                                 \
    "orrs   r5, " plane "\n"                                                                       \
    "b      21f\n"                                                                                 \
    "20:\n"                                                                                        \
    "ands   r5, " plane "\n"                                                                       \
    "21:\n"
#define EBNN_CARRY_OF_HIGH(plane) "mov    r3, " plane "\n" EBNN_CARRY_OF("r3")

/* clang-format off */
/* r1 the pair, r9 the carries' end: keep planes 0 to 3 in r5, r6, r8 and r12, add the carries to bits
 * 4 and 5 in r6 and r7, and bits 6 to 10 in r8 to r12. */
#define EBNN_SUM_CARRIES \
    "movs   r2, r1\n" \
    "adds   r2, #56\n" \
    "mov    r3, r8\n" \
    "mov    r4, r12\n" \
    "stmia  r2!, {r5, r6}\n" \
    "stmia  r2!, {r3, r4}\n" \
    "ldr    r4, [r1, #24]\n" \
    "ldr    r1, [r1, #28]\n" \
    "mov    r3, r9\n" \
    "movs   r2, #0\n" \
    "str    r2, [r3, #0]\n" \
    "str    r2, [r3, #4]\n" \
    "str    r2, [r3, #8]\n" \
    "subs   r2, r3, r1\n" \
    "adds   r2, #12\n" \
    "lsrs   r0, r2, #4\n" \
    "lsls   r2, r0, #4\n" \
    "adds   r2, r2, r1\n" \
    "str    r2, [sp, #8]\n" \
    "adds   r4, #16\n" \
    "ldmia  r4!, {r6, r7}\n" \
    "ldmia  r4!, {r2, r3, r5}\n" \
    "mov    r8, r2\n" \
    "mov    r9, r3\n" \
    "mov    r10, r5\n" \
    "ldmia  r4!, {r2, r3}\n" \
    "mov    r11, r2\n" \
    "mov    r12, r3\n" \
    "lsls   r0, r0, #31\n" \
    "mov    r0, r7\n" \
    "bmi    15f\n" \
    "14:\n" \
    "ldmia  r1!, {r2, r3, r4, r5}\n" EBNN_ADD_FOUR_TO_R6 \
    "mov    r0, r4\n" \
    "eors   r0, r7\n" \
    "orrs   r0, r2\n" \
    "eors   r7, r2\n" \
    "15:\n" \
    "ldmia  r1!, {r2, r3, r4, r5}\n" EBNN_ADD_FOUR_TO_R6 \
    "eors   r4, r7\n" \
    "bics   r4, r2\n" \
    "eors   r0, r4\n" \
    "eors   r4, r7\n" \
    "eors   r7, r2\n" \
    "mov    r3, r8\n" \
    "eors   r4, r3\n" \
    "bics   r4, r0\n" \
    "eors   r4, r3\n" \
    "eors   r3, r0\n" \
    "mov    r8, r3\n" \
    EBNN_ADD_HALF_TO("r9") EBNN_ADD_HALF_TO("r10") EBNN_ADD_HALF_TO("r11") \
    "mov    r3, r12\n" \
    "eors   r3, r4\n" \
    "mov    r12, r3\n" \
    "ldr    r3, [sp, #8]\n" \
    "cmp    r1, r3\n" \
    "bne    14b\n" \
    "ldr    r1, [sp]\n" \
    "ldr    r0, [r1, #48]\n"
/* r1 the pair, r0 the first class: r5 becomes the lanes of all classes. r2 is a margin. */
#define EBNN_FIND_LANES \
    "9:\n" \
    "ldr    r2, [r0, #4]\n" \
    "ldr    r3, [r1, #40]\n" \
    "ldrsh  r2, [r3, r2]\n" \
    "ldr    r5, [r1, #84]\n" \
    "lsrs   r2, r2, #1\n" \
    "bcs    22f\n" \
    "movs   r5, #0\n" \
    "22:\n" \
    "ldr    r3, [r1, #56]\n" \
    EBNN_CARRY_OF("r3") \
    "ldr    r3, [r1, #60]\n" \
    EBNN_CARRY_OF("r3") \
    "ldr    r3, [r1, #64]\n" \
    EBNN_CARRY_OF("r3") \
    "ldr    r3, [r1, #68]\n" \
    EBNN_CARRY_OF("r3") EBNN_CARRY_OF("r6") EBNN_CARRY_OF("r7") \
    EBNN_CARRY_OF_HIGH("r8") EBNN_CARRY_OF_HIGH("r9") EBNN_CARRY_OF_HIGH("r10") \
    EBNN_CARRY_OF_HIGH("r11") \
    "mov    r3, r12\n" \
    "eors   r5, r3\n" \
    "lsrs   r2, r2, #1\n" \
    "bcs    23f\n" \
    "mvns   r5, r5\n" \
    "23:\n" \
    "ldmia  r0!, {r2, r3}\n" \
    "ldr    r3, [r1, #80]\n" \
    "eors   r5, r3\n" \
    "ands   r5, r2\n" \
    "eors   r5, r3\n" \
    "str    r5, [r1, #80]\n" \
    "ldr    r3, [r1, #52]\n" \
    "cmp    r0, r3\n" \
    "bne    9b\n"
/* r2 the filter's number: its lanes are put in their place, and the margins moved on. */
#define EBNN_STORE_LANES \
    "lsls   r3, r2, #24\n" \
    "bpl    24f\n" \
    "mvns   r5, r5\n" \
    "24:\n" \
    "lsls   r2, r2, #27\n" \
    "lsrs   r2, r2, #25\n" \
    "ldr    r3, [r1, #36]\n" \
    "str    r5, [r3, r2]\n" \
    "ldr    r2, [r1, #40]\n" \
    "ldr    r3, [r1, #44]\n" \
    "adds   r2, r2, r3\n" \
    "str    r2, [r1, #40]\n"
/* clang-format on */

#endif
