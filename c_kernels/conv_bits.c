#include <stddef.h>

#include "bits.h"
#include "ebnn_kernels.h"

/* Up to 32 of a pixel's channels in words: `left` of them, or as many as there is room for, from
 * `first` on. */
static uint32_t channels_from(const uint32_t *pixel, uint32_t first, uint32_t left) {
    const uint32_t shift = first % 32u;
    uint32_t bits = pixel[first / 32u] >> shift;
    if (shift + left > 32u && shift != 0) {
        bits |= pixel[first / 32u + 1u] << (32u - shift);
    }
    return left < 32u ? bits & ((1u << left) - 1u) : bits;
}

/* Copy the window at row `top`, column `left` of a map in words, of `channels` from `first` on;
 * positions outside the map become 0, with a 0 mask. Returns the number of positions inside. */
static uint32_t gather_words(const ebnn_window_t *w, const uint32_t *map, uint32_t first,
                             uint32_t channels, int32_t top, int32_t left, uint32_t *window,
                             uint32_t *mask) {
    const uint32_t pixel_words = ((uint32_t)w->in.channels + 31u) / 32u;
    const uint32_t words = (channels + 31u) / 32u;
    uint32_t inside = 0;
    for (int32_t y = top; y < top + w->kernel_height; ++y) {
        for (int32_t x = left; x < left + w->kernel_width; ++x) {
            const int is_inside = y >= 0 && x >= 0 && y < w->in.height && x < w->in.width;
            const uint32_t *pixel = map + ((uint32_t)(is_inside ? y : 0) * w->in.width +
                                           (uint32_t)(is_inside ? x : 0)) *
                                              pixel_words;
            inside += (uint32_t)is_inside;
            for (uint32_t i = 0; i < words; ++i) {
                const uint32_t bits =
                    w->groups == 1u ? pixel[i]
                                    : channels_from(pixel, first + 32u * i, channels - 32u * i);
                *window++ = is_inside ? bits : 0u;
                *mask++ = is_inside ? UINT32_MAX : 0u;
            }
        }
    }
    return inside;
}

/* The same from a dense map; the window's bits are packed [channel][row][column]. */
static uint32_t gather_dense(const ebnn_window_t *w, const uint8_t *map, uint32_t first,
                             uint32_t channels, int32_t top, int32_t left, uint32_t *window,
                             uint32_t *mask) {
    uint32_t inside = 0, bits = 0, bits_mask = 0, position = 0;
    for (uint32_t channel = first; channel < first + channels; ++channel) {
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
    return inside / channels;
}

/* Set the bit of every filter, of `count` from `first` on, whose sum over the window reaches its
 * threshold.
 * sum = products - 2 * (number of products that are -1), |sum| <= products <= 2^24.
 * Inlined twice, so that windows inside the map do without the mask. */
EBNN_INLINE void or_filters(const ebnn_conv_bits_t *layer, const uint32_t *window,
                            const uint32_t *mask, int32_t products, uint32_t first, uint32_t count,
                            uint32_t *pixel) {
    const uint32_t words = layer->window_words;
    const uint32_t *weights = layer->weights + first * words;
    const int32_t *threshold = layer->thresholds + first;
    while (count != 0) {
        const uint32_t room = 32u - first % 32u; /* of the pixel's word */
        const uint32_t filters = count < room ? count : room;
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
        pixel[first / 32u] |= bits >> (32u - filters) << first % 32u;
        first += filters;
        count -= filters;
    }
}

void ebnn_conv_bits(const ebnn_conv_bits_t *layer, const void *in, uint32_t *out,
                    uint32_t *scratch) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t taps = (uint32_t)w->kernel_height * w->kernel_width;
    const uint32_t channels = w->in.channels / w->groups, filters = w->out.channels / w->groups;
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
                    for (uint32_t group = 0; group < w->groups; ++group) {
                        const uint32_t first = group * channels;
                        const uint32_t inside =
                            layer->layout == EBNN_WORDS
                                ? gather_words(w, (const uint32_t *)in, first, channels, top, left,
                                               scratch, mask)
                                : gather_dense(w, (const uint8_t *)in, first, channels, top, left,
                                               scratch, mask);
                        const int32_t products = (int32_t)(inside * channels);
                        if (inside == taps) {
                            or_filters(layer, scratch, NULL, products, group * filters, filters,
                                       out);
                        } else {
                            or_filters(layer, scratch, mask, products, group * filters, filters,
                                       out);
                        }
                    }
                }
            }
            for (uint32_t i = 0; i < out_words; ++i) {
                *out++ ^= layer->flips[i];
            }
        }
    }
}
