/* The planes of 32 lanes of a map, and how many ones their windows have: for conv_planes.c. */
#ifndef EBNN_PLANE_SPANS_H
#define EBNN_PLANE_SPANS_H

#include "bits.h"
#include "counters.h"
#include "ebnn_kernels.h"

/* Where 32 planes of a span lie: group (phase * kernel_height + ky) * channel words + word. */
static inline uint32_t *ebnn_plane_group(uint32_t *planes, uint32_t group) {
    return planes + 32u * group + group / (EBNN_BLOCK_PLANES / 32u) + 1u;
}

/* What the lanes of a span see, from lane column `x` on: of map row `row`, which can lie outside,
 * and those a stride further down, every stride-th pixel from `phase` - padding; of these one word
 * of `words`. */
EBNN_NOINLINE void ebnn_gather_group(const ebnn_conv_planes_t *layer, const uint32_t *in,
                                     int32_t row, uint32_t x, uint32_t phase, uint32_t words,
                                     uint32_t *planes) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t step = w->stride * words;
    /* Lanes of a row at and past the map's end. */
    const uint32_t inside_end = layer->inside + (phase < layer->inside_phases ? 1u : 0u);
    for (uint32_t left = 32; left != 0; row += w->stride, x = 0) {
        uint32_t lanes = layer->pitch - x < left ? layer->pitch - x : left;
        uint32_t outside = lanes;
        left -= lanes;
        if (row >= 0 && row < w->in.height && x < inside_end) {
            int32_t column = (int32_t)(x * w->stride + phase) - w->padding;
            uint32_t inside = inside_end - x < lanes ? inside_end - x : lanes;
            outside = lanes - inside;
            for (; column < 0 && inside != 0; --inside) {
                *planes++ = 0;
                column += w->stride;
            }
            uint32_t at = (uint32_t)(row * w->in.width + column) * words;
            for (; inside != 0; --inside) {
                *planes++ = in[at];
                at += step;
            }
        }
        for (; outside != 0; --outside) {
            *planes++ = 0;
        }
    }
    ebnn_transpose(planes - 32, 32);
}

/* All planes of the span from lane (y, x) on. Those of kernel row `known` and the rows after it are
 * there, but as the first ones. */
EBNN_NOINLINE void ebnn_gather_span(const ebnn_conv_planes_t *layer, const uint32_t *in, uint32_t y,
                                    uint32_t x, uint32_t known, uint32_t *planes) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t words = ((uint32_t)w->in.channels + 31u) / 32u;
    const uint32_t last = w->kernel_height - 1u;
    /* The rows between, where those of the first and of the last kernel row have all their lanes.
     */
    const uint32_t between = w->stride == 1 && last * layer->pitch <= 32 ? 1 : last;
    uint32_t group = 0;
    for (uint32_t phase = 0; phase < layer->phases; ++phase) {
        for (uint32_t ky = 0; ky <= last; ++ky) {
            const int32_t row = (int32_t)(y * w->stride + ky) - w->padding;
            for (uint32_t word = 0; word < words; ++word, ++group) {
                uint32_t *const to = ebnn_plane_group(planes, group);
                if (known + ky <= last) {
                    const uint32_t *const from = ebnn_plane_group(planes, group + known * words);
                    for (uint32_t i = 0; i < 32; ++i) {
                        to[i] = from[i];
                    }
                } else if (ky < between || ky == last) {
                    ebnn_gather_group(layer, in + word, row, x, phase, words, to);
                }
            }
        }
    }
    for (uint32_t ky = between; ky < last; ++ky) {
        for (uint32_t word = 0; word < words; ++word) {
            const uint32_t *const first = ebnn_plane_group(planes, word);
            const uint32_t *const end = ebnn_plane_group(planes, last * words + word);
            uint32_t *const to = ebnn_plane_group(planes, ky * words + word);
            const uint32_t down = ky * layer->pitch, up = (last - ky) * layer->pitch;
            for (uint32_t i = 0; i < 32; ++i) {
                to[i] = first[i] >> down | end[i] << up;
            }
        }
    }
}

/* Count the ones of `groups` groups of planes, from `group` on. */
EBNN_NOINLINE void ebnn_count_ones(uint32_t *planes, uint32_t group, uint32_t groups,
                                   uint32_t *ones) {
    uint32_t bit0 = 0, bit1 = 0, bit2 = 0, bit3 = 0;
    for (uint32_t i = 4; i < EBNN_COUNT_PLANES; ++i) {
        ones[i] = 0;
    }
    for (; groups != 0; --groups, ++group) {
        const uint32_t *plane = ebnn_plane_group(planes, group);
        for (const uint32_t *const end = plane + 32; plane != end; plane += 16) {
            uint32_t x1 = plane[0], y1 = plane[1], x2 = plane[2], y2 = plane[3];
            EBNN_ADD_FOUR(bit0, x1, y1, x2, y2);
            EBNN_ADD_FIRST(bit1, x2, x1);
            uint32_t x3 = plane[4], y3 = plane[5], x4 = plane[6], y4 = plane[7];
            EBNN_ADD_FOUR(bit0, x3, y3, x4, y4);
            EBNN_ADD_SECOND(bit1, x2, x4, x3);
            EBNN_ADD_FIRST(bit2, x4, x2);
            x1 = plane[8], y1 = plane[9], x2 = plane[10], y2 = plane[11];
            EBNN_ADD_FOUR(bit0, x1, y1, x2, y2);
            EBNN_ADD_FIRST(bit1, x2, x1);
            x3 = plane[12], y3 = plane[13];
            uint32_t x5 = plane[14], y5 = plane[15];
            EBNN_ADD_FOUR(bit0, x3, y3, x5, y5);
            EBNN_ADD_SECOND(bit1, x2, x5, x3);
            EBNN_ADD_SECOND(bit2, x4, x5, x2);
            EBNN_ADD(bit3, x5, x4);
            for (uint32_t i = 4; i < EBNN_COUNT_PLANES; ++i) {
                EBNN_ADD_HALF(ones[i], x5);
            }
        }
    }
    ones[0] = bit0;
    ones[1] = bit1;
    ones[2] = bit2;
    ones[3] = bit3;
}

/* -ceil(|a| / 2) and the lowest bit of |a|, at lanes shifts - 1 further up. `ones`: scratch. */
EBNN_NOINLINE void ebnn_count_window(const ebnn_conv_planes_t *layer, uint32_t *planes,
                                     uint32_t *start, uint32_t *ones) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t groups = ((uint32_t)w->in.channels + 31u) / 32u * w->kernel_height;
    for (uint32_t i = 0; i <= EBNN_COUNT_PLANES; ++i) {
        start[i] = 0;
    }
    for (uint32_t phase = 0; phase < layer->phases; ++phase) {
        ebnn_count_ones(planes, phase * groups, groups, ones);
        uint32_t up = layer->shifts;
        for (uint32_t kx = phase; kx < w->kernel_width; kx += w->stride) {
            uint32_t carry = 0;
            --up;
            for (uint32_t i = 0; i < EBNN_COUNT_PLANES; ++i) {
                uint32_t high = ones[i] << up;
                const uint32_t low = high ^ carry;
                EBNN_ADD(start[i], high, low);
                carry = high;
            }
        }
    }
    /* |a| at most 2^EBNN_COUNT_PLANES - 1: the carries out are 0. */
    const uint32_t lowest = start[0];
    uint32_t carry = ~lowest;
    for (uint32_t i = 0; i < EBNN_COUNT_PLANES; ++i) {
        const uint32_t inverted = i + 1 < EBNN_COUNT_PLANES ? ~start[i + 1] : ~0u;
        start[i] = inverted ^ carry;
        carry &= inverted;
    }
    start[EBNN_COUNT_PLANES] = lowest;
}

#endif
