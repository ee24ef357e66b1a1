#include "sliced_weights.h"

enum { BLOCK_WORDS = EBNN_SLICED_BLOCK_WORDS };

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
            *carry++ = ebnn_count_block(*pixel << 16, weights, 4, &counts);
            weights += BLOCK_WORDS;
            if (--before_half == 0) {
                before_half = half_words;
                EBNN_FORGET_IF_FEW_REGISTERS(); /* else one more value waits on the stack */
                continue;
            }
            *carry++ = ebnn_count_block(*pixel, weights, 4, &counts);
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

void ebnn_conv_sliced(const ebnn_conv_sliced_t *layer, const uint32_t *in, uint32_t *out,
                      uint32_t *carries) {
    (void)ebnn_sliced_conv(layer, in, out, carries, count_group, 4);
}
