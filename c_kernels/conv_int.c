#include "ebnn_kernels.h"

/* Add the window's values, times `unit`, to `taps`; positions outside the map add nothing. */
static void gather(const ebnn_conv_int_t *layer, const void *in, int32_t top, int32_t left,
                   uint32_t unit, uint32_t *taps) {
    const ebnn_window_t *w = &layer->window;
    for (uint32_t channel = 0; channel < w->in.channels; ++channel) {
        for (int32_t y = top; y < top + w->kernel_height; ++y) {
            if (y < 0 || y >= w->in.height) {
                taps += w->kernel_width;
                continue;
            }
            const uint32_t row = (channel * w->in.height + (uint32_t)y) * w->in.width;
            for (int32_t x = left; x < left + w->kernel_width; ++x, ++taps) {
                if (x >= 0 && x < w->in.width) {
                    const uint32_t i = row + (uint32_t)x;
                    const int32_t value = layer->layout == EBNN_U8
                                              ? (int32_t)((const uint8_t *)in)[i]
                                              : (int32_t)((const int16_t *)in)[i];
                    *taps += (uint32_t)value * unit;
                }
            }
        }
    }
}

/* Tabulate each chunk's signed sums: entry p of a chunk has tap j added where bit j of p is set
 * and subtracted where it is not. Lanes need no care: sums wrap modulo 2^32 and are brought into
 * range by a filter's offset at the end. */
static void tabulate(const ebnn_conv_int_t *layer, uint32_t count, const uint32_t *taps,
                     uint32_t *table) {
    while (count != 0) {
        const uint32_t size = count < layer->chunk_taps ? count : layer->chunk_taps;
        uint32_t sum = 0;
        for (uint32_t i = 0; i < size; ++i) {
            sum -= taps[i];
        }
        table[0] = sum;
        uint32_t filled = 1;
        for (uint32_t i = 0; i < size; ++i) {
            const uint32_t twice = 2u * taps[i];
            for (uint32_t p = 0; p < filled; ++p) {
                table[filled + p] = table[p] + twice;
            }
            filled *= 2u;
        }
        table += filled;
        taps += size;
        count -= size;
    }
}

/* Set the bit of every filter whose sum reaches its threshold in one of the lanes. */
static void or_filters(const ebnn_conv_int_t *layer, const uint32_t *table, uint32_t *pixel) {
    const uint16_t *pattern = layer->patterns;
    const uint32_t *offset = layer->offsets;
    /* The low lane's top bit is moved onto the high lane's; with one lane, onto nothing. */
    const uint32_t low_lane = layer->lanes == 2u ? 0x8000u : 0u;
    uint32_t left = layer->window.out.channels;
    while (left != 0) {
        const uint32_t lanes = left < 32u ? left : 32u;
        uint32_t bits = 0;
        for (uint32_t lane = 0; lane < lanes; ++lane) {
            uint32_t sum = *offset++;
            uint32_t chunks = layer->chunks;
            for (; chunks >= 3u; chunks -= 3u, pattern += 3) {
                sum += table[pattern[0]] + table[pattern[1]] + table[pattern[2]];
            }
            for (; chunks != 0; --chunks) {
                sum += table[*pattern++];
            }
            bits = (bits >> 1) | ((sum | (sum & low_lane) << 16) & 0x80000000u);
        }
        *pixel++ |= bits >> (32u - lanes);
        left -= lanes;
    }
}

void ebnn_conv_int(const ebnn_conv_int_t *layer, const void *in, uint32_t *out, uint32_t *scratch) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t taps = (uint32_t)w->kernel_height * w->kernel_width * w->in.channels;
    const uint32_t out_words = ((uint32_t)w->out.channels + 31u) / 32u;
    uint32_t *table = scratch + taps;
    for (int32_t row = 0; row < w->out.height; ++row) {
        for (int32_t column = 0; column < w->out.width; ++column) {
            for (uint32_t i = 0; i < out_words; ++i) {
                out[i] = 0;
            }
            int32_t py = 0, px = 0;
            while (py < w->pool) {
                for (uint32_t i = 0; i < taps; ++i) {
                    scratch[i] = 0;
                }
                for (uint32_t lane = 0; lane < layer->lanes; ++lane) {
                    /* An odd last position fills both lanes. */
                    const int32_t y = (row * w->pool_stride + py) * w->stride - w->padding;
                    const int32_t x = (column * w->pool_stride + px) * w->stride - w->padding;
                    gather(layer, in, y, x, lane ? 0x10000u : 1u, scratch);
                    const int is_last = py + 1 == w->pool && px + 1 == w->pool;
                    if (is_last && lane + 1u < layer->lanes) {
                        continue;
                    }
                    if (++px == w->pool) {
                        px = 0;
                        ++py;
                    }
                }
                tabulate(layer, taps, scratch, table);
                or_filters(layer, table, out);
            }
            for (uint32_t i = 0; i < out_words; ++i) {
                *out++ ^= layer->flips[i];
            }
        }
    }
}
