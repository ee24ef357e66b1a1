/* ebnn_walk_pair for cores with Thumb-2: see walk_planes.c. */
#ifndef EBNN_WALK_PLANES_THUMB2_H
#define EBNN_WALK_PLANES_THUMB2_H

#include "pair_lanes_thumb2.h"
#include "walk_planes.h"

/* A plane, that of the highest bit of r0 that is set, as an index; where none is left it is 32,
 * that of the word 0 behind the group. */
#define EBNN_NEXT_INDEX(to, bit)                                                                   \
    "clz    " to ", r0\n"                                                                          \
    "lsr.w  " bit ", lr, " to "\n"                                                                 \
    "bics   r0, " bit "\n"
/* Four planes. r6 + the four: of the carries a and b, r4 becomes b and r2 a ^ b. `spare` is a
 * register that nothing waits in. Their loads take 5 cycles in a row; for that none may be split by
 * a word's end. */
#define EBNN_WALK_FOUR(spare)                                                                      \
    "clz    r2, r0\n"                                                                              \
    "lsr.w  r5, lr, r2\n"                                                                          \
    "bic.w  r0, r0, r5\n" EBNN_NEXT_INDEX("r3", "r5")                                              \
        EBNN_NEXT_INDEX("r4", "r5") "clz    r5, r0\n"                                              \
                                    "lsr.w  " spare ", lr, r5\n"                                   \
                                    "bic.w  r0, r0, " spare "\n"                                   \
                                    "ldr.w  r2, [r1, r2, lsl #2]\n"                                \
                                    "ldr.w  r3, [r1, r3, lsl #2]\n"                                \
                                    "ldr.w  r4, [r1, r4, lsl #2]\n"                                \
                                    "ldr.w  r5, [r1, r5, lsl #2]\n" EBNN_ADD_FOUR_TO_R6
/* The same in two times two. */
#define EBNN_WALK_FOUR_WITHOUT_SPARE                                                               \
    EBNN_NEXT_INDEX("r2", "r4")                                                                    \
    EBNN_NEXT_INDEX("r3", "r4")                                                                    \
    "ldr.w  r2, [r1, r2, lsl #2]\n"                                                                \
    "ldr.w  r3, [r1, r3, lsl #2]\n" EBNN_NEXT_INDEX("r4", "r5") "clz    r5, r0\n"                  \
                                                                "eors   r3, r2\n"                  \
                                                                "eors   r2, r6\n"                  \
                                                                "orrs   r2, r3\n"                  \
                                                                "eors   r6, r3\n"                  \
                                                                "lsr.w  r3, lr, r5\n"              \
                                                                "bics   r0, r3\n"                  \
                                                                "ldr.w  r4, [r1, r4, lsl #2]\n"    \
                                                                "ldr.w  r5, [r1, r5, lsl #2]\n"    \
                                                                "eors   r5, r4\n"                  \
                                                                "eors   r4, r6\n"                  \
                                                                "bics   r4, r5\n"                  \
                                                                "eors   r2, r4\n"                  \
                                                                "eors   r4, r6\n"                  \
                                                                "eors   r6, r5\n"
/* Where a word is done the next one, which `combine` makes of both filters' words in r0 and r2; at
 * a part's end go to `at_end`. */
#define EBNN_UNLESS_DONE(next, combine, at_end)                                                    \
    "cbnz   r0, " next "\n"                                                                        \
    "ldr    r2, [sp, #8]\n"                                                                        \
    "cmp    r10, r2\n"                                                                             \
    "bhs.w  " at_end "\n"                                                                          \
    "ldrd   r0, r2, [r10], #8\n"                                                                   \
    "adds   r1, #132\n" combine

/* A list. Its states, 10 to 13, are how many quads of 4 there have been; r5 is where it goes on
 * behind the end of a part. */
#define EBNN_WALK_LIST(combine)                                                                    \
    "mov.w  lr, #0x80000000\n"                                                                     \
    "ldr.w  r10, [r1, #128]\n"                                                                     \
    "ldr.w  r3, [r1, #136]\n"                                                                      \
    "movs   r2, #0\n"                                                                              \
    "strd   r2, r3, [sp, #12]\n"                                                                   \
    "adr.w  r5, 10f\n"                                                                             \
    "2:\n"                                                                                         \
    "ldr.w  r2, [r1, #132]\n"                                                                      \
    "add    r2, r10\n"                                                                             \
    "str    r2, [sp, #8]\n"                                                                        \
    "ldr    r1, [r1, #32]\n"                                                                       \
    "subs   r1, #128\n"                                                                            \
    "cmp    r10, r2\n"                                                                             \
    "bhs    3f\n"                                                                                  \
    "ldrd   r0, r2, [r10], #8\n"                                                                   \
    "adds   r1, #132\n" combine "mov    pc, r5\n" /* Behind the whole words there may be a half,   \
                                                     its planes those of the lower half. */        \
    "3:\n"                                                                                         \
    "bhi    4f\n"                                                                                  \
    "ldr    r0, [r10], #4\n"                                                                       \
    "adds   r1, #68\n"                                                                             \
    "lsls   r2, r0, #16\n" combine "lsrs   r0, r0, #16\n"                                          \
    "mov    pc, r5\n" /* The next part: rotate the counts. */                                      \
    "4:\n"                                                                                         \
    "ldrd   r2, r3, [sp, #12]\n"                                                                   \
    "subs   r3, #1\n"                                                                              \
    "beq    5f\n"                                                                                  \
    "subs   r2, #1\n"                                                                              \
    "strd   r2, r3, [sp, #12]\n"                                                                   \
    "ldr    r1, [sp]\n"                                                                            \
    "ror.w  r6, r6, #1\n"                                                                          \
    "ror.w  r7, r7, #1\n"                                                                          \
    "ror.w  r8, r8, #1\n"                                                                          \
    "ror.w  r12, r12, #1\n"                                                                        \
    "ror.w  r9, r9, #1\n"                                                                          \
    "ror.w  r11, r11, #1\n"                                                                        \
    "b      2b\n" /* The end: quads of planes 0 fill up the last 16. */                            \
    "5:\n"                                                                                         \
    "movs   r4, #0\n"                                                                              \
    "adr.w  r2, 12f\n"                                                                             \
    "cmp    r5, r2\n"                                                                              \
    "beq    6f\n"                                                                                  \
    "bhi    7f\n"                                                                                  \
    "adr.w  r2, 10f\n"                                                                             \
    "cmp    r5, r2\n"                                                                              \
    "beq.w  8f\n"                                                                                  \
    "mov    r11, r8\n"                                                                             \
    "eor.w  r9, r9, r7\n"                                                                          \
    "orr.w  r11, r11, r9\n"                                                                        \
    "eor.w  r8, r8, r9\n"                                                                          \
    "6:\n"                                                                                         \
    "mov.w  r9, #0\n"                                                                              \
    "b      14f\n"                                                                                 \
    "7:\n"                                                                                         \
    "eor.w  r9, r9, r7\n"                                                                          \
    "b      14f\n"                                                                                 \
    "20:\n"                                                                                        \
    "adr.w  r5, 10f\n"                                                                             \
    "b      3b\n"                                                                                  \
    "21:\n"                                                                                        \
    "adr.w  r5, 11f\n"                                                                             \
    "b      3b\n"                                                                                  \
    "22:\n"                                                                                        \
    "adr.w  r5, 12f\n"                                                                             \
    "b      3b\n"                                                                                  \
    "23:\n"                                                                                        \
    "adr.w  r5, 13f\n"                                                                             \
    "b      3b\n"                                                                                  \
    ".p2align 2\n"                                                                                 \
    "10:\n" EBNN_WALK_FOUR("r9")                                                                   \
        EBNN_FIRST_TO_R7 EBNN_UNLESS_DONE("11f", combine, "21b") ".p2align 2\n"                    \
                                                                 "11:\n" EBNN_WALK_FOUR("r11")     \
                                                                     EBNN_SECOND_TO_R7             \
        "eor.w  r11, r8, r4\n"                                                                     \
        "orr.w  r11, r11, r9\n"                                                                    \
        "eor.w  r8, r8, r9\n" EBNN_UNLESS_DONE(                                                    \
            "12f", combine,                                                                        \
            "22b") ".p2align 2\n"                                                                  \
                   "12:\n" EBNN_WALK_FOUR("r9") EBNN_FIRST_TO_R7 EBNN_UNLESS_DONE(                 \
                       "13f", combine,                                                             \
                       "23b") ".p2align 2\n"                                                       \
                              "13:\n" EBNN_WALK_FOUR_WITHOUT_SPARE EBNN_SECOND_TO_R7 "14:\n"       \
                              "eor.w  r4, r4, r8\n"                                                \
                              "bic.w  r4, r4, r9\n"                                                \
                              "eor.w  r11, r11, r4\n"                                              \
                              "eor.w  r4, r4, r8\n"                                                \
                              "eor.w  r8, r8, r9\n"                                                \
                              "eor.w  r4, r4, r12\n"                                               \
                              "bic.w  r4, r4, r11\n"                                               \
                              "eor.w  r4, r4, r12\n"                                               \
                              "eor.w  r12, r12, r11\n"                                             \
                              "ldrd   r3, r2, [sp, #4]\n"                                          \
                              "ldr    r5, [sp, #12]\n"                                             \
                              "ror.w  r4, r4, r5\n"                                                \
                              "str    r4, [r3], #4\n"                                              \
                              "str    r3, [sp, #4]\n"                                              \
                              "cmp    r0, #0\n"                                                    \
                              "bne.w  10b\n"                                                       \
                              "cmp    r10, r2\n"                                                   \
                              "bhs.w  20b\n"                                                       \
                              "ldrd   r0, r2, [r10], #8\n"                                         \
                              "adds   r1, #132\n" combine "b.w    10b\n"                           \
                              "8:\n"                                                               \
                              "ldr    r2, [sp, #12]\n"                                             \
                              "ror.w  r6, r6, r2\n"                                                \
                              "ror.w  r7, r7, r2\n"                                                \
                              "ror.w  r8, r8, r2\n"                                                \
                              "ror.w  r12, r12, r2\n"                                              \
                              "ldr    r1, [sp]\n"
/* A filter's lanes, after its own list. */
#define EBNN_OWN_LANES                                                                             \
    "str.w  r10, [sp, #12]\n"                                                                      \
    "ldr.w  r10, [sp, #4]\n" EBNN_SUM_CARRIES EBNN_FIND_LANES "18:\n"                              \
    "ldr    r0, [r1, #88]\n"                                                                       \
    "ldrb   r2, [r0], #1\n"                                                                        \
    "str    r0, [r1, #88]\n" EBNN_STORE_LANES

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
EBNN_WALK_PAIR {
    /* r0 what is left of a word, r1 its first plane, r2 to r5 four planes, r6 ones, r7 twos, r8
     * fours, r12 eights, r9 and r11 wait for the second four and eight planes, r10 weights, lr the
     * highest bit. On the stack: the pair, carry, the weights' part_end, turn, parts left. */
    /* clang-format off */
    __asm__ volatile(
        ".syntax unified\n"
        "add    r2, r0, #92\n"
        "stm    r2, {r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"
        "mov    r1, r0\n"
        "ldrd   r2, r3, [r1, #24]\n"
        "str    r3, [sp, #4]\n"
        "ldm    r2, {r6, r7, r8, r12}\n" EBNN_WALK_LIST("ands   r0, r2\n")
        "stm.w  r1, {r6, r7, r8}\n" /* what both have */
        "ldr    r3, [sp, #4]\n"
        "str    r3, [r1, #12]\n"
        "str.w  r12, [r1, #20]\n");
    __asm__ volatile(
        EBNN_WALK_LIST("bics   r0, r2\n") EBNN_OWN_LANES
        "subs   r4, #1\n"
        "beq.w  17f\n"
        "ldm.w  r1, {r6, r7, r8}\n"
        "ldr    r3, [r1, #12]\n"
        "str    r3, [sp, #4]\n"
        "ldr.w  r12, [r1, #20]\n");
    __asm__ volatile(
        EBNN_WALK_LIST("bic.w  r0, r2, r0\n") EBNN_OWN_LANES
        "17:\n"
        "ldr    r2, [sp, #12]\n"
        "str.w  r2, [r1, #128]\n"
        "add    r1, r1, #92\n"
        "ldm    r1, {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n");
    /* clang-format on */
}
#pragma GCC diagnostic pop

#endif
