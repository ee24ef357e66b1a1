/* Counting bits without a popcount instruction: carry-save adders first, then byte sums. */
#ifndef EBNN_BITS_H
#define EBNN_BITS_H

#include "ebnn_kernels.h"

#include <stdint.h>

/* Left to itself gcc calls the counting of 9 words, which costs a fifth of it. */
#if defined(__GNUC__)
#define EBNN_INLINE static inline __attribute__((always_inline))
/* Inlined into its caller, a loop that needs every register shares them with what surrounds it. */
#define EBNN_NOINLINE static __attribute__((noinline))
/* Nor copied for the arguments of a call: its name is the one that a profile shows. */
#if defined(__clang__)
#define EBNN_WHOLE EBNN_NOINLINE
#else
#define EBNN_WHOLE static __attribute__((noinline, noclone))
#endif
/* What was read from memory is read again behind this: kept in registers, it would take those that
 * what comes next needs. */
#define EBNN_FORGET() __asm__ volatile("" ::: "memory")
#else
#define EBNN_INLINE static inline
#define EBNN_NOINLINE static
#define EBNN_WHOLE static
#define EBNN_FORGET() ((void)0)
#endif

/* The eight registers of M0 and M0+. */
#if defined(__thumb__) && !defined(__thumb2__)
#define EBNN_FEW_REGISTERS
#define EBNN_FORGET_IF_FEW_REGISTERS() EBNN_FORGET()
#else
#define EBNN_FORGET_IF_FEW_REGISTERS() ((void)0)
#endif

static inline uint32_t ebnn_popcount(uint32_t v) {
    v -= (v >> 1) & 0x55555555u;
    v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
    v = (v + (v >> 4)) & 0x0f0f0f0fu;
    return (v * 0x01010101u) >> 24; /* at most 32 */
}

/* Full adder in each bit: a + b + c = 2 * high + low. */
#define EBNN_FULL_ADD(high, low, a, b, c)                                                          \
    do {                                                                                           \
        const uint32_t a_ = (a), b_ = (b), c_ = (c), u_ = a_ ^ b_;                                 \
        (high) = (a_ & b_) | (u_ & c_);                                                            \
        (low) = u_ ^ c_;                                                                           \
    } while (0)

/* Pairs of bits to sums of 0..2, then to nibbles of 0..4. */
static inline uint32_t ebnn_nibble_sums(uint32_t v) {
    v -= (v >> 1) & 0x55555555u;
    return (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
}

/* Nibbles of 0..12 to bytes of 0..24. */
static inline uint32_t ebnn_byte_sums(uint32_t v) {
    return (v & 0x0f0f0f0fu) + ((v >> 4) & 0x0f0f0f0fu);
}

/* Number of ones in the xor of 9 words, 0..288. */
EBNN_INLINE uint32_t ebnn_xor_popcount9(const uint32_t *a, const uint32_t *b) {
    uint32_t ones0, ones1, ones2, twos0, twos1, twos2, ones, twos, twos3, fours;
    EBNN_FULL_ADD(twos0, ones0, a[0] ^ b[0], a[1] ^ b[1], a[2] ^ b[2]);
    EBNN_FULL_ADD(twos1, ones1, a[3] ^ b[3], a[4] ^ b[4], a[5] ^ b[5]);
    EBNN_FULL_ADD(twos2, ones2, a[6] ^ b[6], a[7] ^ b[7], a[8] ^ b[8]);
    EBNN_FULL_ADD(twos3, ones, ones0, ones1, ones2);
    EBNN_FULL_ADD(fours, twos, twos0, twos1, twos2);
    /* Bytes: ones + 2 twos at most 8 + 2 * 16, fours 8: the sum is at most 8 + 32 + 32 = 72. */
    const uint32_t pairs = ebnn_nibble_sums(twos) + ebnn_nibble_sums(twos3); /* nibbles 0..8 */
    uint32_t sum = ebnn_byte_sums(ebnn_nibble_sums(ones)) + 2u * ebnn_byte_sums(pairs) +
                   4u * ebnn_byte_sums(ebnn_nibble_sums(fours));
    sum = (sum & 0x00ff00ffu) + ((sum >> 8) & 0x00ff00ffu);
    return (sum + (sum >> 16)) & 0xffffu;
}

/* Number of ones in the xor of `words` words. */
EBNN_INLINE uint32_t ebnn_xor_popcount(const uint32_t *a, const uint32_t *b, uint32_t words) {
    uint32_t count = 0;
    for (; words >= 9; words -= 9, a += 9, b += 9) {
        count += ebnn_xor_popcount9(a, b);
    }
    for (; words != 0; --words) {
        count += ebnn_popcount(*a++ ^ *b++);
    }
    return count;
}

/* Bit i of a dense map. */
static inline uint32_t ebnn_dense_bit(const uint8_t *map, uint32_t i) {
    return ((uint32_t)map[i >> 3] >> (i & 7u)) & 1u;
}

/* `count` bits of a dense map from bit i on, 1..32, in words; above them may be anything. */
EBNN_INLINE uint32_t ebnn_bits_at(const uint32_t *map, uint32_t i, uint32_t count) {
    const uint32_t low = map[i >> 5], high = map[(i + count - 1u) >> 5];
    return (low >> (i & 31u)) | (high << 1) << (~i & 31u);
}

/* An integer map's value at index i as it enters a sum. */
EBNN_INLINE uint32_t ebnn_value_at(const void *map, ebnn_layout_t layout, uint32_t i) {
    return layout == EBNN_U8 ? (uint32_t)((const uint8_t *)map)[i]
                             : (uint32_t)(int32_t)((const int16_t *)map)[i];
}

#endif
