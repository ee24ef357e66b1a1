#include "ebnn_kernels.h"

void ebnn_fc(const ebnn_fc_t *layer, const void *in, uint32_t *out) {
    int32_t sums[EBNN_SUMS_AT_ONCE];
    const uint32_t outputs = layer->linear.outputs;
    for (uint32_t first = 0; first < outputs; first += EBNN_SUMS_AT_ONCE) {
        const uint32_t left = outputs - first;
        const uint32_t count = left < EBNN_SUMS_AT_ONCE ? left : (uint32_t)EBNN_SUMS_AT_ONCE;
        const int32_t *thresholds = layer->thresholds + first;
        uint32_t bits = 0;
        ebnn_linear_sums(&layer->linear, in, first, count, sums);
        for (uint32_t i = 0; i < count; ++i) {
            const int32_t slack = sums[i] - thresholds[i]; /* |slack| < 2^25 */
            bits |= (~(uint32_t)slack >> 31) << i;
        }
        out[first / 32u] = bits ^ layer->flips[first / 32u];
    }
}
