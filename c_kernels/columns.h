/* What convolutions share that have their weights in code: block0, block0_... in model.c.
 *
 * A word has the sums of two neighbouring positions of a row, a lane of 16 bits each. All pairs of
 * positions at the same place of their rows are a column; the code goes down one column after the
 * other. The signed sums of the taps of a map's row are tabulated once for all filters and kernel
 * rows: entry p of a table has the last tap added, and tap i added where bit i of p is set and
 * subtracted where it is not. What is missing are those sums negated.
 *
 * Lanes need no care: a word is the low lane plus 2^16 times the high one, modulo 2^32. What a
 * filter adds at the end makes the top bit of a lane say whether its sum is below the threshold:
 *   2^15 + threshold - 1 - sum    the low lane is in 0..65535 and borrows nothing
 *   1 - 2 threshold + 2 sum       doubled: an odd number, which 1 less does not make negative
 */
#ifndef EBNN_COLUMNS_H
#define EBNN_COLUMNS_H

#include "bits.h"

/* With few registers entries of the tables are loaded where they are used. With more, eight of them
 * are held, and some layers have other code. */
#if defined(EBNN_FEW_REGISTERS)
#define EBNN_REGISTER "+l" /* that every instruction takes */
#else
#define EBNN_REGISTER "+r"
#endif

/* What gcc does without these takes up to a fifth more cycles: it begins with many filters at once
 * until no registers are left, and keeps values somewhere that are as quickly loaded again. */
#if defined(__GNUC__)
#define EBNN_SETTLE(value) __asm__ volatile("" : EBNN_REGISTER(value)) /* is known here */
#else
#define EBNN_SETTLE(value) ((void)0)
#endif

/* Wide instructions that do not lie on a word may cost a cycle behind a load. */
#if defined(__thumb2__)
#define EBNN_ALIGN() __asm__ volatile(".p2align 2")
#else
#define EBNN_ALIGN() ((void)0)
#endif

#if defined(EBNN_FEW_REGISTERS)
#define EBNN_HOLD(v, entry) ((void)0)
#define EBNN_HELD(v, entry) (v)[entry]
#define EBNN_RELOAD() EBNN_FORGET()
#else
#define EBNN_HOLD(v, entry)                                                                        \
    uint32_t held##entry = (v)[entry];                                                             \
    EBNN_SETTLE(held##entry)
#define EBNN_HELD(v, entry) held##entry
#define EBNN_RELOAD() ((void)0)
#endif

/* The sign bits of a word's lanes. */
#define EBNN_SIGNS 0x80008000u

/* Put the signs of `sum` into bit k of the lanes of `below`. */
#define EBNN_PUT_SIGNS(below, k, sum)                                                              \
    do {                                                                                           \
        uint32_t signs_ = (sum) & EBNN_SIGNS;                                                      \
        EBNN_SETTLE(signs_);                                                                       \
        (below) |= signs_ >> (15 - (k));                                                           \
        EBNN_SETTLE(below);                                                                        \
    } while (0)

/* The same with a single lane. */
#define EBNN_PUT_SIGN(below, k, sum)                                                               \
    do {                                                                                           \
        uint32_t sign_ = (sum) >> 31;                                                              \
        EBNN_SETTLE(sign_);                                                                        \
        (below) |= sign_ << (k);                                                                   \
        EBNN_SETTLE(below);                                                                        \
    } while (0)

/* The values at i and j, one in each lane. */
#define EBNN_LANES(pixel, i, j) ((uint32_t)(pixel)[i] + ((uint32_t)(pixel)[j] << 16))

/* Of the bits of a pair: its low lane, its high lane, or what is set in both; in the lower (DOWN)
 * or the upper (UP) half of a word. */
#define EBNN_LOW_LANE_DOWN(bits) ((bits) & 0xffffu)
#define EBNN_LOW_LANE_UP(bits) ((bits) << 16)
#define EBNN_HIGH_LANE_DOWN(bits) ((bits) >> 16)
#define EBNN_HIGH_LANE_UP(bits) ((bits) & 0xffff0000u)
#define EBNN_BOTH_LANES_DOWN(bits) ebnn_both_lanes_down(bits)
#define EBNN_BOTH_LANES_UP(bits) ebnn_both_lanes_up(bits)

EBNN_INLINE uint32_t ebnn_both_lanes_down(uint32_t bits) {
    return bits & (bits >> 16);
}

EBNN_INLINE uint32_t ebnn_both_lanes_up(uint32_t bits) {
    return bits & (bits << 16);
}

#endif
