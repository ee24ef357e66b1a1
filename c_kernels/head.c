#include <stddef.h>

#include "bits.h"

/* Most heads have no more classes, and sums take stack. */
enum { CLASSES_AT_ONCE = 10 };

int ebnn_head(const ebnn_head_t *layer, const void *in, int32_t *scores) {
    int32_t sums[CLASSES_AT_ONCE];
    /* Chosen with masks and not with a branch: it takes the same time whatever the scores. */
    int32_t best = -(1 << 24); /* below every score, and no difference overflows */
    uint32_t best_class = 0;
    for (uint32_t first = 0; first < layer->linear.outputs; first += CLASSES_AT_ONCE) {
        const uint32_t left = layer->linear.outputs - first;
        const uint32_t count = left < CLASSES_AT_ONCE ? left : (uint32_t)CLASSES_AT_ONCE;
        ebnn_linear_sums(&layer->linear, in, first, count, sums);
        EBNN_NO_UNROLL
        for (uint32_t i = 0; i < count; ++i) {
            const int32_t score = layer->multipliers[first + i] * sums[i] +
                                  layer->offsets[first + i];                  /* |score| <= 2^23 */
            const uint32_t is_better = 0u - ((uint32_t)(best - score) >> 31); /* all ones or 0 */
            best = (int32_t)((uint32_t)best ^ (((uint32_t)best ^ (uint32_t)score) & is_better));
            best_class ^= (best_class ^ (first + i)) & is_better;
            if (scores != NULL) {
                scores[first + i] = score;
            }
        }
    }
    return (int)best_class;
}
