#include "bits.h"
#include "ebnn_kernels.h"

/* The signed sums of a kernel row's taps are shared by all filters, and by every row of a kernel
 * that passes over that row of the map: each is tabulated once. A word carries two positions of
 * the strip, the second one half a strip further right, 16 bits each. */

enum { GROUP_FILTERS = 16, PATTERN_NEGATED = 0x8000, PATTERN_INDEX = 0x7fff };

/* The top bits of the lanes. */
#define TOPS 0x80008000u

/* What stays the same for a strip. */
typedef struct {
    uint32_t first; /* pooled column */
    uint32_t half;  /* pooled columns in a lane */
    uint32_t words; /* of a table's row: positions in a lane */
    uint32_t *rows; /* ring of `window_rows` tables, row r of the map at r % window_rows */
    uint32_t *sums; /* [half]: bits of a group's filters, then the pixels of a row */
} strip_t;

static uint32_t row_words(const ebnn_conv_rows_t *layer) {
    return (uint32_t)layer->patterns_per_row * layer->pitch * layer->window.in.channels;
}

/* pixels[i]: the map's row at the columns that are tap i of the two lanes' first positions; 0
 * outside the map. */
static void gather_row(const ebnn_conv_rows_t *layer, const void *map, uint32_t channel,
                       int32_t row, const strip_t *strip, uint32_t *pixels) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t count = (strip->words - 1u) * w->stride + w->kernel_width;
    const int32_t left = (int32_t)(strip->first * w->pool_stride * w->stride) - w->padding;
    const int32_t apart = (int32_t)(strip->half * w->pool_stride * w->stride);
    const int is_inside = row >= 0 && row < w->in.height;
    const uint32_t start = is_inside ? (channel * w->in.height + (uint32_t)row) * w->in.width : 0u;
    for (uint32_t i = 0; i < count; ++i) {
        const int32_t low = left + (int32_t)i, high = low + apart;
        uint32_t value = 0;
        if (is_inside && low >= 0 && low < w->in.width) {
            value = ebnn_value_at(map, layer->layout, start + (uint32_t)low);
        }
        if (is_inside && high >= 0 && high < w->in.width) {
            value += ebnn_value_at(map, layer->layout, start + (uint32_t)high) << 16;
        }
        pixels[i] = value;
    }
}

/* Tabulate the sums of `taps` taps in which the last one is added: entry p has tap i added where
 * bit i of p is set, and subtracted where it is not. The other half of the signs are these sums
 * negated. Lanes need no care: sums wrap modulo 2^32, and a filter's offset brings them into range
 * at the end. */
static void tabulate_3(const uint32_t *pixels, uint32_t stride, uint32_t words, uint32_t pitch,
                       uint32_t *table) {
    for (uint32_t k = words; k != 0; --k, ++table, pixels += stride) {
        const uint32_t a = pixels[0], b = pixels[1], c = pixels[2];
        const uint32_t sum = a + b, difference = a - b;
        table[0] = c - sum;
        table[pitch] = c + difference;
        table[2u * pitch] = c - difference;
        table[3u * pitch] = c + sum;
    }
}

static void tabulate_any(const uint32_t *pixels, uint32_t taps, uint32_t stride, uint32_t words,
                         uint32_t pitch, uint32_t *table) {
    for (uint32_t k = words; k != 0; --k, ++table, pixels += stride) {
        uint32_t sum = pixels[taps - 1u];
        for (uint32_t i = 0; i + 1u < taps; ++i) {
            sum -= pixels[i];
        }
        table[0] = sum;
        for (uint32_t i = 0; i + 1u < taps; ++i) {
            const uint32_t filled = 1u << i;
            for (uint32_t p = 0; p < filled; ++p) {
                table[(filled + p) * pitch] = table[p * pitch] + 2u * pixels[i];
            }
        }
    }
}

EBNN_NOINLINE void tabulate_row(const ebnn_conv_rows_t *layer, const void *map, int32_t row,
                                const strip_t *strip, uint32_t *table) {
    const ebnn_window_t *w = &layer->window;
    uint32_t *const pixels = strip->sums + strip->half;
    for (uint32_t channel = 0; channel < w->in.channels; ++channel) {
        gather_row(layer, map, channel, row, strip, pixels);
        uint32_t done = 0;
        while (done < w->kernel_width) {
            const uint32_t left = w->kernel_width - done;
            const uint32_t taps = left < layer->chunk_taps ? left : layer->chunk_taps;
            if (taps == 3u) {
                tabulate_3(pixels + done, w->stride, strip->words, layer->pitch, table);
            } else {
                tabulate_any(pixels + done, taps, w->stride, strip->words, layer->pitch, table);
            }
            table += (uint32_t)layer->pitch << (taps - 1u);
            done += taps;
        }
    }
}

/* Shift sums[j] down by one and set the top bit of its lanes where the filter reaches its threshold
 * in pool window j. With at most 16 filters in a group no bit leaves its lane. */
#define OR_INTO(sum, reached) (*(sum) = (*(sum) >> 1) | ((reached) & TOPS))

/* Kernels of three rows on one channel, a chunk each, with pools of 2 by 2: rows 0 to 2 of the
 * tables are one row of the convolution, rows 1 to 3 the other. One function for each choice of
 * the three sums' signs. */
#define OR_FILTER_3_2(name, sign_a, sign_b, sign_c)                                                \
    EBNN_NOINLINE void name(const strip_t *strip, uint32_t next, const uint16_t *patterns,         \
                            uint32_t offset) {                                                     \
        const uint32_t *a = strip->rows + (patterns[0] & PATTERN_INDEX);                           \
        const uint32_t *b = strip->rows + next + (patterns[1] & PATTERN_INDEX);                    \
        const uint32_t *c = strip->rows + 2u * next + (patterns[2] & PATTERN_INDEX);               \
        uint32_t *sum = strip->sums;                                                               \
        const uint32_t *const end = sum + strip->half;                                             \
        do {                                                                                       \
            uint32_t reached = offset sign_a a[next] sign_b b[next] sign_c c[next];                \
            reached |= offset sign_a * a++ sign_b * b++ sign_c * c++;                              \
            reached |= offset sign_a a[next] sign_b b[next] sign_c c[next];                        \
            reached |= offset sign_a * a++ sign_b * b++ sign_c * c++;                              \
            OR_INTO(sum, reached);                                                                 \
        } while (++sum != end);                                                                    \
    }

OR_FILTER_3_2(or_filter_ppp, +, +, +)
OR_FILTER_3_2(or_filter_ppm, +, +, -)
OR_FILTER_3_2(or_filter_pmp, +, -, +)
OR_FILTER_3_2(or_filter_pmm, +, -, -)
OR_FILTER_3_2(or_filter_mpp, -, +, +)
OR_FILTER_3_2(or_filter_mpm, -, +, -)
OR_FILTER_3_2(or_filter_mmp, -, -, +)
OR_FILTER_3_2(or_filter_mmm, -, -, -)

static void or_filter_3_2(const strip_t *strip, uint32_t next, const uint16_t *patterns,
                          uint32_t offset) {
    switch ((patterns[0] >> 15 << 2) | (patterns[1] >> 15 << 1) | patterns[2] >> 15) {
    case 0:
        or_filter_ppp(strip, next, patterns, offset);
        break;
    case 1:
        or_filter_ppm(strip, next, patterns, offset);
        break;
    case 2:
        or_filter_pmp(strip, next, patterns, offset);
        break;
    case 3:
        or_filter_pmm(strip, next, patterns, offset);
        break;
    case 4:
        or_filter_mpp(strip, next, patterns, offset);
        break;
    case 5:
        or_filter_mpm(strip, next, patterns, offset);
        break;
    case 6:
        or_filter_mmp(strip, next, patterns, offset);
        break;
    default:
        or_filter_mmm(strip, next, patterns, offset);
        break;
    }
}

/* Any kernel and pool. */
EBNN_NOINLINE void or_filter_any(const ebnn_conv_rows_t *layer, const strip_t *strip,
                                 uint32_t row_words, const uint16_t *patterns, uint32_t offset) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t channel_words = (uint32_t)layer->patterns_per_row * layer->pitch;
    for (uint32_t j = 0; j < strip->half; ++j) {
        uint32_t reached = 0;
        for (uint32_t py = 0; py < w->pool; ++py) {
            for (uint32_t px = 0; px < w->pool; ++px) {
                const uint16_t *pattern = patterns;
                const uint32_t *tables =
                    strip->rows + py * w->stride * row_words + j * w->pool_stride + px;
                uint32_t sum = offset;
                for (uint32_t channel = 0; channel < w->in.channels; ++channel) {
                    const uint32_t *entry = tables + channel * channel_words;
                    for (uint32_t ky = w->kernel_height; ky != 0; --ky, entry += row_words) {
                        for (uint32_t chunk = layer->chunks; chunk != 0; --chunk) {
                            const uint32_t value = entry[*pattern & PATTERN_INDEX];
                            sum += *pattern++ & PATTERN_NEGATED ? 0u - value : value;
                        }
                    }
                }
                reached |= sum;
            }
        }
        OR_INTO(strip->sums + j, reached);
    }
}

/* A group's bits of the strip's pixels in one row of the output; `missing` filters of the 16 are
 * not there. */
static void store_group(const ebnn_conv_rows_t *layer, const strip_t *strip, uint32_t group,
                        uint32_t missing, uint32_t columns, uint32_t *out) {
    const uint32_t words = ((uint32_t)layer->window.out.channels + 31u) / 32u;
    const uint32_t shift = (group & 1u) * GROUP_FILTERS;
    const uint32_t flips = (layer->flips[group >> 1] >> shift) & 0xffffu;
    out += group >> 1;
    for (uint32_t column = 0; column < columns; ++column, out += words) {
        const uint32_t lanes = column < strip->half ? strip->sums[column] & 0xffffu
                                                    : strip->sums[column - strip->half] >> 16;
        const uint32_t bits = (lanes >> missing) ^ flips;
        *out = shift == 0u ? bits : *out | (bits << shift);
    }
}

EBNN_NOINLINE void run_row(const ebnn_conv_rows_t *layer, const strip_t *strip, uint32_t columns,
                           uint32_t *out) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t words = row_words(layer);
    const uint32_t filter_patterns = (uint32_t)w->in.channels * w->kernel_height * layer->chunks;
    const int is_3_2 = filter_patterns == 3u && w->kernel_height == 3u && w->pool == 2u &&
                       w->pool_stride == 2u && w->stride == 1u;
    const uint16_t *patterns = layer->patterns;
    const uint32_t *offset = layer->offsets;
    uint32_t left = w->out.channels;
    for (uint32_t group = 0; left != 0; ++group) {
        const uint32_t filters = left < GROUP_FILTERS ? left : (uint32_t)GROUP_FILTERS;
        for (uint32_t j = 0; j < strip->half; ++j) {
            strip->sums[j] = 0;
        }
        for (uint32_t filter = filters; filter != 0; --filter, patterns += filter_patterns) {
            if (is_3_2) {
                or_filter_3_2(strip, words, patterns, *offset++);
            } else {
                or_filter_any(layer, strip, words, patterns, *offset++);
            }
        }
        store_group(layer, strip, group, GROUP_FILTERS - filters, columns, out);
        left -= filters;
    }
}

void ebnn_conv_rows(const ebnn_conv_rows_t *layer, const void *in, uint32_t *out,
                    uint32_t *scratch) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t out_words = ((uint32_t)w->out.channels + 31u) / 32u;
    const uint32_t row_step = (uint32_t)w->pool_stride * w->stride;
    strip_t strip;
    strip.rows = scratch;
    strip.sums = scratch + layer->window_rows * row_words(layer);
    for (strip.first = 0; strip.first < w->out.width; strip.first += layer->strip_columns) {
        uint32_t columns = w->out.width - strip.first;
        if (columns > layer->strip_columns) {
            columns = layer->strip_columns;
        }
        strip.half = (columns + 1u) / 2u;
        strip.words = (strip.half - 1u) * w->pool_stride + w->pool;
        uint32_t held = 0; /* tables that stay from the row of windows before */
        for (uint32_t row = 0; row < w->out.height; ++row) {
            const uint32_t top = row * row_step;
            const uint32_t words = row_words(layer);
            for (uint32_t i = 0; i < held * words; ++i) {
                strip.rows[i] = strip.rows[i + row_step * words];
            }
            for (uint32_t i = held; i < layer->window_rows; ++i) {
                tabulate_row(layer, in, (int32_t)(top + i) - w->padding, &strip,
                             strip.rows + i * words);
            }
            held = layer->window_rows > row_step ? layer->window_rows - row_step : 0u;
            run_row(layer, &strip, columns, out + (row * w->out.width + strip.first) * out_words);
        }
    }
}
