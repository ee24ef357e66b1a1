/* Binary convolution of bits, 32 filters at a time: what conv_sliced.c, conv_sliced_narrow.c and
 * conv_tables.c share. */
#ifndef EBNN_SLICED_H
#define EBNN_SLICED_H

#include "bits.h"
#include "counters.h"
#include "ebnn_kernels.h"

/* Counters of 32 filters side by side: bit k of a plane is filter k's count of products that are
 * -1, less one more than it may be at most: negative where the filter is reached. The map's
 * channels are counted in blocks of 16. Planes 0 to 3 are kept in registers; the carry out of
 * them, one word a block, is added up when the window is done. */
typedef struct {
    uint32_t ones, twos, fours, eights;
} ebnn_sliced_counter_t;

/* The part of a window that lies in the map, and what it is counted with. */
typedef struct {
    const uint8_t *pixel, *end; /* the first one, and where the last row ends */
    uint32_t row_bytes;
    uint32_t pixel_step;   /* bytes from the end of a row to the next one's first pixel */
    uint32_t first_weight; /* of the first block, in a group */
    uint32_t weight_step;  /* weights from the end of a row to the next one's first */
    const void *weights;   /* of a group of filters, from the first block on */
    const uint32_t *start; /* [EBNN_SLICED_PLANES], of the group */
    uint32_t *carries;
} ebnn_sliced_window_t;

/* Counts one window for a group of filters; returns where its carries end. */
typedef uint32_t *ebnn_sliced_count_t(const ebnn_conv_sliced_t *layer, uint32_t group,
                                      ebnn_sliced_window_t *window);

/* Add the carries, each worth 16, to the planes from bit 4 on, and return the last one: where the
 * count is negative. There is room for as many as make them up to a multiple of 4. */
EBNN_NOINLINE uint32_t ebnn_sliced_sign(uint32_t *carry, uint32_t *end, const uint32_t *start) {
    for (uint32_t spare = (uint32_t)(carry - end) & 3u; spare != 0; --spare) {
        *end++ = 0;
        EBNN_FORGET(); /* else this becomes a call of memset */
    }
    uint32_t bit4 = start[4], bit5 = start[5], bit6 = start[6], bit7 = start[7], bit8 = start[8];
    uint32_t bit9 = start[9], bit10 = start[10], bit11 = start[11];
    for (; carry < end; carry += 4) {
        uint32_t x1 = carry[0], y1 = carry[1], x2 = carry[2], y2 = carry[3];
        EBNN_ADD_FOUR(bit4, x1, y1, x2, y2);
        EBNN_ADD(bit5, x2, x1);
        EBNN_ADD_HALF(bit6, x2);
        EBNN_ADD_HALF(bit7, x2);
        EBNN_ADD_HALF(bit8, x2);
        EBNN_ADD_HALF(bit9, x2);
        EBNN_ADD_HALF(bit10, x2);
        bit11 ^= x2;
    }
    return bit11;
}

/* How many of `kernel` places from `first` on lie before 0, and how many inside 0..size - 1. */
EBNN_INLINE void ebnn_clip(int32_t first, int32_t kernel, int32_t size, uint32_t *before,
                           uint32_t *inside) {
    const int32_t start = first < 0 ? -first : 0;
    const int32_t end = size - first < kernel ? size - first : kernel;
    *before = (uint32_t)start;
    *inside = end > start ? (uint32_t)(end - start) : 0u;
}

/* The window of row `y` and column `x` of the convolution, for the first filters. By itself: what
 * it takes of the stack is given back before the window is counted. */
EBNN_NOINLINE void ebnn_sliced_place(const ebnn_conv_sliced_t *layer, const void *in, uint32_t y,
                                     uint32_t x, ebnn_sliced_window_t *window) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t groups = ((uint32_t)w->out.channels + 31u) / 32u, bytes = layer->in_bytes;
    const int32_t top = (int32_t)(y * w->stride) - w->padding;
    const int32_t left = (int32_t)(x * w->stride) - w->padding;
    uint32_t above, before, rows, columns;
    ebnn_clip(top, w->kernel_height, w->in.height, &above, &rows);
    ebnn_clip(left, w->kernel_width, w->in.width, &before, &columns);
    window->pixel = window->end = (const uint8_t *)in;
    window->row_bytes = columns * bytes;
    window->pixel_step = (w->in.width - columns) * bytes;
    if (rows != 0 && columns != 0) {
        const int32_t row = top + (int32_t)above, column = left + (int32_t)before;
        window->pixel += (uint32_t)(row * w->in.width + column) * bytes;
        window->end = window->pixel + rows * w->in.width * bytes - window->pixel_step;
    }
    window->first_weight = (above * w->kernel_width + before) * layer->pixel_weights;
    window->weight_step = (w->kernel_width - columns) * layer->pixel_weights;
    const uint32_t kind =
        ebnn_edge_class(y, layer->edge, layer->middle_rows) * layer->column_classes +
        ebnn_edge_class(x, layer->edge, layer->middle_columns);
    window->start = layer->starts + kind * groups * EBNN_SLICED_PLANES;
}

/* Where the weights of a group of 32 filters begin, for the first block of a window. */
EBNN_INLINE const uint32_t *ebnn_sliced_weights(const ebnn_conv_sliced_t *layer, uint32_t group,
                                                const ebnn_sliced_window_t *window) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t taps = (uint32_t)w->kernel_height * w->kernel_width;
    return layer->weights + group * taps * layer->pixel_weights + window->first_weight;
}

/* A pixel's bits from byte `at` on: a word, or a byte where pixels have no whole words. */
EBNN_INLINE uint32_t ebnn_pixel_at(const void *pixel, uint32_t at, uint32_t unit_bytes) {
    return unit_bytes == 1u ? ((const uint8_t *)pixel)[at] : ((const uint32_t *)pixel)[at / 4u];
}

EBNN_INLINE void ebnn_set_pixel(void *pixel, uint32_t at, uint32_t bits, uint32_t unit_bytes) {
    if (unit_bytes == 1u) {
        ((uint8_t *)pixel)[at] = (uint8_t)bits;
    } else {
        ((uint32_t *)pixel)[at / 4u] = bits;
    }
    EBNN_FORGET(); /* else loops become calls and pairs, which take stack */
}

/* All of a convolution with pooling; returns where the map ends. `unit_bytes` is 4, or 1. */
EBNN_INLINE uint8_t *ebnn_sliced_conv(const ebnn_conv_sliced_t *layer, const void *in, void *out,
                                      uint32_t *carries, ebnn_sliced_count_t *count,
                                      uint32_t unit_bytes) {
    const ebnn_window_t *w = &layer->window;
    uint8_t *pixel = (uint8_t *)out;
    ebnn_sliced_window_t window;
    window.carries = carries;
    for (uint32_t row = 0; row < w->out.height; ++row) {
        for (uint32_t column = 0; column < w->out.width; ++column, pixel += layer->out_bytes) {
            for (uint32_t at = 0; at < layer->out_bytes; at += unit_bytes) {
                ebnn_set_pixel(pixel, at, 0, unit_bytes);
            }
            for (uint32_t py = 0; py < w->pool; ++py) {
                for (uint32_t px = 0; px < w->pool; ++px) {
                    ebnn_sliced_place(layer, in, row * w->pool_stride + py,
                                      column * w->pool_stride + px, &window);
                    uint32_t at = 0;
                    for (uint32_t group = 0; at < layer->out_bytes; ++group) {
                        uint32_t *const end = count(layer, group, &window);
                        uint32_t reached = ebnn_sliced_sign(window.carries, end, window.start);
                        do {
                            reached |= ebnn_pixel_at(pixel, at, unit_bytes);
                            ebnn_set_pixel(pixel, at, reached, unit_bytes);
                            reached >>= 8;
                            at += unit_bytes;
                        } while ((at & 3u) != 0 && at < layer->out_bytes);
                        window.start += EBNN_SLICED_PLANES;
                    }
                }
            }
            for (uint32_t at = 0; at < layer->out_bytes; at += unit_bytes) {
                ebnn_set_pixel(pixel, at,
                               ebnn_pixel_at(pixel, at, unit_bytes) ^
                                   ebnn_pixel_at(layer->flips, at, unit_bytes),
                               unit_bytes);
            }
        }
    }
    return pixel;
}

#endif
