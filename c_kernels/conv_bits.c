#include <stddef.h>

#include "bits.h"
#include "ebnn_kernels.h"

/* Copy the window at row `top`, column `left` of a map in words; positions outside the map become
 * 0, with a 0 mask. Returns the number of positions inside. */
static uint32_t gather_words(const ebnn_window_t *w, const uint32_t *map, int32_t top, int32_t left,
                             uint32_t *window, uint32_t *mask) {
    const uint32_t words = ((uint32_t)w->in.channels + 31u) / 32u;
    uint32_t inside = 0;
    for (int32_t y = top; y < top + w->kernel_height; ++y) {
        for (int32_t x = left; x < left + w->kernel_width; ++x) {
            const int is_inside = y >= 0 && x >= 0 && y < w->in.height && x < w->in.width;
            const uint32_t *pixel = map + ((uint32_t)(is_inside ? y : 0) * w->in.width +
                                           (uint32_t)(is_inside ? x : 0)) *
                                              words;
            inside += (uint32_t)is_inside;
            for (uint32_t i = 0; i < words; ++i) {
                *window++ = is_inside ? pixel[i] : 0u;
                *mask++ = is_inside ? UINT32_MAX : 0u;
            }
        }
    }
    return inside;
}

/* The same from a dense map; the window's bits are packed [channel][row][column]. */
static uint32_t gather_dense(const ebnn_window_t *w, const uint8_t *map, int32_t top, int32_t left,
                             uint32_t *window, uint32_t *mask) {
    uint32_t inside = 0, bits = 0, bits_mask = 0, position = 0;
    for (uint32_t channel = 0; channel < w->in.channels; ++channel) {
        for (int32_t y = top; y < top + w->kernel_height; ++y) {
            for (int32_t x = left; x < left + w->kernel_width; ++x) {
                if (y >= 0 && x >= 0 && y < w->in.height && x < w->in.width) {
                    const uint32_t i =
                        (channel * w->in.height + (uint32_t)y) * w->in.width + (uint32_t)x;
                    bits |= ebnn_dense_bit(map, i) << position;
                    bits_mask |= 1u << position;
                    ++inside;
                }
                if (++position == 32u) {
                    *window++ = bits;
                    *mask++ = bits_mask;
                    position = bits = bits_mask = 0;
                }
            }
        }
    }
    if (position != 0) {
        *window = bits;
        *mask = bits_mask;
    }
    return inside / w->in.channels;
}

/* Set the bit of every filter whose sum over the window reaches its threshold.
 * sum = products - 2 * (number of products that are -1), |sum| <= products <= 2^24.
 * Inlined twice, so that windows inside the map do without the mask. */
EBNN_INLINE void or_filters(const ebnn_conv_bits_t *layer, const uint32_t *window,
                            const uint32_t *mask, int32_t products, uint32_t *pixel) {
    const uint32_t words = layer->window_words;
    const uint32_t *weights = layer->weights;
    const int32_t *threshold = layer->thresholds;
    uint32_t left = layer->window.out.channels;
    while (left != 0) {
        const uint32_t filters = left < 32u ? left : 32u;
        uint32_t bits = 0;
        for (uint32_t filter = filters; filter != 0; --filter) {
            uint32_t negative = 0;
            if (mask == NULL) {
                negative = ebnn_xor_popcount(window, weights, words);
            } else {
                for (uint32_t i = 0; i < words; ++i) {
                    negative += ebnn_popcount((window[i] ^ weights[i]) & mask[i]);
                }
            }
            const int32_t slack = products - 2 * (int32_t)negative - *threshold++;
            bits = (bits >> 1) | (~(uint32_t)slack & 0x80000000u);
            weights += words;
        }
        *pixel++ |= bits >> (32u - filters);
        left -= filters;
    }
}

void ebnn_conv_bits(const ebnn_conv_bits_t *layer, const void *in, uint32_t *out,
                    uint32_t *scratch) {
    const ebnn_window_t *w = &layer->window;
    const int32_t taps = w->kernel_height * w->kernel_width;
    const uint32_t out_words = ((uint32_t)w->out.channels + 31u) / 32u;
    uint32_t *mask = scratch + layer->window_words;
    for (int32_t row = 0; row < w->out.height; ++row) {
        for (int32_t column = 0; column < w->out.width; ++column) {
            for (uint32_t i = 0; i < out_words; ++i) {
                out[i] = 0;
            }
            for (int32_t py = 0; py < w->pool; ++py) {
                for (int32_t px = 0; px < w->pool; ++px) {
                    const int32_t top = (row * w->pool_stride + py) * w->stride - w->padding;
                    const int32_t left = (column * w->pool_stride + px) * w->stride - w->padding;
                    const int32_t inside = layer->layout == EBNN_WORDS
                                               ? (int32_t)gather_words(w, (const uint32_t *)in, top,
                                                                       left, scratch, mask)
                                               : (int32_t)gather_dense(w, (const uint8_t *)in, top,
                                                                       left, scratch, mask);
                    const int32_t products = inside * w->in.channels;
                    if (inside == taps) {
                        or_filters(layer, scratch, NULL, products, out);
                    } else {
                        or_filters(layer, scratch, mask, products, out);
                    }
                }
            }
            for (uint32_t i = 0; i < out_words; ++i) {
                *out++ ^= layer->flips[i];
            }
        }
    }
}
