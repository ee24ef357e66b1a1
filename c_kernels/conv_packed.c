#define EBNN_FILTERS_AT_ONCE 16
#include "plane_conv.h"

#include "walk_planes.h"

EBNN_NOINLINE void count_group(const ebnn_conv_planes_t *layer, const ebnn_plane_scratch_t *scratch,
                               uint32_t filters, ebnn_next_filters_t *next) {
    ebnn_walk_t walk;
    ebnn_begin_pair(layer, scratch, next, &walk.pair);
    walk.pair.list = next->list;
    walk.weights = next->weights;
    walk.part_end = ebnn_plane_halves(layer) * 4u - 4u;
    walk.parts = layer->shifts;
    for (; filters != 0; filters -= filters == 1u ? 1u : 2u) {
        walk.pair.filters = filters == 1u ? 1u : 2u;
        ebnn_walk_pair(&walk);
    }
    next->list = walk.pair.list;
    next->weights = walk.weights;
    next->margins = walk.pair.margins;
}

void ebnn_conv_packed(const ebnn_conv_planes_t *layer, const uint32_t *in, uint32_t *out,
                      uint32_t *scratch) {
    ebnn_plane_conv(layer, in, out, scratch, count_group);
}
