#include "bits.h"
#include "ebnn_kernels.h"
#include "rows.h"

enum { TAPS = 4, PATTERNS = 1 << TAPS, TABLES = 32 / TAPS };

EBNN_INLINE void tabulate_4(int16_t *table, int32_t rest, int32_t sum, int32_t difference) {
    table[0] = (int16_t)(rest - sum);
    table[1] = (int16_t)(rest + difference);
    table[2] = (int16_t)(rest - difference);
    table[3] = (int16_t)(rest + sum);
}

/* The signed sums of 4 values: bit k of an index says that value k is added and not subtracted.
 * |value| <= 2047, so |sum| <= 8188. */
EBNN_INLINE void tabulate(const int32_t *values, int16_t *table) {
    const int32_t a = values[0] + values[1], b = values[0] - values[1];
    const int32_t c = values[2] + values[3], d = values[2] - values[3];
    tabulate_4(table, -c, a, b);
    tabulate_4(table + 4, d, a, b);
    tabulate_4(table + 8, -d, a, b);
    tabulate_4(table + 12, c, a, b);
}

/* The sum that bits 1 to 4 of twice a pattern choose. */
EBNN_INLINE int32_t sum_at(const int16_t *table, uint32_t twice) {
    const void *const sum = (const char *)table + (twice & (2u * (PATTERNS - 1u)));
    return *(const int16_t *)sum;
}

/* Add the products of 32 inputs, from `first` on, to each output's sum; |sum| < 2^24. The signed
 * sums of 4 of them at a time are shared by all outputs. */
EBNN_NOINLINE void add_values(const ebnn_linear_t *layer, const void *in, uint32_t first,
                              const uint32_t *weights, uint32_t count, int32_t *sums) {
    int16_t tables[TABLES * PATTERNS];
    for (uint32_t t = 0; t < TABLES; ++t) {
        int32_t values[TAPS];
        for (uint32_t k = 0; k < TAPS; ++k, ++first) {
            values[k] =
                first < layer->inputs ? (int32_t)ebnn_value_at(in, layer->layout, first) : 0;
        }
        tabulate(values, tables + t * PATTERNS);
    }
    for (uint32_t i = 0; i < count; ++i, weights += layer->words) {
        const uint32_t bits = *weights;
        sums[i] +=
            sum_at(tables, bits << 1) + sum_at(tables + PATTERNS, bits >> 3) +
            sum_at(tables + 2 * PATTERNS, bits >> 7) + sum_at(tables + 3 * PATTERNS, bits >> 11) +
            sum_at(tables + 4 * PATTERNS, bits >> 15) + sum_at(tables + 5 * PATTERNS, bits >> 19) +
            sum_at(tables + 6 * PATTERNS, bits >> 23) + sum_at(tables + 7 * PATTERNS, bits >> 27);
    }
}

void ebnn_linear_sums(const ebnn_linear_t *layer, const void *in, uint32_t output, uint32_t count,
                      int32_t *sums) {
    const uint32_t *weights = layer->weights + output * layer->words;
    for (uint32_t i = 0; i < count; ++i) {
        sums[i] = 0;
    }
    if (layer->layout == EBNN_WORDS || layer->layout == EBNN_DENSE) {
        const uint32_t *map = (const uint32_t *)in;
        for (uint32_t left = layer->words; left != 0;) {
            const uint32_t at_once = left < EBNN_ROW_WORDS ? left : (uint32_t)EBNN_ROW_WORDS;
            ebnn_add_rows(map, weights, at_once, (uint32_t *)sums, (uint32_t *)sums + count,
                          layer->words - at_once);
            map += at_once;
            weights += at_once;
            left -= at_once;
        }
        for (uint32_t i = 0; i < count; ++i) {
            sums[i] = (int32_t)layer->inputs - 2 * sums[i];
        }
        return;
    }
    for (uint32_t first = 0; first < layer->inputs; first += 32u) {
        add_values(layer, in, first, weights++, count, sums);
    }
}
