#include "rows.h"

#include "bits.h"

/* In assembly for the cores that have the DSP extension, and for those with 8 registers: gcc needs
 * a seventh and a third more cycles. The steps are those of ebnn_xor_popcount, a block of 8 words
 * at a time: bits are counted in ones, twos and fours, and in byte sums of what is worth 8. Both
 * functions find on their stack: x, words and the next count; at 48 the end and at 52 what to skip.
 */
#define UNUSED __attribute__((unused))
#define ROWS_PARAMETERS                                                                            \
    UNUSED const uint32_t *x, UNUSED const uint32_t *w, UNUSED uint32_t words,                     \
        UNUSED uint32_t *counts, UNUSED const uint32_t *end, UNUSED uint32_t skip

/* EBNN_PAIR_ADD, by instructions of two registers. */
#define PAIR_ADD(acc, x, xy)                                                                       \
    "eors " x ", " acc "\n\t"                                                                      \
    "orrs " x ", " xy "\n\t"                                                                       \
    "eors " acc ", " xy "\n\t"                                                                     \
    "eors " x ", " acc "\n\t"

#if defined(__thumb2__) && defined(__ARM_FEATURE_DSP) && EBNN_ASSEMBLY

/* EBNN_ADD_XOR4 to ones, from byte `at` of the words at r0 and r1. */
#define ADD_XOR4(at, carry, difference)                                                            \
    "ldr r2, [r0, #" #at "]\n\t"                                                                   \
    "ldr r4, [r1, #" #at "]\n\t"                                                                   \
    "ldr r3, [r0, #" #at " + 4]\n\t"                                                               \
    "ldr r5, [r1, #" #at " + 4]\n\t"                                                               \
    "eors r2, r4\n\t"                                                                              \
    "eors r3, r5\n\t"                                                                              \
    "eors r3, r2\n\t"                                                                              \
    "eor r2, r2, r8\n\t"                                                                           \
    "orrs r2, r3\n\t"                                                                              \
    "eor r8, r8, r3\n\t"                                                                           \
    "ldr r4, [r0, #" #at " + 8]\n\t"                                                               \
    "ldr r6, [r1, #" #at " + 8]\n\t"                                                               \
    "ldr r5, [r0, #" #at " + 12]\n\t"                                                              \
    "ldr r3, [r1, #" #at " + 12]\n\t"                                                              \
    "eors r4, r6\n\t"                                                                              \
    "eors r5, r3\n\t"                                                                              \
    "eors r5, r4\n\t"                                                                              \
    "eor r4, r4, r8\n\t"                                                                           \
    "bics r4, r5\n\t"                                                                              \
    "eor " difference ", r4, r2\n\t"                                                               \
    "eor " carry ", r8, r2\n\t"                                                                    \
    "eor r8, r8, r5\n\t"

__attribute__((naked)) void ebnn_add_rows(ROWS_PARAMETERS) {
    __asm__ volatile(
        "push {r0, r2, r3, r4-r11, lr}\n\t"
        "1:\n\t" /* a row: ones r8, twos r9, fours r10, byte sums of eights r11 */
        "ldr r0, [sp]\n\t"
        "ldr r7, [sp, #4]\n\t"
        "movs r2, #0\n\t"
        "mov r8, r2\n\t"
        "mov r9, r2\n\t"
        "mov r10, r2\n\t"
        "mov r11, r2\n\t"
        "lsls r2, r7, #31\n\t" /* an odd word */
        "beq 2f\n\t"
        "ldr r8, [r0], #4\n\t"
        "ldr r2, [r1], #4\n\t"
        "eor r8, r8, r2\n\t"
        "2:\n\t"
        "lsls r2, r7, #30\n\t" /* 2 words */
        "bpl 3f\n\t"
        "ldr r2, [r0]\n\t"
        "ldr r4, [r1]\n\t"
        "ldr r3, [r0, #4]\n\t"
        "ldr r5, [r1, #4]\n\t"
        "adds r0, #8\n\t"
        "adds r1, #8\n\t"
        "eors r2, r4\n\t"
        "eors r3, r5\n\t"
        "eors r3, r2\n\t" PAIR_ADD(
            "r8", "r2", "r3") "mov r9, r2\n\t"
                              "3:\n\t"
                              "lsls r2, r7, #29\n\t" /* 4 words */
                              "bpl 4f\n\t" ADD_XOR4(0, "r12",
                                                    "lr") "adds r0, #16\n\t"
                                                          "adds r1, #16\n\t" PAIR_ADD(
                                                              "r9", "r12",
                                                              "lr") "mov r10, r12\n\t"
                                                                    "4:\n\t"
                                                                    "lsrs r7, r7, #3\n\t"
                                                                    "beq 6f\n\t"
                                                                    "add r7, r0, r7, lsl #5\n\t"
                                                                    "5:\n\t" /* 8 words */
        ADD_XOR4(0, "r12", "lr") ADD_XOR4(
            16, "r2", "r3") "eor r12, r12, r9\n\t" /* EBNN_DOUBLE_ADD to twos */
                            "orr r12, r12, lr\n\t"
                            "eor r9, r9, lr\n\t"
                            "eor r2, r2, r9\n\t"
                            "bics r2, r3\n\t"
                            "eor lr, r2, r12\n\t"
                            "eor r12, r12, r9\n\t"
                            "eor r9, r9, r3\n\t" PAIR_ADD(
                                "r10", "r12",
                                "lr") "and r2, r12, #0xaaaaaaaa\n\t" /* byte sums of the carry */
                                      "sub r12, r12, r2, lsr #1\n\t"
                                      "and r2, r12, #0x33333333\n\t"
                                      "and r12, r12, #0xcccccccc\n\t"
                                      "add r12, r2, r12, lsr #2\n\t"
                                      "add r12, r12, r12, lsr #4\n\t"
                                      "and r12, r12, #0x0f0f0f0f\n\t"
                                      "add r11, r11, r12\n\t"
                                      "adds r0, #32\n\t"
                                      "adds r1, #32\n\t"
                                      "cmp r0, r7\n\t"
                                      "bne 5b\n\t"
                                      "6:\n\t"
                                      "mov r2, #0x55555555\n\t"
                                      "mov r3, #0x33333333\n\t"
                                      "mov r4, #0x0f0f0f0f\n\t"
                                      "and r5, r2, r8, lsr #1\n\t" /* pairs of bits */
                                      "sub r8, r8, r5\n\t"
                                      "and r5, r2, r9, lsr #1\n\t"
                                      "sub r9, r9, r5\n\t"
                                      "and r5, r2, r10, lsr #1\n\t"
                                      "sub r10, r10, r5\n\t"
                                      "and r5, r3, r8\n\t" /* nibbles */
                                      "and r6, r3, r8, lsr #2\n\t"
                                      "adds r5, r6\n\t"
                                      "and r6, r3, r9\n\t"
                                      "and r7, r3, r9, lsr #2\n\t"
                                      "adds r6, r7\n\t"
                                      "add r5, r5, r6, lsl #1\n\t" /* ones + 2 twos: at most 12 */
                                      "and r6, r3, r10\n\t"
                                      "and r7, r3, r10, lsr #2\n\t"
                                      "adds r6, r7\n\t"
                                      "and r7, r4, r5\n\t" /* bytes */
                                      "and r5, r4, r5, lsr #4\n\t"
                                      "adds r5, r7\n\t"
                                      "add r6, r6, r6, lsr #4\n\t"
                                      "ands r6, r4\n\t"
                                      "add r5, r5, r6, lsl #2\n\t" /* ... + 4 fours: at most 56 */
                                      "movs r6, #0\n\t"
                                      "usad8 r5, r5, r6\n\t"
                                      "usad8 r11, r11, r6\n\t"
                                      "add r5, r5, r11, lsl #3\n\t"
                                      "ldr r2, [sp, #8]\n\t"
                                      "ldr r3, [sp, #48]\n\t"
                                      "ldr r4, [sp, #52]\n\t"
                                      "ldr r6, [r2]\n\t"
                                      "add r1, r1, r4, lsl #2\n\t"
                                      "adds r5, r6\n\t"
                                      "str r5, [r2], #4\n\t"
                                      "str r2, [sp, #8]\n\t"
                                      "cmp r2, r3\n\t"
                                      "bne 1b\n\t"
                                      "add sp, #12\n\t"
                                      "pop {r4-r11, pc}");
}

#elif defined(__thumb__) && !defined(__thumb2__) && EBNN_ASSEMBLY

/* EBNN_ADD_XOR4 to ones in r2: a carry in r2, the difference in r3, ones in r5. */
#define ADD_XOR4                                                                                   \
    "ldm r0!, {r3, r4}\n\t"                                                                        \
    "ldm r1!, {r5, r6}\n\t"                                                                        \
    "eors r3, r5\n\t"                                                                              \
    "eors r4, r6\n\t"                                                                              \
    "eors r4, r3\n\t"                                                                              \
    "eors r3, r2\n\t"                                                                              \
    "orrs r3, r4\n\t"                                                                              \
    "eors r2, r4\n\t"                                                                              \
    "ldm r0!, {r4, r5}\n\t"                                                                        \
    "ldm r1!, {r6, r7}\n\t"                                                                        \
    "eors r4, r6\n\t"                                                                              \
    "eors r5, r7\n\t"                                                                              \
    "eors r5, r4\n\t"                                                                              \
    "eors r4, r2\n\t"                                                                              \
    "bics r4, r5\n\t"                                                                              \
    "eors r5, r2\n\t"                                                                              \
    "eors r2, r3\n\t"                                                                              \
    "eors r3, r4\n\t"

/* Bits to pairs, pairs to nibbles; the mask is in r7. */
#define PAIRS(v)                                                                                   \
    "lsrs r5, " v ", #1\n\t"                                                                       \
    "ands r5, r7\n\t"                                                                              \
    "subs " v ", r5\n\t"
#define NIBBLES(v)                                                                                 \
    "lsrs r5, " v ", #2\n\t"                                                                       \
    "ands r5, r7\n\t"                                                                              \
    "ands " v ", r7\n\t"                                                                           \
    "adds " v ", r5\n\t"

__attribute__((naked)) void ebnn_add_rows(ROWS_PARAMETERS) {
    __asm__ volatile(
        ".syntax unified\n\t"
        "push {r4-r7, lr}\n\t"
        "mov r4, r8\n\t"
        "mov r5, r9\n\t"
        "mov r6, r10\n\t"
        "mov r7, r11\n\t"
        "push {r0, r2, r3, r4-r7}\n\t"
        "1:\n\t" /* a row: ones r2, twos r8, fours r9, byte sums of eights r10, end of x r11 */
        "ldr r0, [sp]\n\t"
        "movs r2, #0\n\t"
        "mov r8, r2\n\t"
        "mov r9, r2\n\t"
        "mov r10, r2\n\t"
        "ldr r7, [sp, #4]\n\t"
        "lsls r3, r7, #31\n\t" /* an odd word */
        "beq 2f\n\t"
        "ldm r0!, {r2}\n\t"
        "ldm r1!, {r3}\n\t"
        "eors r2, r3\n\t"
        "2:\n\t"
        "lsls r3, r7, #30\n\t" /* 2 words */
        "bpl 3f\n\t"
        "ldm r0!, {r3, r4}\n\t"
        "ldm r1!, {r5, r6}\n\t"
        "eors r3, r5\n\t"
        "eors r4, r6\n\t"
        "eors r4, r3\n\t" PAIR_ADD(
            "r2", "r3",
            "r4") "mov r8, r3\n\t"
                  "3:\n\t"
                  "lsls r3, r7, #29\n\t" /* 4 words */
                  "bpl 4f\n\t" ADD_XOR4 "mov r4, r8\n\t" PAIR_ADD(
                      "r4", "r2",
                      "r3") "mov r8, r4\n\t"
                            "mov r9, r2\n\t"
                            "mov r2, r5\n\t"
                            "4:\n\t"
                            "ldr r7, [sp, #4]\n\t"
                            "lsrs r7, r7, #3\n\t"
                            "beq 6f\n\t"
                            "lsls r7, r7, #5\n\t"
                            "adds r7, r0\n\t"
                            "mov r11, r7\n\t"
                            "5:\n\t" /* 8 words */
        ADD_XOR4 "mov r12, r2\n\t"
                            "mov lr, r3\n\t"
                            "mov r2, r5\n\t" ADD_XOR4 "mov r4, r8\n\t" /* EBNN_DOUBLE_ADD to twos */
                            "mov r6, r12\n\t"
                            "mov r7, lr\n\t"
                            "eors r6, r4\n\t"
                            "orrs r6, r7\n\t"
                            "eors r4, r7\n\t"
                            "eors r2, r4\n\t"
                            "bics r2, r3\n\t"
                            "eors r3, r4\n\t"
                            "mov r8, r3\n\t"
                            "eors r4, r6\n\t"
                            "eors r6, r2\n\t"
                            "mov r7, r9\n\t" PAIR_ADD(
                                "r7", "r4", "r6") "mov r9, r7\n\t"
                                                  "mov r2, r5\n\t"
                                                  "ldr r7, 7f\n\t" /* byte sums of the carry */
        PAIRS("r4") "ldr r7, 7f + 4\n\t" NIBBLES(
            "r4") "lsrs r5, r4, #4\n\t"
                  "adds r4, r5\n\t"
                  "ldr r7, 7f + 8\n\t"
                  "ands r4, r7\n\t"
                  "add r10, r4\n\t"
                  "cmp r0, r11\n\t"
                  "bne 5b\n\t"
                  "6:\n\t"
                  "mov r3, r8\n\t"
                  "mov r4, r9\n\t"
                  "ldr r7, 7f\n\t" PAIRS("r2") PAIRS("r3")
                      PAIRS("r4") "ldr r7, 7f + 4\n\t" NIBBLES("r2") NIBBLES("r3")
                          NIBBLES("r4") "lsls r3, r3, #1\n\t"
                                        "adds r2, r3\n\t" /* nibbles of ones + 2 twos: at most 12 */
                                        "ldr r7, 7f + 8\n\t"
                                        "lsrs r5, r2, #4\n\t"
                                        "ands r5, r7\n\t"
                                        "ands r2, r7\n\t"
                                        "adds r2, r5\n\t"
                                        "lsrs r5, r4, #4\n\t"
                                        "adds r4, r5\n\t"
                                        "ands r4, r7\n\t"
                                        "lsls r4, r4, #2\n\t"
                                        "adds r2, r4\n\t" /* bytes of ... + 4 fours: at most 56 */
                                        "mov r3, r10\n\t"
                                        "ldr r7, 7f + 12\n\t"
                                        "lsrs r4, r3, #8\n\t"
                                        "ands r4, r7\n\t"
                                        "ands r3, r7\n\t"
                                        "adds r3, r4\n\t"
                                        "lsls r3, r3, #3\n\t"
                                        "lsrs r4, r2, #8\n\t"
                                        "ands r4, r7\n\t"
                                        "ands r2, r7\n\t"
                                        "adds r2, r4\n\t"
                                        "adds r2, r3\n\t"
                                        "lsrs r3, r2, #16\n\t"
                                        "adds r2, r3\n\t"
                                        "uxth r2, r2\n\t"
                                        "ldr r3, [sp, #8]\n\t"
                                        "ldr r4, [r3]\n\t"
                                        "adds r2, r4\n\t"
                                        "stm r3!, {r2}\n\t"
                                        "str r3, [sp, #8]\n\t"
                                        "ldr r5, [sp, #52]\n\t"
                                        "lsls r5, r5, #2\n\t"
                                        "adds r1, r5\n\t"
                                        "ldr r4, [sp, #48]\n\t"
                                        "cmp r3, r4\n\t"
                                        "beq 8f\n\t"
                                        "b 1b\n\t"
                                        "8:\n\t"
                                        "add sp, #12\n\t"
                                        "pop {r4-r7}\n\t"
                                        "mov r8, r4\n\t"
                                        "mov r9, r5\n\t"
                                        "mov r10, r6\n\t"
                                        "mov r11, r7\n\t"
                                        "pop {r4-r7, pc}\n\t"
                                        ".balign 4\n\t"
                                        "7:\n\t"
                                        ".word 0x55555555, 0x33333333, 0x0f0f0f0f, 0x00ff00ff");
}

#else

void ebnn_add_rows(const uint32_t *x, const uint32_t *w, uint32_t words, uint32_t *counts,
                   const uint32_t *end, uint32_t skip) {
    for (; counts != end; ++counts, w += words + skip) {
        *counts += ebnn_xor_popcount(x, w, words);
    }
}

#endif
