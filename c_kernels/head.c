#include <stddef.h>

#include "ebnn_kernels.h"

int ebnn_head(const ebnn_head_t *layer, const void *in, int32_t *scores) {
    int32_t best = INT32_MIN; /* below every score */
    int best_class = 0;
    for (uint32_t output = 0; output < layer->linear.outputs; ++output) {
        const int32_t score =
            layer->multipliers[output] * ebnn_linear_sum(&layer->linear, in, output) +
            layer->offsets[output]; /* |score| <= 2^23 */
        if (scores != NULL) {
            scores[output] = score;
        }
        if (score > best) {
            best = score;
            best_class = (int)output;
        }
    }
    return best_class;
}
