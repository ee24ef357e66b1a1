#include "ebnn_kernels.h"

/* The positions of a pool window are taken in groups: 2 words a tap, `lanes` positions a word. */
enum { GROUP_WORDS = 2 };

/* Add `count` neighbouring values of a map, shifted into their lane, to every other word. */
static void add_run(uint32_t *taps, const ebnn_conv_int_t *layer, const void *map, uint32_t first,
                    uint32_t count, uint32_t shift) {
    if (layer->layout == EBNN_U8) {
        const uint8_t *value = (const uint8_t *)map + first;
        for (; count != 0; --count, taps += GROUP_WORDS) {
            *taps += (uint32_t)*value++ << shift;
        }
    } else {
        const int16_t *value = (const int16_t *)map + first;
        for (; count != 0; --count, taps += GROUP_WORDS) {
            *taps += (uint32_t)(int32_t)*value++ << shift;
        }
    }
}

/* Add the window at row `top`, column `left`; positions outside the map add nothing. */
static void add_window(uint32_t *taps, const ebnn_conv_int_t *layer, const void *map, int32_t top,
                       int32_t left, uint32_t shift) {
    const ebnn_window_t *w = &layer->window;
    const int32_t begin = left < 0 ? -left : 0;
    const int32_t room = w->in.width - left;
    const int32_t end = room < w->kernel_width ? room : w->kernel_width;
    if (begin >= end) {
        return;
    }
    for (uint32_t channel = 0; channel < w->in.channels; ++channel) {
        for (int32_t y = top; y < top + w->kernel_height; ++y) {
            if (y >= 0 && y < w->in.height) {
                const uint32_t row = (channel * w->in.height + (uint32_t)y) * w->in.width;
                add_run(taps + GROUP_WORDS * begin, layer, map, row + (uint32_t)(left + begin),
                        (uint32_t)(end - begin), shift);
            }
            taps += GROUP_WORDS * w->kernel_width;
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
        uint32_t sum0 = 0, sum1 = 0;
        for (uint32_t i = 0; i < size; ++i) {
            sum0 -= taps[GROUP_WORDS * i];
            sum1 -= taps[GROUP_WORDS * i + 1u];
        }
        table[0] = sum0;
        table[1] = sum1;
        uint32_t *filled = table + GROUP_WORDS;
        for (uint32_t i = 0; i < size; ++i, taps += GROUP_WORDS) {
            const uint32_t twice0 = 2u * taps[0], twice1 = 2u * taps[1];
            const uint32_t *end = filled;
            for (const uint32_t *entry = table; entry != end; entry += GROUP_WORDS) {
                *filled++ = entry[0] + twice0;
                *filled++ = entry[1] + twice1;
            }
        }
        table = filled;
        count -= size;
    }
}

/* Set the bit of every filter whose sum reaches its threshold in one of the lanes. */
static void or_filters(const ebnn_conv_int_t *layer, const uint32_t *table, uint32_t *pixel) {
    const uint16_t *pattern = layer->patterns;
    const uint32_t *offset = layer->offsets;
    /* Brings the low lane's top bit onto the high lane's. */
    const uint32_t lane_shift = layer->lanes == 2u ? 16u : 0u;
    uint32_t left = layer->window.out.channels;
    while (left != 0) {
        const uint32_t filters = left < 32u ? left : 32u;
        uint32_t bits = 0;
        for (uint32_t filter = filters; filter != 0; --filter) {
            uint32_t sum0 = *offset++, sum1 = sum0;
            uint32_t chunks = layer->chunks;
            for (; chunks >= 3u; chunks -= 3u, pattern += 3) {
                const uint32_t *a = table + pattern[0];
                const uint32_t *b = table + pattern[1];
                const uint32_t *c = table + pattern[2];
                sum0 += a[0] + b[0] + c[0];
                sum1 += a[1] + b[1] + c[1];
            }
            for (; chunks != 0; --chunks) {
                const uint32_t *a = table + *pattern++;
                sum0 += a[0];
                sum1 += a[1];
            }
            sum0 |= sum1;
            bits = (bits >> 1) | ((sum0 | sum0 << lane_shift) & 0x80000000u);
        }
        *pixel++ |= bits >> (32u - filters);
        left -= filters;
    }
}

void ebnn_conv_int(const ebnn_conv_int_t *layer, const void *in, uint32_t *out, uint32_t *scratch) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t taps = (uint32_t)w->kernel_height * w->kernel_width * w->in.channels;
    const uint32_t out_words = ((uint32_t)w->out.channels + 31u) / 32u;
    uint32_t *table = scratch + GROUP_WORDS * taps;
    for (int32_t row = 0; row < w->out.height; ++row) {
        for (int32_t column = 0; column < w->out.width; ++column) {
            for (uint32_t i = 0; i < out_words; ++i) {
                out[i] = 0;
            }
            int32_t py = 0, px = 0;
            while (py < w->pool) {
                for (uint32_t i = 0; i < GROUP_WORDS * taps; ++i) {
                    scratch[i] = 0;
                }
                for (uint32_t slot = 0; slot < GROUP_WORDS * layer->lanes; ++slot) {
                    const int32_t y = (row * w->pool_stride + py) * w->stride - w->padding;
                    const int32_t x = (column * w->pool_stride + px) * w->stride - w->padding;
                    const uint32_t word = slot >> (layer->lanes - 1u); /* lanes: 1 or 2 */
                    add_window(scratch + word, layer, in, y, x, (slot & (layer->lanes - 1u)) * 16u);
                    const int is_last = py + 1 == w->pool && px + 1 == w->pool;
                    if (is_last && slot + 1u < GROUP_WORDS * layer->lanes) {
                        continue; /* the last position fills the slots that are left */
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
