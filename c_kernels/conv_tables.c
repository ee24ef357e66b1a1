#include "sliced.h"

/* For each block five tables of what three of its inputs add to every filter's count, 0 to 3 in
 * two planes: [8][2]; then the weights of its last input. */
enum { BLOCK_WORDS = EBNN_TABLES_BLOCK_WORDS, TABLE_BYTES = 64, ENTRY_MASK = 7 << 3 };

/* Where table 0 has the entry for the inputs from bit `i` on. */
EBNN_INLINE const uint32_t *entry_at(const uint32_t *block, uint32_t inputs, uint32_t i) {
    return block + 2u * ((inputs >> i) & 7u);
}

/* Count the products that are -1 of the 16 inputs from bit `first` on; returns the carry, worth
 * 16. */
EBNN_INLINE uint32_t count_block(uint32_t inputs, uint32_t first, const uint32_t *block,
                                 ebnn_sliced_counter_t *counts) {
    const uint32_t *entry = entry_at(block, inputs, first);
    uint32_t ones_a = entry[0], twos_a = entry[1];
    entry = entry_at(block, inputs, first + 3);
    uint32_t ones_b = entry[16], twos_b = entry[17];
    ones_b ^= ones_a;
    twos_b ^= twos_a;
    EBNN_ADD_FIRST(counts->ones, ones_a, ones_b);
    EBNN_ADD_FIRST(counts->twos, twos_a, twos_b);
    entry = entry_at(block, inputs, first + 6);
    uint32_t ones_c = entry[32], twos_c = entry[33];
    entry = entry_at(block, inputs, first + 9);
    uint32_t ones_d = entry[48], twos_d = entry[49];
    ones_d ^= ones_c;
    twos_d ^= twos_c;
    EBNN_ADD_SECOND(counts->ones, ones_a, ones_c, ones_d);
    EBNN_ADD_SECOND(counts->twos, twos_a, twos_c, twos_d);
    EBNN_ADD_FIRST(counts->fours, twos_c, twos_a);
    EBNN_ADD_FIRST(counts->twos, ones_c, ones_a);
    entry = entry_at(block, inputs, first + 12);
    uint32_t ones_e = entry[64], twos_e = entry[65];
    const uint32_t last =
        block[BLOCK_WORDS - 1] ^ (uint32_t)((int32_t)(inputs << (16 - first)) >> 31);
    const uint32_t ones_f = last ^ ones_e;
    EBNN_ADD(counts->ones, ones_e, ones_f);
    const uint32_t twos_f = ones_e ^ twos_e;
    EBNN_ADD_SECOND(counts->twos, ones_c, twos_e, twos_f);
    EBNN_ADD_SECOND(counts->fours, twos_c, twos_e, ones_c);
    EBNN_ADD(counts->eights, twos_e, twos_c);
    return twos_e;
}

/* Count a window of words, one of `half_words` with its lower half alone, or none if 0; returns
 * where its carries end. */
EBNN_NOINLINE uint32_t *count_window(const ebnn_sliced_window_t *window, uint32_t half_words) {
    ebnn_sliced_counter_t counts = {window->start[0], window->start[1], window->start[2],
                                    window->start[3]};
    const uint32_t *pixel = (const uint32_t *)window->pixel;
    const uint32_t *weights = (const uint32_t *)window->weights;
    uint32_t *carry = window->carries;
    uint32_t before_half = half_words;
    while ((const uint8_t *)pixel != window->end) {
        const uint32_t *const end = pixel + window->row_bytes / 4u;
        for (; pixel != end; ++pixel) {
            *carry++ = count_block(*pixel, 0, weights, &counts);
            weights += BLOCK_WORDS;
            if (--before_half == 0) {
                before_half = half_words;
                continue;
            }
            *carry++ = count_block(*pixel, 16, weights, &counts);
            weights += BLOCK_WORDS;
        }
        if ((const uint8_t *)pixel == window->end) {
            break;
        }
        EBNN_FORGET();
        pixel += window->pixel_step / 4u;
        weights += window->weight_step;
    }
    return carry;
}

EBNN_INLINE uint32_t *count_group(const ebnn_conv_sliced_t *layer, uint32_t group,
                                  ebnn_sliced_window_t *window) {
    window->weights = ebnn_sliced_weights(layer, group, window);
    return count_window(window, layer->blocks & 1u ? layer->in_bytes / 4u : 0u);
}

void ebnn_conv_tables(const ebnn_conv_sliced_t *layer, const uint32_t *in, uint32_t *out,
                      uint32_t *carries) {
    (void)ebnn_sliced_conv(layer, in, out, carries, count_group, 4);
}
