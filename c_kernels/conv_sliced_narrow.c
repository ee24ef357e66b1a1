#include "sliced_weights.h"

/* Count a window of half-words, a spare one behind each `before_spare`, or none if 0; returns where
 * its carries end. */
EBNN_INLINE uint32_t *count_window(const ebnn_sliced_window_t *window, uint32_t before_spare,
                                   uint32_t weight_bytes) {
    ebnn_sliced_counter_t counts = {window->start[0], window->start[1], window->start[2],
                                    window->start[3]};
    const ebnn_half_t *pixel = (const ebnn_half_t *)(const void *)window->pixel;
    const uint8_t *weights = (const uint8_t *)window->weights;
    uint32_t *carry = window->carries;
    uint32_t left = before_spare;
    while ((const uint8_t *)pixel != window->end) {
        const ebnn_half_t *const end = pixel + window->row_bytes / 2u;
        while (pixel != end) {
            *carry++ = ebnn_count_block((uint32_t)*pixel++ << 16, weights, weight_bytes, &counts);
            weights += EBNN_SLICED_BLOCK_WORDS * weight_bytes;
            if (--left == 0) {
                left = before_spare;
                ++pixel;
            }
        }
        if ((const uint8_t *)pixel == window->end) {
            break;
        }
        EBNN_FORGET();
        pixel += window->pixel_step / 2u;
        weights += window->weight_step * weight_bytes;
    }
    return carry;
}

EBNN_NOINLINE uint32_t *count_words(const ebnn_sliced_window_t *window, uint32_t before_spare) {
    return count_window(window, before_spare, 4);
}

EBNN_NOINLINE uint32_t *count_halves(const ebnn_sliced_window_t *window, uint32_t before_spare) {
    return count_window(window, before_spare, 2);
}

EBNN_NOINLINE uint32_t *count_bytes(const ebnn_sliced_window_t *window, uint32_t before_spare) {
    return count_window(window, before_spare, 1);
}

EBNN_INLINE uint32_t *count_group(const ebnn_conv_sliced_t *layer, uint32_t group,
                                  ebnn_sliced_window_t *window) {
    const ebnn_conv_sliced_narrow_t *const narrow = (const ebnn_conv_sliced_narrow_t *)layer;
    const uint32_t spare = layer->in_bytes == 2u * layer->blocks ? 0u : layer->blocks;
    if (group < narrow->word_groups) {
        window->weights = ebnn_sliced_weights(layer, group, window);
        return count_words(window, spare);
    }
    window->weights =
        (const uint8_t *)narrow->last_weights + window->first_weight * narrow->last_weight_bytes;
    return narrow->last_weight_bytes == 1u ? count_bytes(window, spare)
                                           : count_halves(window, spare);
}

void ebnn_conv_sliced_narrow(const ebnn_conv_sliced_narrow_t *layer, const void *in, void *out,
                             uint32_t *carries) {
    uint8_t *end = ebnn_sliced_conv(&layer->sliced, in, out, carries, count_group, 1);
    for (; ((uintptr_t)end & 3u) != 0; ++end) {
        *end = 0; /* a fully connected layer reads whole words */
        EBNN_FORGET();
    }
}
