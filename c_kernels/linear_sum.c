#include "bits.h"
#include "ebnn_kernels.h"

int32_t ebnn_linear_sum(const ebnn_linear_t *layer, const void *in, uint32_t output) {
    const uint32_t *weights = layer->weights + output * layer->words;
    if (layer->layout == EBNN_WORDS || layer->layout == EBNN_DENSE) {
        const uint32_t negative = ebnn_xor_popcount((const uint32_t *)in, weights, layer->words);
        return (int32_t)layer->inputs - 2 * (int32_t)negative;
    }
    int32_t sum = 0; /* |sum| < 2^24 */
    for (uint32_t i = 0; i < layer->inputs; ++i) {
        const int32_t value = layer->layout == EBNN_U8 ? (int32_t)((const uint8_t *)in)[i]
                                                       : (int32_t)((const int16_t *)in)[i];
        sum += (weights[i >> 5] >> (i & 31u)) & 1u ? value : -value;
    }
    return sum;
}
