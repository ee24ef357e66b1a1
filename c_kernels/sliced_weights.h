/* Counting products with a word of weights for each input, the highest one of a block first, or
 * with fewer bytes where there are fewer filters: for conv_sliced.c, conv_sliced_narrow.c and
 * conv_sliced_groups.c. */
#ifndef EBNN_SLICED_WEIGHTS_H
#define EBNN_SLICED_WEIGHTS_H

#include "sliced.h"

/* Weight i of an array whose weights have 1, 2 or 4 bytes. */
EBNN_INLINE uint32_t ebnn_weight_at(const void *weights, uint32_t i, uint32_t weight_bytes) {
    if (weight_bytes == 1u) {
        return ((const uint8_t *)weights)[i];
    }
    return weight_bytes == 2u ? ((const uint16_t *)weights)[i] : ((const uint32_t *)weights)[i];
}

/* Whether the product of input i (of the 16 in the upper half of `inputs`) and each filter's
 * weight is -1. */
#define EBNN_NEGATIVE(i)                                                                           \
    (ebnn_weight_at(weights, i, weight_bytes) ^ (uint32_t)((int32_t)(inputs << (i)) >> 31))

#define EBNN_ADD_PRODUCTS(negative, i)                                                             \
    uint32_t x1 = negative(i), y1 = negative((i) + 1);                                             \
    uint32_t x2 = negative((i) + 2), y2 = negative((i) + 3);                                       \
    EBNN_ADD_FOUR(ones, x1, y1, x2, y2)

/* Count 16 products, of which `negative`(i) tells where product i is -1, in `counts`; `carry`,
 * worth 16, is for what is behind. */
#define EBNN_COUNT_BLOCK(negative)                                                                 \
    uint32_t ones = counts->ones, twos = counts->twos;                                             \
    uint32_t four, eight, carry;                                                                   \
    {                                                                                              \
        EBNN_ADD_PRODUCTS(negative, 0);                                                            \
        EBNN_ADD_FIRST(twos, x2, x1);                                                              \
        four = x2;                                                                                 \
    }                                                                                              \
    {                                                                                              \
        EBNN_ADD_PRODUCTS(negative, 4);                                                            \
        EBNN_ADD_SECOND(twos, four, x2, x1);                                                       \
        EBNN_ADD_FIRST(counts->fours, x2, four);                                                   \
        eight = x2;                                                                                \
    }                                                                                              \
    {                                                                                              \
        EBNN_ADD_PRODUCTS(negative, 8);                                                            \
        EBNN_ADD_FIRST(twos, x2, x1);                                                              \
        four = x2;                                                                                 \
    }                                                                                              \
    {                                                                                              \
        EBNN_ADD_PRODUCTS(negative, 12);                                                           \
        EBNN_ADD_SECOND(twos, four, x2, x1);                                                       \
        EBNN_ADD_SECOND(counts->fours, eight, x2, four);                                           \
        EBNN_ADD(counts->eights, x2, eight);                                                       \
        carry = x2;                                                                                \
    }                                                                                              \
    counts->ones = ones;                                                                           \
    counts->twos = twos

/* Count the products that are -1 of 16 inputs; returns the carry, worth 16. */
EBNN_INLINE uint32_t ebnn_count_block(uint32_t inputs, const void *weights, uint32_t weight_bytes,
                                      ebnn_sliced_counter_t *counts) {
    EBNN_COUNT_BLOCK(EBNN_NEGATIVE);
    return carry;
}

#endif
