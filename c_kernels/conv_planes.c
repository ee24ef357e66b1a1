#include "bits.h"
#include "count_planes.h"
#include "ebnn_kernels.h"
#include "plane_spans.h"

/* Lanes are positions of the convolution, before pooling. The map's rows, `pitch` lanes apart, are
 * one long row of bits; a span is 32 of them in a row, and what is computed of it are the positions
 * of its first 33 - shifts lanes. A plane is one channel's bits in a span, `kernel_height` spans
 * (of each phase of the stride) are there at once. The tap in kernel column kx has its plane
 * kx / stride lanes further up than the sum that it belongs to: rather than the planes, the counts
 * are turned, so the taps are listed by that shift.
 *
 * A filter's sum follows from how many ones of the map, |a|, lie in its window, and how many of
 * those meet a weight +1, A = |w & a|:
 *     sum = 4 A + n - 2 |w| - 2 |a|   (n products, |w| weights +1)
 * so only planes where the weight is +1 are counted, and |a| once for all filters. Bits outside the
 * map are 0, as if -1; what they add to the sum is put right in the margin that it is compared
 * with. What is counted depends on the weights alone, and so does the time. */

/* Parts of the scratch. */
typedef struct {
    uint32_t *planes; /* in blocks: a word 0, then 224 */
    uint32_t *lanes;  /* [32] of each filter of a group */
    uint32_t *start;  /* EBNN_COUNT_PLANES planes of -ceil(|a| / 2), then the lowest bit of |a| */
    ebnn_lane_class_t *classes;
    ebnn_lane_class_t *classes_end; /* of those that a span has */
    uint32_t *carries;
} scratch_parts;

/* The classes of lanes that the span from (y, x) on has, at lanes shifts - 1 further up. */
EBNN_NOINLINE ebnn_lane_class_t *find_classes(const ebnn_conv_planes_t *layer, uint32_t y,
                                              uint32_t x, ebnn_lane_class_t *classes) {
    ebnn_lane_class_t *end = classes;
    if (layer->margin_count == 1) {
        const ebnn_lane_class_t all = {~0u, 0};
        *end = all;
        return end + 1;
    }
    for (uint32_t lane = layer->shifts - 1u; lane < 32 && y < layer->rows;) {
        /* A run of positions alike, as far as there are lanes. */
        uint32_t run = x == layer->edge ? layer->middle_columns : 1u;
        if (x > layer->edge && x < layer->edge + layer->middle_columns) {
            run = layer->edge + layer->middle_columns - x;
        }
        run = run < 32u - lane ? run : 32u - lane;
        const uint32_t row_class = ebnn_edge_class(y, layer->edge, layer->middle_rows);
        const uint32_t column_class = ebnn_edge_class(x, layer->edge, layer->middle_columns);
        const uint32_t margin =
            (uint32_t)sizeof *layer->margins * (row_class * layer->column_classes + column_class);
        ebnn_lane_class_t *found = classes;
        while (found != end && found->margin != margin) {
            ++found;
        }
        if (found == end) {
            found->margin = margin;
            found->lanes = 0;
            ++end;
        }
        found->lanes |= (~0u >> (32u - run)) << lane;
        lane += run;
        x += run;
        if (x >= layer->columns) {
            lane += layer->pitch - x;
            x = 0;
            ++y;
        }
    }
    classes[0].lanes = ~0u; /* those of no position as well */
    return end;
}

/* Put 32 filters at `count` positions of row `y`, from column `x` on, into the pooled map. Its rows
 * are cleared as they begin: the map may lie over rows of the input that were gathered. */
EBNN_NOINLINE void pool_row(const ebnn_conv_planes_t *layer, uint32_t y, uint32_t x, uint32_t count,
                            const uint32_t *positions, uint32_t *out) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t groups = ((uint32_t)w->out.channels + 31u) / 32u;
    const uint32_t stride = w->pool_stride;
    for (uint32_t row = 0, top = 0; row < w->out.height && top <= y; ++row, top += stride) {
        if (y >= top + w->pool) {
            continue;
        }
        uint32_t *const first = out + row * w->out.width * groups;
        if (y == top && x == 0) {
            for (uint32_t at = 0; at < w->out.width * groups; at += groups) {
                first[at] = 0;
            }
        }
        for (uint32_t px = 0; px < w->pool; ++px) {
            /* Every stride-th position from px on, up to that of the last pooled column. */
            const uint32_t columns = layer->columns - w->pool + px + 1u;
            const uint32_t end = columns < x + count ? columns : x + count;
            uint32_t *to = first;
            uint32_t at = px;
            for (; at < x; at += stride) {
                to += groups;
            }
            for (; at < end; at += stride, to += groups) {
                *to |= positions[at - x];
            }
        }
    }
}

/* Put 32 filters at the positions of a span, from (y, x) on, into the pooled map. */
static void pool_span(const ebnn_conv_planes_t *layer, uint32_t y, uint32_t x,
                      const uint32_t *positions, uint32_t *out) {
    for (uint32_t left = 33u - layer->shifts; left != 0 && y < layer->rows; x = 0, ++y) {
        const uint32_t lanes = layer->pitch - x < left ? layer->pitch - x : left;
        pool_row(layer, y, x, lanes, positions, out);
        positions += lanes;
        left -= lanes;
    }
}

/* Where the lists and margins of the next filters are. */
typedef struct {
    const uint8_t *list;
    const int16_t *margins;
} next_filters;

/* The lanes of up to 32 filters at the positions of a span. */
EBNN_NOINLINE void count_group(const ebnn_conv_planes_t *layer, const scratch_parts *scratch,
                               uint32_t filters, next_filters *next) {
    ebnn_pair_t pair;
    pair.start = scratch->start;
    pair.rounding = scratch->start[EBNN_COUNT_PLANES];
    pair.carries = scratch->carries;
    pair.planes = scratch->planes;
    pair.lanes = scratch->lanes;
    pair.margins = next->margins;
    pair.margin_bytes = (uint32_t)(layer->margin_count * sizeof *layer->margins);
    pair.classes = scratch->classes;
    pair.classes_end = scratch->classes_end;
    for (uint32_t i = filters; i < 32; ++i) {
        pair.lanes[i] = 0;
    }
    for (uint32_t filter = 0; filter < filters; filter += 2) {
        pair.filters = filter + 1u == filters ? 1 : 2;
        next->list = ebnn_count_pair(next->list, &pair);
    }
    next->margins = pair.margins;
}

/* All filters at the positions of a span, from (y, x) on, into the pooled map. */
EBNN_NOINLINE void count_span(const ebnn_conv_planes_t *layer, uint32_t y, uint32_t x,
                              scratch_parts *scratch, uint32_t *out) {
    next_filters next = {layer->lists, layer->margins};
    scratch->classes_end = find_classes(layer, y, x, scratch->classes);
    for (uint32_t left = layer->window.out.channels; left != 0; ++out) {
        const uint32_t filters = left < 32 ? left : 32;
        count_group(layer, scratch, filters, &next);
        ebnn_transpose(scratch->lanes, 32);
        pool_span(layer, y, x, scratch->lanes + layer->shifts - 1u, out);
        left -= filters;
    }
}

void ebnn_conv_planes(const ebnn_conv_planes_t *layer, const uint32_t *in, uint32_t *out,
                      uint32_t *scratch) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t groups = ((uint32_t)w->out.channels + 31u) / 32u;
    const uint32_t out_words = (uint32_t)w->out.height * w->out.width * groups;
    const uint32_t plane_groups =
        ((uint32_t)w->in.channels + 31u) / 32u * w->kernel_height * layer->phases;
    const uint32_t blocks = (32u * plane_groups + EBNN_BLOCK_PLANES - 1u) / EBNN_BLOCK_PLANES;
    scratch_parts parts;
    parts.planes = scratch;
    parts.lanes = parts.planes + 32u * plane_groups + blocks;
    parts.start = parts.lanes + 32;
    parts.classes = (ebnn_lane_class_t *)(void *)(parts.start + EBNN_COUNT_PLANES + 1);
    parts.carries = (uint32_t *)(void *)(parts.classes + layer->span_classes);
    for (uint32_t block = 0; block < blocks; ++block) {
        parts.planes[block * EBNN_BLOCK_WORDS] = 0;
    }
    for (uint32_t y = 0, x = 0, known = w->kernel_height; y < layer->rows;) {
        ebnn_gather_span(layer, in, y, x, known, parts.planes);
        ebnn_count_window(layer, parts.planes, parts.start, parts.lanes);
        count_span(layer, y, x, &parts, out);
        const uint32_t before_y = y, before_x = x;
        for (x += 33u - layer->shifts; x >= layer->pitch; x -= layer->pitch) {
            ++y;
        }
        if (x >= layer->columns) {
            x = 0;
            ++y;
        }
        known = x == before_x ? (y - before_y) * w->stride : w->kernel_height;
    }
    for (uint32_t i = 0, group = 0; i < out_words; ++i) {
        out[i] ^= layer->flips[group];
        group = group + 1u == groups ? 0 : group + 1u;
    }
}
