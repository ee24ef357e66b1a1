#include "ebnn_kernels.h"

void ebnn_fc(const ebnn_fc_t *layer, const void *in, uint32_t *out) {
    const uint32_t outputs = layer->linear.outputs;
    uint32_t bits = 0;
    for (uint32_t output = 0; output < outputs; ++output) {
        const int32_t slack = ebnn_linear_sum(&layer->linear, in, output) -
                              layer->thresholds[output]; /* |slack| < 2^25 */
        bits |= (slack >= 0 ? 1u : 0u) << (output & 31u);
        if ((output & 31u) == 31u || output + 1u == outputs) {
            out[output >> 5] = bits ^ layer->flips[output >> 5];
            bits = 0;
        }
    }
}
