/* ebnn_walk_pair for cores with Thumb-1 alone: see walk_planes.c. */
#ifndef EBNN_WALK_PLANES_THUMB1_H
#define EBNN_WALK_PLANES_THUMB1_H

#include "pair_lanes_thumb1.h"
#include "walk_planes.h"

/* The lowest bit of r0 that is set; Z where it was the last one. */
#define EBNN_NEXT_BIT(to)                                                                          \
    "rsbs   " to ", r0, #0\n"                                                                      \
    "ands   " to ", r0\n"                                                                          \
    "eors   r0, " to "\n"
/* Its plane; of no bit it is the word 0 behind the group. */
#define EBNN_PLANE_OF_BIT(bit)                                                                     \
    "muls   " bit ", r1, " bit "\n"                                                                \
    "lsrs   " bit ", " bit ", #26\n"                                                               \
    "add    " bit ", r10\n"                                                                        \
    "ldrb   " bit ", [" bit "]\n"                                                                  \
    "ldr    " bit ", [r7, " bit "]\n"
/* r5 + r2 + r3, the first full adder of two: r2 waits for the second. */
#define EBNN_ADD_TWO                                                                               \
    "eors   r3, r2\n"                                                                              \
    "eors   r2, r5\n"                                                                              \
    "orrs   r2, r3\n"                                                                              \
    "eors   r5, r3\n"
/* Four planes. r5 + the four: of the carries a and b, r4 becomes b and r2 a ^ b. Where a word ends
 * with one or two planes, `two` has the rest. */
#define EBNN_WALK_FOUR(two)                                                                        \
    EBNN_NEXT_BIT("r2")                                                                            \
    EBNN_PLANE_OF_BIT("r2")                                                                        \
    EBNN_NEXT_BIT("r3")                                                                            \
    "beq    " two "\n" EBNN_PLANE_OF_BIT("r3") EBNN_ADD_TWO EBNN_NEXT_BIT("r4")                    \
        EBNN_PLANE_OF_BIT("r4") EBNN_NEXT_BIT("r3") EBNN_PLANE_OF_BIT("r3") "eors   r3, r4\n"      \
                                                                            "eors   r4, r5\n"      \
                                                                            "bics   r4, r3\n"      \
                                                                            "eors   r2, r4\n"      \
                                                                            "eors   r4, r5\n"      \
                                                                            "eors   r5, r3\n"
#define EBNN_WALK_TWO                                                                              \
    EBNN_PLANE_OF_BIT("r3")                                                                        \
    EBNN_ADD_TWO                                                                                   \
    "eors   r2, r5\n"                                                                              \
    "movs   r4, #0\n"
/* The carries of four to r6; they wait in r9 for those of four more. */
#define EBNN_FIRST_CARRIES                                                                         \
    "movs   r3, r6\n"                                                                              \
    "eors   r3, r4\n"                                                                              \
    "orrs   r3, r2\n"                                                                              \
    "eors   r6, r2\n"                                                                              \
    "mov    r9, r3\n"
/* The carries of four more; those of both become r4 and r3. */
#define EBNN_SECOND_CARRIES                                                                        \
    "eors   r4, r6\n"                                                                              \
    "bics   r4, r2\n"                                                                              \
    "mov    r3, r9\n"                                                                              \
    "eors   r3, r4\n"                                                                              \
    "eors   r4, r6\n"                                                                              \
    "eors   r6, r2\n"
/* The carries of eight to r8; they wait in lr for those of eight more. */
#define EBNN_EIGHT_CARRIES                                                                         \
    "mov    r2, r8\n"                                                                              \
    "eors   r4, r2\n"                                                                              \
    "orrs   r4, r3\n"                                                                              \
    "eors   r2, r3\n"                                                                              \
    "mov    r8, r2\n"                                                                              \
    "mov    lr, r4\n"
/* Where a word is done the next one, which `combine` makes of both filters' words in r0 and r2. */
#define EBNN_UNLESS_DONE(next, combine, state)                                                     \
    "cmp    r0, #0\n"                                                                              \
    "bne    " next "\n"                                                                            \
    "mov    r3, r11\n"                                                                             \
    "ldr    r2, [sp, #8]\n"                                                                        \
    "cmp    r3, r2\n"                                                                              \
    "blo    31f\n"                                                                                 \
    "adr    r4, " state "\n"                                                                       \
    "b      3b\n"                                                                                  \
    "31:\n"                                                                                        \
    "ldmia  r3!, {r0, r2}\n"                                                                       \
    "mov    r11, r3\n"                                                                             \
    "adds   r7, #132\n" combine
#define EBNN_ROTATE(counts)                                                                        \
    "mov    r3, " counts "\n"                                                                      \
    "rors   r3, r2\n"                                                                              \
    "mov    " counts ", r3\n"

/* A list. Its states, 10 to 13, are how many quads of 4 there have been; r4 is where it goes on
 * behind the end of a part. */
#define EBNN_WALK_LIST(combine)                                                                    \
    "ldr    r3, [sp]\n"                                                                            \
    "adds   r3, #128\n"                                                                            \
    "ldr    r2, [r3]\n"                                                                            \
    "mov    r11, r2\n"                                                                             \
    "ldr    r2, [r3, #8]\n"                                                                        \
    "str    r2, [sp, #16]\n"                                                                       \
    "movs   r2, #0\n"                                                                              \
    "str    r2, [sp, #12]\n"                                                                       \
    "ldr    r2, [sp, #20]\n"                                                                       \
    "mov    r10, r2\n"                                                                             \
    "ldr    r1, [sp, #24]\n"                                                                       \
    "adr    r4, 10f\n"                                                                             \
    "2:\n"                                                                                         \
    "ldr    r3, [sp]\n"                                                                            \
    "ldr    r7, [r3, #32]\n"                                                                       \
    "subs   r7, #128\n"                                                                            \
    "adds   r3, #132\n"                                                                            \
    "ldr    r2, [r3]\n"                                                                            \
    "mov    r3, r11\n"                                                                             \
    "adds   r2, r2, r3\n"                                                                          \
    "str    r2, [sp, #8]\n"                                                                        \
    "cmp    r3, r2\n"                                                                              \
    "bhs    3f\n"                                                                                  \
    "ldmia  r3!, {r0, r2}\n"                                                                       \
    "mov    r11, r3\n"                                                                             \
    "adds   r7, #132\n" combine "mov    pc, r4\n" /* Behind the whole words, right at their end,   \
                                                     may be a half: planes of the lower half. */   \
    "3:\n"                                                                                         \
    "bhi    4f\n"                                                                                  \
    "ldmia  r3!, {r0}\n"                                                                           \
    "mov    r11, r3\n"                                                                             \
    "adds   r7, #68\n"                                                                             \
    "lsls   r2, r0, #16\n" combine "lsrs   r0, r0, #16\n"                                          \
    "mov    pc, r4\n" /* The next part: rotate the counts. */                                      \
    "4:\n"                                                                                         \
    "ldr    r3, [sp, #16]\n"                                                                       \
    "subs   r3, #1\n"                                                                              \
    "beq    5f\n"                                                                                  \
    "str    r3, [sp, #16]\n"                                                                       \
    "ldr    r3, [sp, #12]\n"                                                                       \
    "subs   r3, #1\n"                                                                              \
    "str    r3, [sp, #12]\n"                                                                       \
    "movs   r2, #1\n"                                                                              \
    "rors   r5, r2\n"                                                                              \
    "rors   r6, r2\n" EBNN_ROTATE("r8") EBNN_ROTATE("r12") EBNN_ROTATE("r9") EBNN_ROTATE(          \
        "lr") "b      2b\n" /* The end: quads of planes 0 fill up the last 16. */                  \
              "5:\n"                                                                               \
              "mov    r3, r9\n"                                                                    \
              "eors   r3, r6\n"                                                                    \
              "adr    r2, 12f\n"                                                                   \
              "cmp    r4, r2\n"                                                                    \
              "beq    6f\n"                                                                        \
              "blo    7f\n"                                                                        \
              "adr    r2, 30f\n"                                                                   \
              "cmp    r4, r2\n"                                                                    \
              "bne    9f\n"                                                                        \
              "b      8f\n"                                                                        \
              "7:\n"                                                                               \
              "movs   r4, #0\n" EBNN_EIGHT_CARRIES "6:\n"                                          \
              "movs   r3, #0\n"                                                                    \
              "9:\n"                                                                               \
              "movs   r4, #0\n"                                                                    \
              "b      14f\n"                                                                       \
              ".p2align 2\n"                                                                       \
              "10:\n" EBNN_WALK_FOUR("20f") "40:\n" EBNN_FIRST_CARRIES EBNN_UNLESS_DONE(           \
                  "11f", combine,                                                                  \
                  "11f") "b      11f\n"                                                            \
                         "20:\n" EBNN_WALK_TWO "b      40b\n"                                      \
                         ".p2align 2\n"                                                            \
                         "11:\n" EBNN_WALK_FOUR(                                                   \
                             "21f") "41:\n" EBNN_SECOND_CARRIES EBNN_EIGHT_CARRIES                 \
                             EBNN_UNLESS_DONE(                                                     \
                                 "12f", combine,                                                   \
                                 "12f") "b      12f\n"                                             \
                                        "21:\n" EBNN_WALK_TWO "b      41b\n"                       \
                                        ".p2align 2\n"                                             \
                                        "12:\n" EBNN_WALK_FOUR("22f") "42:\n" EBNN_FIRST_CARRIES   \
                                            EBNN_UNLESS_DONE(                                      \
                                                "13f", combine,                                    \
                                                "13f") "b      13f\n"                              \
                                                       "22:\n" EBNN_WALK_TWO "b      42b\n"        \
                                                       ".p2align 2\n"                              \
                                                       "13:\n" EBNN_WALK_FOUR(                     \
                                                           "23f") "43:\n" EBNN_SECOND_CARRIES      \
                                                                  "14:\n"                          \
                                                                  "mov    r2, r8\n"                \
                                                                  "eors   r4, r2\n"                \
                                                                  "bics   r4, r3\n"                \
                                                                  "eors   r3, r2\n"                \
                                                                  "mov    r8, r3\n"                \
                                                                  "mov    r3, lr\n"                \
                                                                  "eors   r3, r4\n"                \
                                                                  "eors   r4, r2\n"                \
                                                                  "mov    r2, r12\n"               \
                                                                  "eors   r4, r2\n"                \
                                                                  "bics   r4, r3\n"                \
                                                                  "eors   r4, r2\n"                \
                                                                  "eors   r2, r3\n"                \
                                                                  "mov    r12, r2\n"               \
                                                                  "ldr    r2, [sp, #12]\n"         \
                                                                  "rors   r4, r2\n"                \
                                                                  "ldr    r3, [sp, #4]\n"          \
                                                                  "stmia  r3!, {r4}\n"             \
                                                                  "str    r3, [sp, #4]\n"          \
                                                                  "cmp    r0, #0\n"                \
                                                                  "beq    32f\n"                   \
                                                                  "b      10b\n"                   \
                                                                  "32:\n"                          \
                                                                  "mov    r3, r11\n"               \
                                                                  "ldr    r2, [sp, #8]\n"          \
                                                                  "cmp    r3, r2\n"                \
                                                                  "blo    31f\n"                   \
                                                                  "adr    r4, 30f\n"               \
                                                                  "b      3b\n"                    \
                                                                  "31:\n"                          \
                                                                  "ldmia  r3!, {r0, r2}\n"         \
                                                                  "mov    r11, r3\n"               \
                                                                  "adds   r7, #132\n" combine      \
                                                                  ".p2align 2\n"                   \
                                                                  "30:\n"                          \
                                                                  "b      10b\n"                   \
                                                                  "23:\n" EBNN_WALK_TWO            \
                                                                  "b      43b\n"                   \
                                                                  "8:\n"                           \
                                                                  "ldr    r2, [sp, #12]\n"         \
                                                                  "rors   r5, r2\n"                \
                                                                  "rors   r6, r2\n" EBNN_ROTATE(   \
                                                                      "r8")                        \
                                                                      EBNN_ROTATE(                 \
                                                                          "r12") "ldr    r1, "     \
                                                                                 "[sp]\n"
/* A filter's lanes, after its own list. */
#define EBNN_OWN_LANES                                                                             \
    "mov    r2, r11\n"                                                                             \
    "str    r2, [sp, #12]\n"                                                                       \
    "ldr    r2, [sp, #4]\n"                                                                        \
    "mov    r9, r2\n" EBNN_SUM_CARRIES EBNN_FIND_LANES "ldr    r0, [r1, #88]\n"                    \
    "ldrb   r2, [r0]\n"                                                                            \
    "adds   r0, #1\n"                                                                              \
    "str    r0, [r1, #88]\n" EBNN_STORE_LANES

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
EBNN_WALK_PAIR {
    /* r0 what is left of a word, r1 the hash that tells a bit, r2 to r4 planes, r5 ones, r6 twos,
     * r8 fours, r12 eights, r9 and lr wait for the second four and eight planes, r7 the word's
     * first plane, r10 the table of places, r11 weights. On the stack: the pair, carry, the
     * weights' part_end, turn, parts left, the table, the hash. */
    /* clang-format off */
    __asm__ volatile(
        ".syntax unified\n"
        "movs   r1, r0\n"
        "adds   r0, #92\n"
        "stmia  r0!, {r4, r5, r6, r7}\n"
        "mov    r4, r8\n"
        "mov    r5, r9\n"
        "mov    r6, r10\n"
        "mov    r7, r11\n"
        "stmia  r0!, {r4, r5, r6, r7}\n"
        "mov    r4, lr\n"
        "str    r4, [r0]\n"
        "ldr    r2, [r1, #24]\n"
        "ldmia  r2!, {r3, r4, r5, r6}\n"
        "mov    r8, r5\n"
        "mov    r12, r6\n"
        "movs   r5, r3\n"
        "movs   r6, r4\n"
        "ldr    r2, [r1, #28]\n"
        "str    r2, [sp, #4]\n"
        EBNN_WALK_LIST("ands   r0, r2\n")
        "mov    r2, r8\n" /* what both have */
        "mov    r3, r12\n"
        "str    r5, [r1]\n"
        "str    r6, [r1, #4]\n"
        "str    r2, [r1, #8]\n"
        "str    r3, [r1, #20]\n"
        "ldr    r2, [sp, #4]\n"
        "str    r2, [r1, #12]\n");
    __asm__ volatile(
        EBNN_WALK_LIST("bics   r0, r2\n")
        EBNN_OWN_LANES
        "ldr    r2, [r1, #76]\n"
        "subs   r2, #1\n"
        "bne    19f\n"
        "b      17f\n"
        "19:\n"
        "ldr    r5, [r1]\n"
        "ldr    r6, [r1, #4]\n"
        "ldr    r2, [r1, #8]\n"
        "mov    r8, r2\n"
        "ldr    r2, [r1, #20]\n"
        "mov    r12, r2\n"
        "ldr    r2, [r1, #12]\n"
        "str    r2, [sp, #4]\n");
    __asm__ volatile(
        EBNN_WALK_LIST("bics   r2, r0\nmovs   r0, r2\n")
        EBNN_OWN_LANES
        "17:\n"
        "adds   r1, #92\n"
        "movs   r0, r1\n"
        "ldr    r2, [sp, #12]\n"
        "str    r2, [r0, #36]\n"
        "adds   r1, #16\n"
        "ldmia  r1!, {r2, r3, r4, r5, r6}\n"
        "mov    r8, r2\n"
        "mov    r9, r3\n"
        "mov    r10, r4\n"
        "mov    r11, r5\n"
        "mov    lr, r6\n"
        "ldmia  r0!, {r4, r5, r6, r7}\n"
        "bx     lr\n");
    /* clang-format on */
}
#pragma GCC diagnostic pop

#endif
