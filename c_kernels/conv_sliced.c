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

/* Count the products that are -1 of 32 inputs; returns where the next carry goes. */
EBNN_INLINE uint32_t *count_word(uint32_t inputs, const uint32_t *weights, counter *count,
                                 uint32_t *carry) {
    carry[0] = count_block(inputs << BLOCK_INPUTS, weights, count);
    carry[1] = count_block(inputs, weights + BLOCK_INPUTS, count);
    return carry + 2;
}

/* Add the carries up, plane by plane, in place: those of one plane carry into the next. */
static void add_carries(const counter *count, uint32_t carries, uint32_t plane_count,
                        uint32_t *planes) {
    planes[0] = count->ones;
    planes[1] = count->twos;
    planes[2] = count->fours;
    planes[3] = count->eights;
    for (uint32_t plane = BLOCK_PLANES; plane < plane_count; ++plane, carries >>= 1) {
        const uint32_t *from = planes + plane;
        uint32_t *to = planes + plane + 1;
        uint32_t sum = carries & 1u ? *from++ : 0u;
        for (uint32_t pairs = carries >> 1; pairs != 0; --pairs) {
            uint32_t high;
            const uint32_t first = *from++, second = *from++;
            ADD_TWO(high, sum, first, second);
            *to++ = high;
        }
        planes[plane] = sum;
    }
}

/* Count over a window inside the map, of whole words: `first` is its first pixel. */
EBNN_NOINLINE void count_inside(const ebnn_conv_sliced_t *layer, const uint32_t *first,
                                const uint32_t *weights, uint32_t *planes) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t words = layer->blocks / 2u;
    const uint32_t row_words = w->kernel_width * words, step = w->in.width * words;
    uint32_t *carry = planes + BLOCK_PLANES;
    counter count = {0, 0, 0, 0};
    for (uint32_t y = w->kernel_height; y != 0; --y, first += step) {
        const uint32_t *const end = first + row_words;
        for (const uint32_t *pixel = first; pixel != end; ++pixel) {
            carry = count_word(*pixel, weights, &count, carry);
            weights += 2 * BLOCK_INPUTS;
        }
    }
    add_carries(&count, (uint32_t)w->kernel_height * row_words * 2u, layer->planes, planes);
}

/* Count over any window, at row `top`, column `left`. Returns the positions outside the map. */
EBNN_NOINLINE uint32_t count_across(const ebnn_conv_sliced_t *layer, const uint32_t *map,
                                    int32_t top, int32_t left, const uint32_t *weights,
                                    uint32_t *planes) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t words = ((uint32_t)w->in.channels + 31u) / 32u;
    uint32_t *carry = planes + BLOCK_PLANES;
    uint32_t outside = 0, counted = 0;
    counter count = {0, 0, 0, 0};
    for (int32_t y = top; y < top + w->kernel_height; ++y) {
        for (int32_t x = left; x < left + w->kernel_width; ++x) {
            if (y < 0 || x < 0 || y >= w->in.height || x >= w->in.width) {
                weights += (uint32_t)layer->blocks * BLOCK_INPUTS;
                ++outside;
                continue;
            }
            const uint32_t *pixel = map + ((uint32_t)y * w->in.width + (uint32_t)x) * words;
            for (uint32_t block = 0; block < layer->blocks; ++block) {
                const uint32_t inputs = (block & 1u) ? *pixel++ : *pixel << BLOCK_INPUTS;
                *carry++ = count_block(inputs, weights, &count);
                weights += BLOCK_INPUTS;
            }
            counted += layer->blocks;
        }
    }
    add_carries(&count, counted, layer->planes, planes);
    return outside;
}

static uint32_t count_window(const ebnn_conv_sliced_t *layer, const uint32_t *map, int32_t top,
                             int32_t left, const uint32_t *weights, uint32_t *planes) {
    const ebnn_window_t *w = &layer->window;
    const int is_inside = top >= 0 && left >= 0 && top + w->kernel_height <= w->in.height &&
                          left + w->kernel_width <= w->in.width;
    if (is_inside && (layer->blocks & 1u) == 0) {
        const uint32_t pixel = (uint32_t)top * w->in.width + (uint32_t)left;
        count_inside(layer, map + pixel * (layer->blocks / 2u), weights, planes);
        return 0;
    }
    return count_across(layer, map, top, left, weights, planes);
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
