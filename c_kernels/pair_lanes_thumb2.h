/* In assembly for cores with Thumb-2, what pair_lanes.h is in C: for count_planes_thumb2.h and
 * walk_planes_thumb2.h. */
#ifndef EBNN_PAIR_LANES_THUMB2_H
#define EBNN_PAIR_LANES_THUMB2_H

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
/* The carries of four to r7; they wait in r9 for those of four more. */
#define EBNN_FIRST_TO_R7                                                                           \
    "eor.w  r9, r7, r4\n"                                                                          \
    "orr.w  r9, r9, r2\n"                                                                          \
    "eor.w  r7, r7, r2\n"
/* The carries of four more; those of both become r4 and r9. */
#define EBNN_SECOND_TO_R7                                                                          \
    "eors   r4, r7\n"                                                                              \
    "bics   r4, r2\n"                                                                              \
    "eor.w  r9, r9, r4\n"                                                                          \
    "eors   r4, r7\n"                                                                              \
    "eors   r7, r2\n"
/* The carry out of plane + margin + carry; the margin's bits leave r2 one by one. */
#define EBNN_CARRY_OF(plane)                                                                       \
    "lsrs   r2, r2, #1\n"                                                                          \
    "ite    cs\n"                                                                                  \
    "orrcs  r5, r5, " plane "\n"                                                                   \
    "andcc  r5, r5, " plane "\n"

/* clang-format off */
/* r1 the pair, r10 the carries' end: keep planes 0 to 3 in r6, r7, r8 and r12, add the carries to bits
 * 4 to 10 in r6, r7, r8, r10, r11, r12 and lr. */
#define EBNN_SUM_CARRIES \
    "add    r2, r1, #56\n" \
    "stm    r2, {r6, r7, r8, r12}\n" \
    "ldrd   r2, r1, [r1, #24]\n" \
    "movs   r3, #0\n" \
    "str    r3, [r10]\n" \
    "str    r3, [r10, #4]\n" \
    "str    r3, [r10, #8]\n" \
    "sub    r3, r10, r1\n" \
    "adds   r3, #12\n" \
    "lsrs   r3, r3, #4\n" \
    "add    r4, r1, r3, lsl #4\n" \
    "str    r4, [sp, #8]\n" \
    "adds   r2, #16\n" \
    "lsls   r3, r3, #31\n" \
    "ldm    r2, {r6, r7, r8, r10, r11, r12, lr}\n" \
    "bpl    14f\n" \
    "mov    r9, r7\n" \
    "b      15f\n" \
    "14:\n" \
    "ldmia  r1!, {r2, r3, r4, r5}\n" EBNN_ADD_FOUR_TO_R6 EBNN_FIRST_TO_R7 \
    "15:\n" \
    "ldmia  r1!, {r2, r3, r4, r5}\n" EBNN_ADD_FOUR_TO_R6 EBNN_SECOND_TO_R7 \
    "eor.w  r4, r4, r8\n" \
    "bic.w  r4, r4, r9\n" \
    "eor.w  r4, r4, r8\n" \
    "eor.w  r8, r8, r9\n" \
    "eor.w  r10, r10, r4\n" \
    "bic.w  r4, r4, r10\n" \
    "eor.w  r11, r11, r4\n" \
    "bic.w  r4, r4, r11\n" \
    "eor.w  r12, r12, r4\n" \
    "bic.w  r4, r4, r12\n" \
    "eor.w  lr, lr, r4\n" \
    "ldr    r3, [sp, #8]\n" \
    "cmp    r1, r3\n" \
    "bne    14b\n" \
    "ldr    r1, [sp]\n" \
    "ldr    r9, [r1, #48]\n"
/* r1 the pair, r9 the first class: r5 becomes the lanes of all classes. r2 is a margin. */
#define EBNN_FIND_LANES \
    "9:\n" \
    "ldr.w  r2, [r9, #4]\n" \
    "ldr    r3, [r1, #40]\n" \
    "ldrsh  r2, [r3, r2]\n" \
    "ldrd   r3, r4, [r1, #56]\n" \
    "ldr    r5, [r1, #84]\n" \
    "lsrs   r2, r2, #1\n" \
    "it     cc\n" \
    "movcc  r5, #0\n" \
    EBNN_CARRY_OF("r3") EBNN_CARRY_OF("r4") \
    "ldrd   r3, r4, [r1, #64]\n" \
    EBNN_CARRY_OF("r3") EBNN_CARRY_OF("r4") EBNN_CARRY_OF("r6") EBNN_CARRY_OF("r7") \
    EBNN_CARRY_OF("r8") EBNN_CARRY_OF("r10") EBNN_CARRY_OF("r11") EBNN_CARRY_OF("r12") \
    "eor.w  r5, r5, lr\n" \
    "lsrs   r2, r2, #1\n" \
    "it     cc\n" \
    "mvncc  r5, r5\n" \
    "ldr    r2, [r1, #44]\n" \
    "cmp    r2, #2\n" \
    "beq    18f\n" \
    "ldr.w  r2, [r9], #8\n" \
    "ldr    r3, [r1, #80]\n" \
    "ldr    r4, [r1, #52]\n" \
    "eors   r5, r3\n" \
    "ands   r5, r2\n" \
    "eors   r5, r3\n" \
    "str    r5, [r1, #80]\n" \
    "cmp    r9, r4\n" \
    "bne    9b\n"
/* r2 the filter's number: its lanes are put in their place, and the margins moved on; r3 becomes the
 * pair's own_advance, r4 its filters. */
#define EBNN_STORE_LANES \
    "lsls   r3, r2, #24\n" \
    "it     mi\n" \
    "mvnmi  r5, r5\n" \
    "ldr    r3, [r1, #36]\n" \
    "and    r2, r2, #31\n" \
    "str    r5, [r3, r2, lsl #2]\n" \
    "ldrd   r2, r3, [r1, #40]\n" \
    "adds   r2, r2, r3\n" \
    "ldrd   r3, r4, [r1, #72]\n" \
    "str    r2, [r1, #40]\n"
/* clang-format on */

#endif
