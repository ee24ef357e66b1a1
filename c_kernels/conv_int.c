#include "bits.h"
#include "ebnn_kernels.h"

/* The positions of a pool window are taken in groups: 2 words a tap, `lanes` positions a word. */
enum { GROUP_WORDS = 2 };

/* Taps of a group whose windows lie inside the map. `first[k]` is the index of window k's first
 * value; with one lane, windows 1 and 3 are not there. */
EBNN_INLINE void gather_inside(uint32_t *taps, const ebnn_window_t *w, const void *map,
                               ebnn_layout_t layout, uint32_t lanes, const uint32_t *first) {
    const uint32_t row_step = (uint32_t)w->in.width - w->kernel_width;
    const uint32_t channel_step = ((uint32_t)w->in.height - w->kernel_height) * w->in.width;
    uint32_t a = first[0];
    const uint32_t b = first[1] - a, c = first[2] - a, d = first[3] - a;
    for (uint32_t channel = w->in.channels; channel != 0; --channel, a += channel_step) {
        for (uint32_t y = w->kernel_height; y != 0; --y, a += row_step) {
            for (uint32_t x = w->kernel_width; x != 0; --x, ++a) {
                taps[0] = ebnn_value_at(map, layout, a);
                taps[1] = ebnn_value_at(map, layout, a + c);
                if (lanes == 2u) {
                    taps[0] += ebnn_value_at(map, layout, a + b) << 16;
                    taps[1] += ebnn_value_at(map, layout, a + d) << 16;
                }
                taps += GROUP_WORDS;
            }
        }
    }
}

/* Add the window at row `top`, column `left`, to every other word of the taps, shifted into its
 * lane; positions outside the map add nothing. */
static void add_window(uint32_t *taps, const ebnn_conv_int_t *layer, const void *map, int32_t top,
                       int32_t left, uint32_t shift) {
    const ebnn_window_t *w = &layer->window;
    for (uint32_t channel = 0; channel < w->in.channels; ++channel) {
        for (int32_t y = top; y < top + w->kernel_height; ++y) {
            for (int32_t x = left; x < left + w->kernel_width; ++x, taps += GROUP_WORDS) {
                if (y >= 0 && x >= 0 && y < w->in.height && x < w->in.width) {
                    const uint32_t i =
                        (channel * w->in.height + (uint32_t)y) * w->in.width + (uint32_t)x;
                    *taps += ebnn_value_at(map, layer->layout, i) << shift;
                }
            }
        }
    }
}

/* Taps of a group: the windows at rows top[k] and columns left[k], k < 2 * lanes. */
static void gather(uint32_t *taps, const ebnn_conv_int_t *layer, const void *map,
                   const int32_t *top, const int32_t *left) {
    const ebnn_window_t *w = &layer->window;
    const int32_t last_top = w->in.height - w->kernel_height;
    const int32_t last_left = w->in.width - w->kernel_width;
    int is_inside = 1;
    uint32_t first[4] = {0, 0, 0, 0};
    /* With one lane, windows 0 and 1 go to slots 0 and 2. */
    const uint32_t spread = layer->lanes == 1u ? 2u : 1u;
    for (uint32_t k = 0; k < GROUP_WORDS * (uint32_t)layer->lanes; ++k) {
        is_inside &= top[k] >= 0 && left[k] >= 0 && top[k] <= last_top && left[k] <= last_left;
        first[k * spread] = (uint32_t)(top[k] * w->in.width + left[k]); /* only used if inside */
    }
    if (is_inside) {
        if (layer->lanes == 1u) {
            first[1] = first[3] = first[0];
            if (layer->layout == EBNN_U8) {
                gather_inside(taps, w, map, EBNN_U8, 1, first);
            } else {
                gather_inside(taps, w, map, EBNN_I16, 1, first);
            }
        } else if (layer->layout == EBNN_U8) {
            gather_inside(taps, w, map, EBNN_U8, 2, first);
        } else {
            gather_inside(taps, w, map, EBNN_I16, 2, first);
        }
        return;
    }
    const uint32_t words =
        GROUP_WORDS * (uint32_t)w->in.channels * w->kernel_height * w->kernel_width;
    for (uint32_t i = 0; i < words; ++i) {
        taps[i] = 0;
    }
    for (uint32_t k = 0; k < GROUP_WORDS * (uint32_t)layer->lanes; ++k) {
        const uint32_t word = layer->lanes == 1u ? k : k >> 1;
        const uint32_t shift = layer->lanes == 1u ? 0 : (k & 1u) * 16u;
        add_window(taps + word, layer, map, top[k], left[k], shift);
    }
}

/* Tabulate each chunk's signed sums, of `count` taps; returns where they end. Entry p of a chunk
 * has tap j added where bit j of p is set and subtracted where it is not. Lanes need no care: sums
 * wrap modulo 2^32 and are brought into range by a filter's offset at the end. */
static uint32_t *tabulate(const ebnn_conv_int_t *layer, uint32_t count, const uint32_t *taps,
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
    return table;
}

/* Set the bit of every filter whose sum reaches its threshold in one of the lanes. `chunks` is the
 * layer's; 3, those of a 3x3 window on one channel, are worth a loop of their own. */
EBNN_INLINE void or_filters(const ebnn_conv_int_t *layer, uint32_t chunks, const uint32_t *table,
                            uint32_t *pixel) {
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
            if (chunks == 3u) {
                const uint32_t *a = table + pattern[0];
                const uint32_t *b = table + pattern[1];
                const uint32_t *c = table + pattern[2];
                sum0 += a[0] + b[0] + c[0];
                sum1 += a[1] + b[1] + c[1];
                pattern += 3;
            } else {
                for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
                    const uint32_t *entry = table + *pattern++;
                    sum0 += entry[0];
                    sum1 += entry[1];
                }
            }
            sum0 |= sum1;
            sum0 |= sum0 << lane_shift;
            bits = (bits >> 1) | (sum0 & 0x80000000u);
        }
        *pixel++ |= bits >> (32u - filters);
        left -= filters;
    }
}

static void or_filters_3(const ebnn_conv_int_t *layer, const uint32_t *table, uint32_t *pixel) {
    or_filters(layer, 3, table, pixel);
}

static void or_filters_any(const ebnn_conv_int_t *layer, const uint32_t *table, uint32_t *pixel) {
    or_filters(layer, layer->chunks, table, pixel);
}

void ebnn_conv_int(const ebnn_conv_int_t *layer, const void *in, uint32_t *out, uint32_t *scratch) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t taps = (uint32_t)w->kernel_height * w->kernel_width * w->in.channels;
    const uint32_t run_taps = taps / w->groups; /* of a run of channels: the filters of one */
    const uint32_t out_words = ((uint32_t)w->out.channels + 31u) / 32u;
    const uint32_t group = GROUP_WORDS * (uint32_t)layer->lanes;
    uint32_t *table = scratch + GROUP_WORDS * taps;
    for (int32_t row = 0; row < w->out.height; ++row) {
        for (int32_t column = 0; column < w->out.width; ++column) {
            for (uint32_t i = 0; i < out_words; ++i) {
                out[i] = 0;
            }
            int32_t py = 0, px = 0;
            while (py < w->pool) {
                int32_t top[4], left[4];
                for (uint32_t k = 0; k < group; ++k) {
                    top[k] = (row * w->pool_stride + py) * w->stride - w->padding;
                    left[k] = (column * w->pool_stride + px) * w->stride - w->padding;
                    const int is_last = py + 1 == w->pool && px + 1 == w->pool;
                    if (is_last && k + 1u < group) {
                        continue; /* the last position fills the slots that are left */
                    }
                    if (++px == w->pool) {
                        px = 0;
                        ++py;
                    }
                }
                gather(scratch, layer, in, top, left);
                uint32_t *end = table;
                for (uint32_t at = 0; at < taps; at += run_taps) {
                    end = tabulate(layer, run_taps, scratch + GROUP_WORDS * at, end);
                }
                if (layer->chunks == 3u) {
                    or_filters_3(layer, table, out);
                } else {
                    or_filters_any(layer, table, out);
                }
            }
            for (uint32_t i = 0; i < out_words; ++i) {
                *out++ ^= layer->flips[i];
            }
        }
    }
}
