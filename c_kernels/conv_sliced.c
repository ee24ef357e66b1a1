#include "bits.h"
#include "ebnn_kernels.h"

/* Counters of 32 filters side by side: bit k of a plane is filter k's count. Blocks of 16 inputs
 * keep planes 0 to 3 in registers; the carry out of them, one word a block, is added up when the
 * window is done. */
enum { BLOCK_INPUTS = 16, BLOCK_PLANES = 4 };

typedef struct {
    uint32_t ones, twos, fours, eights;
} counter;

/* acc + a + b = 2 * high + acc, in each bit. */
#define ADD_TWO(high, acc, a, b) EBNN_FULL_ADD(high, acc, acc, a, b)

/* Whether the product of input i (of the 16 in the upper half of `inputs`) and each filter's
 * weight is -1. */
#define NEGATIVE(i) (weights[i] ^ (uint32_t)((int32_t)(inputs << (i)) >> 31))

/* Count the products that are -1 of 16 inputs; returns the carry, worth 16. */
EBNN_INLINE uint32_t count_block(uint32_t inputs, const uint32_t *weights, counter *count) {
    uint32_t ones = count->ones, twos = count->twos;
    uint32_t two_a, two_b, four_a, four_b, eight_a, eight_b, carry;
    ADD_TWO(two_a, ones, NEGATIVE(0), NEGATIVE(1));
    ADD_TWO(two_b, ones, NEGATIVE(2), NEGATIVE(3));
    ADD_TWO(four_a, twos, two_a, two_b);
    ADD_TWO(two_a, ones, NEGATIVE(4), NEGATIVE(5));
    ADD_TWO(two_b, ones, NEGATIVE(6), NEGATIVE(7));
    ADD_TWO(four_b, twos, two_a, two_b);
    ADD_TWO(eight_a, count->fours, four_a, four_b);
    ADD_TWO(two_a, ones, NEGATIVE(8), NEGATIVE(9));
    ADD_TWO(two_b, ones, NEGATIVE(10), NEGATIVE(11));
    ADD_TWO(four_a, twos, two_a, two_b);
    ADD_TWO(two_a, ones, NEGATIVE(12), NEGATIVE(13));
    ADD_TWO(two_b, ones, NEGATIVE(14), NEGATIVE(15));
    ADD_TWO(four_b, twos, two_a, two_b);
    ADD_TWO(eight_b, count->fours, four_a, four_b);
    ADD_TWO(carry, count->eights, eight_a, eight_b);
    count->ones = ones;
    count->twos = twos;
    return carry;
}

/* Count over the window at row `top`, column `left`. `planes` gets the counts; the positions
 * outside the map are returned. */
EBNN_NOINLINE uint32_t count_window(const ebnn_conv_sliced_t *layer, const uint32_t *map,
                                    int32_t top, int32_t left, const uint32_t *weights,
                                    uint32_t *planes) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t blocks = layer->blocks;
    const uint32_t words = ((uint32_t)w->in.channels + 31u) / 32u;
    uint32_t *const carries = planes + BLOCK_PLANES;
    uint32_t *carry = carries;
    uint32_t outside = 0;
    counter count = {0, 0, 0, 0};
    for (int32_t y = top; y < top + w->kernel_height; ++y) {
        for (int32_t x = left; x < left + w->kernel_width; ++x) {
            if (y < 0 || x < 0 || y >= w->in.height || x >= w->in.width) {
                weights += blocks * BLOCK_INPUTS;
                ++outside;
                continue;
            }
            const uint32_t *pixel = map + ((uint32_t)y * w->in.width + (uint32_t)x) * words;
            uint32_t left_blocks = blocks;
            while (left_blocks != 0) {
                const uint32_t inputs = *pixel++;
                *carry++ = count_block(inputs << 16, weights, &count);
                weights += BLOCK_INPUTS;
                --left_blocks;
                if (left_blocks != 0) {
                    *carry++ = count_block(inputs, weights, &count);
                    weights += BLOCK_INPUTS;
                    --left_blocks;
                }
            }
        }
    }
    planes[0] = count.ones;
    planes[1] = count.twos;
    planes[2] = count.fours;
    planes[3] = count.eights;
    /* Add the carries up, plane by plane, in place: those of one plane carry into the next. */
    uint32_t left_carries = (uint32_t)(carry - carries);
    for (uint32_t plane = BLOCK_PLANES; plane < layer->planes; ++plane) {
        const uint32_t *from = planes + plane;
        uint32_t *to = planes + plane + 1;
        uint32_t sum = left_carries & 1u ? *from++ : 0u;
        for (uint32_t pairs = left_carries >> 1; pairs != 0; --pairs) {
            uint32_t high;
            const uint32_t first = *from++, second = *from++;
            ADD_TWO(high, sum, first, second);
            *to++ = high;
        }
        planes[plane] = sum;
        left_carries >>= 1;
    }
    return outside;
}

/* Filters whose sum reaches its threshold: 2 * negatives + missing <= limit, compared bit by bit
 * from the lowest (`limits` has one plane more than the counters, for the doubling). */
static uint32_t compare(const uint32_t *planes, uint32_t plane_count, uint32_t missing,
                        const uint32_t *limits) {
    uint32_t carry = 0, borrow = 0;
    for (uint32_t plane = 0; plane <= plane_count; ++plane) {
        const uint32_t doubled = plane == 0 ? 0 : planes[plane - 1u];
        const uint32_t missing_bit = 0u - ((missing >> plane) & 1u);
        const uint32_t half = doubled ^ missing_bit;
        const uint32_t value = half ^ carry;
        carry = (doubled & missing_bit) | (half & carry);
        borrow = (~limits[plane] & (value | borrow)) | (value & borrow);
    }
    return ~borrow;
}

void ebnn_conv_sliced(const ebnn_conv_sliced_t *layer, const uint32_t *in, uint32_t *out,
                      uint32_t *planes) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t groups = ((uint32_t)w->out.channels + 31u) / 32u;
    const uint32_t group_weights =
        (uint32_t)w->kernel_height * w->kernel_width * layer->blocks * BLOCK_INPUTS;
    for (int32_t row = 0; row < w->out.height; ++row) {
        for (int32_t column = 0; column < w->out.width; ++column) {
            const uint32_t *weights = layer->weights;
            const uint32_t *limits = layer->limits;
            for (uint32_t group = 0; group < groups; ++group) {
                uint32_t reached = 0;
                for (int32_t py = 0; py < w->pool; ++py) {
                    for (int32_t px = 0; px < w->pool; ++px) {
                        const int32_t top = (row * w->pool_stride + py) * w->stride - w->padding;
                        const int32_t left =
                            (column * w->pool_stride + px) * w->stride - w->padding;
                        const uint32_t outside =
                            count_window(layer, in, top, left, weights, planes);
                        reached |= compare(planes, layer->planes, outside * w->in.channels, limits);
                    }
                }
                *out++ = (reached ^ layer->flips[group]) & layer->lanes[group];
                weights += group_weights;
                limits += layer->planes + 1u;
            }
        }
    }
}
