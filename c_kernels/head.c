#include <stddef.h>

#include "ebnn_kernels.h"

int ebnn_head(const ebnn_head_t *layer, const void *in, int32_t *scores) {
    int32_t sums[EBNN_SUMS_AT_ONCE];
    const uint32_t outputs = layer->linear.outputs;
    /* Chosen with masks and not with a branch: it takes the same time whatever the scores. */
    int32_t best = -(1 << 24); /* below every score, and no difference overflows */
    uint32_t best_class = 0;
    for (uint32_t first = 0; first < outputs; first += EBNN_SUMS_AT_ONCE) {
        const uint32_t left = outputs - first;
        const uint32_t count = left < EBNN_SUMS_AT_ONCE ? left : (uint32_t)EBNN_SUMS_AT_ONCE;
        const int32_t *multipliers = layer->multipliers + first;
        const int32_t *offsets = layer->offsets + first;
        ebnn_linear_sums(&layer->linear, in, first, count, sums);
        for (uint32_t i = 0; i < count; ++i) {
            const int32_t score = multipliers[i] * sums[i] + offsets[i];      /* |score| <= 2^23 */
            const uint32_t is_better = 0u - ((uint32_t)(best - score) >> 31); /* all ones or 0 */
            best = (int32_t)((uint32_t)best ^ (((uint32_t)best ^ (uint32_t)score) & is_better));
            best_class ^= (best_class ^ (first + i)) & is_better;
            if (scores != NULL) {
                *scores++ = score;
            }
        }
    }
    return (int)best_class;
}
