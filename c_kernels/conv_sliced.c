#include "sliced.h"

/* A word of weights for each input, the highest one of a block first. */
enum { BLOCK_WORDS = EBNN_SLICED_BLOCK_WORDS };

/* Whether the product of input i (of the 16 in the upper half of `inputs`) and each filter's
 * weight is -1. */
#define NEGATIVE(i) (weights[i] ^ (uint32_t)((int32_t)(inputs << (i)) >> 31))

#define ADD_FOUR(i)                                                                                \
    uint32_t x1 = NEGATIVE(i), y1 = NEGATIVE((i) + 1);                                             \
    uint32_t x2 = NEGATIVE((i) + 2), y2 = NEGATIVE((i) + 3);                                       \
    EBNN_ADD_FOUR(ones, x1, y1, x2, y2)

/* Count the products that are -1 of 16 inputs; returns the carry, worth 16. */
EBNN_INLINE uint32_t count_block(uint32_t inputs, const uint32_t *weights,
                                 ebnn_sliced_counter_t *counts) {
    uint32_t ones = counts->ones, twos = counts->twos;
    uint32_t four, eight, carry;
    {
        ADD_FOUR(0);
        EBNN_ADD_FIRST(twos, x2, x1);
        four = x2;
    }
    {
        ADD_FOUR(4);
        EBNN_ADD_SECOND(twos, four, x2, x1);
        EBNN_ADD_FIRST(counts->fours, x2, four);
        eight = x2;
    }
    {
        ADD_FOUR(8);
        EBNN_ADD_FIRST(twos, x2, x1);
        four = x2;
    }
    {
        ADD_FOUR(12);
        EBNN_ADD_SECOND(twos, four, x2, x1);
        EBNN_ADD_SECOND(counts->fours, eight, x2, four);
        EBNN_ADD(counts->eights, x2, eight);
        carry = x2;
    }
    counts->ones = ones;
    counts->twos = twos;
    return carry;
}

EBNN_NOINLINE uint32_t *count_window(const ebnn_sliced_window_t *window) {
    ebnn_sliced_counter_t counts = {window->start[0], window->start[1], window->start[2],
                                    window->start[3]};
    const uint32_t *pixel = window->pixel, *weights = window->weights;
    uint32_t *carry = window->carries;
    uint32_t before_half = window->half_words;
    while (pixel != window->end) {
        for (const uint32_t *const end = pixel + window->row_words; pixel != end; ++pixel) {
            *carry++ = count_block(*pixel << 16, weights, &counts);
            weights += BLOCK_WORDS;
            if (--before_half == 0) {
                before_half = window->half_words;
                continue;
            }
            *carry++ = count_block(*pixel, weights, &counts);
            weights += BLOCK_WORDS;
        }
        if (pixel == window->end) {
            break;
        }
        EBNN_FORGET();
        pixel += window->pixel_step;
        weights += window->weight_step;
    }
    return carry;
}

void ebnn_conv_sliced(const ebnn_conv_sliced_t *layer, const uint32_t *in, uint32_t *out,
                      uint32_t *carries) {
    ebnn_sliced_conv(layer, in, out, carries, count_window);
}
