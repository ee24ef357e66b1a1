#include "ebnn_kernels.h"

void ebnn_quantize(const float *in, int16_t *out, uint32_t count, float scale) {
    /* Adding and taking away 1.5 * 2^23 leaves the nearest integer, ties to even. */
    const volatile float magic = 12582912.0f;
    for (uint32_t i = 0; i < count; ++i) {
        float value = in[i] * scale;
        if (!(value > -2047.0f)) { /* NaN too */
            value = -2047.0f;
        } else if (value > 2047.0f) {
            value = 2047.0f;
        }
        value += magic;
        value -= magic;
        out[i] = (int16_t)value;
    }
}
