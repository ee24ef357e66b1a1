#define EBNN_FILTERS_AT_ONCE 32
#include "plane_conv.h"

EBNN_NOINLINE void count_group(const ebnn_conv_planes_t *layer, const ebnn_plane_scratch_t *scratch,
                               uint32_t filters, ebnn_next_filters_t *next) {
    ebnn_pair_t pair;
    ebnn_begin_pair(layer, scratch, next, &pair);
    for (; filters != 0; filters -= filters == 1u ? 1u : 2u) {
        pair.filters = filters == 1u ? 1u : 2u;
        next->list = ebnn_count_pair(next->list, &pair);
    }
    next->margins = pair.margins;
}

void ebnn_conv_planes(const ebnn_conv_planes_t *layer, const uint32_t *in, uint32_t *out,
                      uint32_t *scratch) {
    ebnn_plane_conv(layer, in, out, scratch, count_group);
}
