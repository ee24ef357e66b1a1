#include <stddef.h>

#include "bits.h"
#include "ebnn_kernels.h"

void ebnn_unfused_input(const void *in, ebnn_layout_t layout, uint32_t count, float *out) {
    for (uint32_t i = 0; i < count; ++i) {
        if (layout == EBNN_U8) {
            out[i] = (float)((const uint8_t *)in)[i];
        } else if (layout == EBNN_I16) {
            out[i] = (float)((const int16_t *)in)[i];
        } else {
            out[i] = ebnn_dense_bit((const uint8_t *)in, i) ? 1.0f : -1.0f;
        }
    }
}

static int32_t rows_before_pooling(const ebnn_window_t *w) {
    return (w->in.height + 2 * w->padding - w->kernel_height) / w->stride + 1;
}

static int32_t columns_before_pooling(const ebnn_window_t *w) {
    return (w->in.width + 2 * w->padding - w->kernel_width) / w->stride + 1;
}

void ebnn_unfused_conv(const ebnn_reference_conv_t *layer, const float *in, float *out) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t channels = w->in.channels / w->groups, filters = w->out.channels / w->groups;
    const uint32_t taps = channels * w->kernel_height * w->kernel_width;
    for (uint32_t filter = 0; filter < w->out.channels; ++filter) {
        const uint32_t first = filter / filters * channels;
        for (int32_t row = 0; row < rows_before_pooling(w); ++row) {
            for (int32_t column = 0; column < columns_before_pooling(w); ++column) {
                float sum = 0.0f; /* an integer below 2^24 at every step: exact */
                uint32_t weight = filter * taps;
                for (uint32_t channel = first; channel < first + channels; ++channel) {
                    for (int32_t ky = 0; ky < w->kernel_height; ++ky) {
                        for (int32_t kx = 0; kx < w->kernel_width; ++kx, ++weight) {
                            const int32_t y = row * w->stride - w->padding + ky;
                            const int32_t x = column * w->stride - w->padding + kx;
                            if (y >= 0 && x >= 0 && y < w->in.height && x < w->in.width) {
                                const float value =
                                    in[(channel * w->in.height + (uint32_t)y) * w->in.width +
                                       (uint32_t)x];
                                sum += ebnn_dense_bit(layer->weights, weight) ? value : -value;
                            }
                        }
                    }
                }
                *out++ = sum;
            }
        }
    }
}

void ebnn_unfused_pool(const ebnn_reference_conv_t *layer, const float *in, float *out) {
    const ebnn_window_t *w = &layer->window;
    const int32_t height = rows_before_pooling(w), width = columns_before_pooling(w);
    for (uint32_t channel = 0; channel < w->out.channels; ++channel, in += height * width) {
        for (int32_t row = 0; row < w->out.height; ++row) {
            for (int32_t column = 0; column < w->out.width; ++column) {
                const float *corner = in + row * w->pool_stride * width + column * w->pool_stride;
                float best = *corner;
                for (int32_t at = 1; at < w->pool * w->pool; ++at) {
                    const float value = corner[at / w->pool * width + at % w->pool];
                    best = value > best ? value : best;
                }
                *out++ = best;
            }
        }
    }
}

void ebnn_unfused_linear(const ebnn_reference_fc_t *layer, const float *in, float *out) {
    uint32_t weight = 0;
    for (uint32_t output = 0; output < layer->outputs; ++output) {
        float sum = 0.0f; /* as above: exact */
        for (uint32_t i = 0; i < layer->inputs; ++i, ++weight) {
            sum += ebnn_dense_bit(layer->weights, weight) ? in[i] : -in[i];
        }
        out[output] = sum;
    }
}

void ebnn_unfused_norm(const ebnn_norm_t *norm, uint32_t channels, uint32_t positions,
                       const float *in, float *out) {
    for (uint32_t channel = 0; channel < channels; ++channel) {
        for (uint32_t i = 0; i < positions; ++i) {
            float y = *in++;
            if (norm->mean != NULL) {
                y -= norm->mean[channel];
            }
            y *= norm->scale[channel];
            y += norm->beta[channel];
            *out++ = y;
        }
    }
}

void ebnn_unfused_sign(uint32_t count, const float *in, float *out) {
    for (uint32_t i = 0; i < count; ++i) {
        out[i] = in[i] >= 0.0f ? 1.0f : -1.0f;
    }
}

int ebnn_unfused_argmax(uint32_t classes, const float *scores, int32_t *out) {
    int best = 0;
    for (uint32_t i = 0; i < classes; ++i) {
        if (out != NULL) {
            out[i] = (int32_t)scores[i];
        }
        if (scores[i] > scores[best]) {
            best = (int)i;
        }
    }
    return best;
}
