#include <stddef.h>

#include "bits.h"
#include "ebnn_kernels.h"

/* One value of an input map: 0..255, -2047..2047, or +-1. */
static int32_t value_at(const void *map, ebnn_layout_t layout, uint32_t i) {
    switch (layout) {
    case EBNN_U8:
        return ((const uint8_t *)map)[i];
    case EBNN_I16:
        return ((const int16_t *)map)[i];
    default:
        return ebnn_dense_bit((const uint8_t *)map, i) ? 1 : -1;
    }
}

static void set_dense_bit(uint8_t *map, uint32_t i, int on) {
    const uint8_t bit = (uint8_t)(1u << (i & 7u));
    if ((i & 7u) == 0) {
        map[i >> 3] = 0; /* bits come in order: a byte starts clean, its spare bits stay 0 */
    }
    map[i >> 3] = (uint8_t)(map[i >> 3] | (on ? bit : 0u));
}

/* Of the channels from `first` up to `end`, with the weights from `weight` on. */
static int32_t conv_sum(const ebnn_reference_conv_t *layer, const void *in, uint32_t first,
                        uint32_t end, uint32_t weight, int32_t top, int32_t left) {
    const ebnn_window_t *w = &layer->window;
    int32_t sum = 0; /* |sum| < 2^24 */
    for (uint32_t channel = first; channel < end; ++channel) {
        for (int32_t y = top; y < top + w->kernel_height; ++y) {
            for (int32_t x = left; x < left + w->kernel_width; ++x, ++weight) {
                if (y >= 0 && x >= 0 && y < w->in.height && x < w->in.width) {
                    const uint32_t i =
                        (channel * w->in.height + (uint32_t)y) * w->in.width + (uint32_t)x;
                    const int32_t value = value_at(in, layer->layout, i);
                    sum += ebnn_dense_bit(layer->weights, weight) ? value : -value;
                }
            }
        }
    }
    return sum;
}

void ebnn_reference_conv(const ebnn_reference_conv_t *layer, const void *in, uint8_t *out) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t channels = w->in.channels / w->groups, filters = w->out.channels / w->groups;
    const uint32_t taps = channels * w->kernel_height * w->kernel_width;
    uint32_t written = 0;
    for (uint32_t filter = 0; filter < w->out.channels; ++filter) {
        const uint32_t first = filter / filters * channels;
        for (int32_t row = 0; row < w->out.height; ++row) {
            for (int32_t column = 0; column < w->out.width; ++column) {
                float best = 0.0f; /* the block's one float temporary */
                for (int32_t py = 0; py < w->pool; ++py) {
                    for (int32_t px = 0; px < w->pool; ++px) {
                        const int32_t y = (row * w->pool_stride + py) * w->stride;
                        const int32_t x = (column * w->pool_stride + px) * w->stride;
                        const float sum =
                            (float)conv_sum(layer, in, first, first + channels, filter * taps,
                                            y - w->padding, x - w->padding);
                        best = (py == 0 && px == 0) || sum > best ? sum : best;
                    }
                }
                best -= layer->norm.mean[filter];
                best *= layer->norm.scale[filter];
                best += layer->norm.beta[filter];
                set_dense_bit(out, written++, best >= 0.0f);
            }
        }
    }
}

static float linear_sum(const ebnn_reference_fc_t *layer, const void *in, uint32_t output) {
    uint32_t weight = output * layer->inputs;
    int32_t sum = 0; /* |sum| < 2^24 */
    for (uint32_t i = 0; i < layer->inputs; ++i, ++weight) {
        const int32_t value = value_at(in, layer->layout, i);
        sum += ebnn_dense_bit(layer->weights, weight) ? value : -value;
    }
    return (float)sum;
}

void ebnn_reference_fc(const ebnn_reference_fc_t *layer, const void *in, uint8_t *out) {
    for (uint32_t output = 0; output < layer->outputs; ++output) {
        float y = linear_sum(layer, in, output);
        y -= layer->norm.mean[output];
        y *= layer->norm.scale[output];
        y += layer->norm.beta[output];
        set_dense_bit(out, output, y >= 0.0f);
    }
}

int ebnn_reference_head(const ebnn_reference_fc_t *layer, const void *in, int32_t *scores) {
    float best = 0.0f;
    int best_class = 0;
    for (uint32_t output = 0; output < layer->outputs; ++output) {
        float y = linear_sum(layer, in, output);
        y *= layer->norm.scale[output];
        y += layer->norm.beta[output]; /* an integer, |y| <= 2^23: exact */
        if (scores != NULL) {
            scores[output] = (int32_t)y;
        }
        if (output == 0 || y > best) {
            best = y;
            best_class = (int)output;
        }
    }
    return best_class;
}
