/* Counting bits without a popcount instruction: carry-save adders first, then byte sums. */
#ifndef EBNN_BITS_H
#define EBNN_BITS_H

#include "ebnn_kernels.h"

#include <stdint.h>
#if defined(__ARM_FEATURE_DSP)
#include <arm_acle.h>
#endif

/* Left to itself gcc calls the counting of 9 words, which costs a fifth of it. */
#if defined(__GNUC__)
#define EBNN_INLINE static inline __attribute__((always_inline))
/* Inlined into its caller, a loop that needs every register shares them with what surrounds it; and
 * a clone for the arguments of a call has another name in a profile. */
#if defined(__clang__)
#define EBNN_NOINLINE static __attribute__((noinline))
#else
#define EBNN_NOINLINE static __attribute__((noinline, noclone))
#endif
/* What was read from memory is read again behind this: kept in registers, it would take those that
 * what comes next needs. */
#define EBNN_FORGET() __asm__ volatile("" ::: "memory")
#else
#define EBNN_INLINE static inline
#define EBNN_NOINLINE static
#define EBNN_FORGET() ((void)0)
#endif

/* Before a loop: it stays one, which takes fewer registers. */
#if defined(__GNUC__) && !defined(__clang__)
#define EBNN_NO_UNROLL _Pragma("GCC unroll 1")
#else
#define EBNN_NO_UNROLL
#endif

/* 16 bits of a map. */
#if defined(__GNUC__)
typedef uint16_t __attribute__((may_alias)) ebnn_half_t;
#else
typedef uint16_t ebnn_half_t;
#endif

/* Beside assembly stands the C that does the same; EBNN_PORTABLE takes the C everywhere. */
#if defined(__GNUC__) && !defined(EBNN_PORTABLE)
#define EBNN_ASSEMBLY 1
#else
#define EBNN_ASSEMBLY 0
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

/* Two full adders in each bit: acc + x0 + y0 + x1 + y1 = 2 * (carry0 + carry1) + acc. A pair of
 * words x and y is held as x and x ^ y: in come acc, x0, x0 ^ y0, x1 and x1 ^ y1, out go the new
 * acc and, in the place of the first pair, carry0 and carry0 ^ carry1. So held, an addition takes 4
 * operations and not 5: the "modified double full adder" of Demenkov, Kojevnikov, Kulikov and
 * Yaroslavtsev, "New upper bounds on the Boolean circuit complexity of symmetric functions"
 * (2010). */
#define EBNN_DOUBLE_ADD(acc, x0, x0y0, x1, x1y1)                                                   \
    do {                                                                                           \
        const uint32_t or_ = ((x0) ^ (acc)) | (x0y0);                                              \
        (acc) ^= (x0y0);                                                                           \
        (x0) = (acc) ^ or_;                                                                        \
        (x0y0) = or_ ^ (((x1) ^ (acc)) & ~(x1y1));                                                 \
        (acc) ^= (x1y1);                                                                           \
    } while (0)

/* A full adder for one such pair: acc + x + y = 2 * x + acc; x out is the carry. */
#define EBNN_PAIR_ADD(acc, x, xy)                                                                  \
    do {                                                                                           \
        const uint32_t or_ = ((x) ^ (acc)) | (xy);                                                 \
        (acc) ^= (xy);                                                                             \
        (x) = (acc) ^ or_;                                                                         \
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

/* The sum of 4 bytes. */
static inline uint32_t ebnn_sum_bytes(uint32_t v) {
#if defined(__ARM_FEATURE_DSP)
    return __usad8(v, 0);
#else
    v = (v & 0x00ff00ffu) + ((v >> 8) & 0x00ff00ffu);
    return (v + (v >> 16)) & 0xffffu;
#endif
}

/* Words i and i + 1 of x ^ w, as such a pair. */
#define EBNN_XOR_PAIR(first, difference, x, w, i)                                                  \
    do {                                                                                           \
        (first) = (x)[i] ^ (w)[i];                                                                 \
        (difference) = (x)[(i) + 1] ^ (w)[(i) + 1] ^ (first);                                      \
    } while (0)

/* Add words i to i + 3 of x ^ w to ones: a pair of carries. */
#define EBNN_ADD_XOR4(ones, carry, difference, x, w, i)                                            \
    do {                                                                                           \
        uint32_t carry4_, difference4_;                                                            \
        EBNN_XOR_PAIR(carry, difference, x, w, i);                                                 \
        EBNN_XOR_PAIR(carry4_, difference4_, x, w, (i) + 2);                                       \
        EBNN_DOUBLE_ADD(ones, carry, difference, carry4_, difference4_);                           \
    } while (0)

/* Add words i to i + 7 to ones and twos: a pair of carries worth 4. */
#define EBNN_ADD_XOR8(ones, twos, carry, difference, x, w, i)                                      \
    do {                                                                                           \
        uint32_t carry8_, difference8_;                                                            \
        EBNN_ADD_XOR4(ones, carry, difference, x, w, i);                                           \
        EBNN_ADD_XOR4(ones, carry8_, difference8_, x, w, (i) + 4);                                 \
        EBNN_DOUBLE_ADD(twos, carry, difference, carry8_, difference8_);                           \
    } while (0)

/* Number of ones in the xor of `words` words: counted bit by bit in ones, twos, fours and eights,
 * and as byte sums beyond. The words left over come first, while these are 0. */
EBNN_INLINE uint32_t ebnn_xor_popcount(const uint32_t *x, const uint32_t *w, uint32_t words) {
    uint32_t ones = 0, twos = 0, fours = 0, eights = 0, sixteens = 0, count = 0, carry, difference;
    if (words & 1u) {
        ones = *x++ ^ *w++;
    }
    if (words & 2u) {
        EBNN_XOR_PAIR(twos, difference, x, w, 0);
        EBNN_PAIR_ADD(ones, twos, difference);
        x += 2;
        w += 2;
    }
    if (words & 4u) {
        EBNN_ADD_XOR4(ones, fours, difference, x, w, 0);
        EBNN_PAIR_ADD(twos, fours, difference);
        x += 4;
        w += 4;
    }
    if (words & 8u) {
        EBNN_ADD_XOR8(ones, twos, eights, difference, x, w, 0);
        EBNN_PAIR_ADD(fours, eights, difference);
        x += 8;
        w += 8;
    }
    for (uint32_t blocks = words / 16u; blocks != 0;) {
        uint32_t carry16, difference16;
        EBNN_ADD_XOR8(ones, twos, carry, difference, x, w, 0);
        EBNN_ADD_XOR8(ones, twos, carry16, difference16, x, w, 8);
        EBNN_DOUBLE_ADD(fours, carry, difference, carry16, difference16);
        EBNN_PAIR_ADD(eights, carry, difference);
        sixteens += ebnn_byte_sums(ebnn_nibble_sums(carry)); /* bytes of at most 8 a block */
        if ((--blocks & 15u) == 0) {
            count += ebnn_sum_bytes(sixteens);
            sixteens = 0;
        }
        x += 16;
        w += 16;
#if defined(__GNUC__)
        __asm__("" : "+r"(x), "+r"(w)); /* else gcc makes two more pointers of each */
#endif
    }
    uint32_t m1 = 0x55555555u, m2 = 0x33333333u, m4 = 0x0f0f0f0fu;
#if defined(__GNUC__)
    /* Else gcc makes the masks anew for each use. That they seem to depend on the counts keeps
     * them from being made before, when registers are scarce. */
    __asm__("" : "+r"(m1), "+r"(m2), "+r"(m4), "+r"(ones));
#endif
    ones -= (ones >> 1) & m1;
    twos -= (twos >> 1) & m1;
    fours -= (fours >> 1) & m1;
    eights -= (eights >> 1) & m1;
    ones = (ones & m2) + ((ones >> 2) & m2);
    twos = (twos & m2) + ((twos >> 2) & m2);
    fours = (fours & m2) + ((fours >> 2) & m2);
    eights = (eights & m2) + ((eights >> 2) & m2);
    ones += 2u * twos;    /* nibbles of at most 12 */
    fours += 2u * eights; /* the same */
    ones = (ones & m4) + ((ones >> 4) & m4);
    fours = (fours & m4) + ((fours >> 4) & m4);
    ones += 4u * fours; /* bytes of at most 120 */
    return ebnn_sum_bytes(ones) + 16u * count;
}

/* The class of a row or column from how many come before it: the first `edge` hang over the map
 * each in a way of its own, the `middle` after them are alike, then each is by itself again. */
static inline uint32_t ebnn_edge_class(uint32_t position, uint32_t edge, uint32_t middle) {
    if (position < edge) {
        return position;
    }
    return position < edge + middle ? edge : position - middle + 1u;
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
