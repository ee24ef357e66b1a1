/* Binary convolution of bits, 32 positions at a time: what conv_planes.c and conv_packed.c share.
 *
 * Lanes are positions of the convolution, before pooling. The map's rows, `pitch` lanes apart, are
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
 * with. What is counted depends on the weights alone, and so does the time.
 *
 * EBNN_FILTERS_AT_ONCE, 32 or 16, is how many filters' lanes are kept at once. */
#ifndef EBNN_PLANE_CONV_H
#define EBNN_PLANE_CONV_H

#include "bits.h"
#include "count_planes.h"
#include "ebnn_kernels.h"
#include "plane_spans.h"

/* The classes of lanes that the span from (y, x) on has, at lanes shifts - 1
 * further up. */
EBNN_NOINLINE ebnn_lane_class_t *ebnn_find_classes(const ebnn_conv_planes_t *layer, uint32_t y,
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

/* Of EBNN_FILTERS_AT_ONCE filters, those that are reached at a lane. */
static inline uint32_t ebnn_filters_at(const uint32_t *lanes, uint32_t lane) {
#if EBNN_FILTERS_AT_ONCE == 32
    return lanes[lane];
#else
    return (lanes[lane & 15u] >> (lane & 16u)) & 0xffffu;
#endif
}

/* Put filters at `count` positions of row `y`, from column `x` on, which are the lanes from `lane`
 * on, into the pooled map, `up` bits up in its words. Words are cleared as a row begins: the map
 * may lie over rows of the input that were gathered. */
EBNN_INLINE void ebnn_pool_row(const ebnn_conv_planes_t *layer, uint32_t y, uint32_t x,
                               uint32_t count, const uint32_t *lanes, uint32_t lane, uint32_t up,
                               uint32_t *out) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t groups = ((uint32_t)w->out.channels + 31u) / 32u;
    const uint32_t stride = w->pool_stride;
    for (uint32_t row = 0, top = 0; row < w->out.height && top <= y; ++row, top += stride) {
        if (y >= top + w->pool) {
            continue;
        }
        uint32_t *const first = out + row * w->out.width * groups;
        if (y == top && x == 0 && up == 0) {
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
                *to |= ebnn_filters_at(lanes, lane + at - x) << up;
            }
        }
    }
}

/* Put filters at the positions of a span, from (y, x) on, into the pooled map. */
EBNN_NOINLINE void ebnn_pool_span(const ebnn_conv_planes_t *layer, uint32_t y, uint32_t x,
                                  const uint32_t *lanes, uint32_t up, uint32_t *out) {
    for (uint32_t lane = layer->shifts - 1u; lane != 32 && y < layer->rows; x = 0, ++y) {
        const uint32_t count = layer->pitch - x < 32u - lane ? layer->pitch - x : 32u - lane;
        ebnn_pool_row(layer, y, x, count, lanes, lane, up, out);
        lane += count;
    }
}

/* Parts of the scratch. */
typedef struct {
    uint32_t *planes; /* as plane_spans.h has them */
    uint32_t *start;  /* EBNN_COUNT_PLANES planes of -ceil(|a| / 2), then the lowest bit of |a| */
    uint32_t *lanes;  /* [EBNN_FILTERS_AT_ONCE] of each filter, then carries */
    ebnn_lane_class_t *classes_end; /* of those that a span has, from behind `start` on */
} ebnn_plane_scratch_t;

static inline ebnn_lane_class_t *ebnn_classes_behind(uint32_t *start) {
    return (ebnn_lane_class_t *)(void *)(start + EBNN_COUNT_PLANES + 1);
}

/* Where what belongs to the next filters is. */
typedef struct {
    const uint8_t *list;
    const uint32_t *weights;
    const int16_t *margins;
} ebnn_next_filters_t;

static inline void ebnn_begin_pair(const ebnn_conv_planes_t *layer,
                                   const ebnn_plane_scratch_t *scratch,
                                   const ebnn_next_filters_t *next, ebnn_pair_t *pair) {
    pair->start = scratch->start;
    pair->rounding = scratch->start[EBNN_COUNT_PLANES];
    pair->carries = scratch->lanes + EBNN_FILTERS_AT_ONCE;
    pair->planes = scratch->planes;
    pair->lanes = scratch->lanes;
    pair->margins = next->margins;
    pair->margin_bytes = (uint32_t)(layer->margin_count * sizeof *layer->margins);
    pair->classes = ebnn_classes_behind(scratch->start);
    pair->classes_end = scratch->classes_end;
}

/* Finds the lanes of the next `filters`. */
typedef void ebnn_count_group_t(const ebnn_conv_planes_t *layer,
                                const ebnn_plane_scratch_t *scratch, uint32_t filters,
                                ebnn_next_filters_t *next);

/* All filters at the positions of a span, from (y, x) on, into the pooled map. */
EBNN_INLINE void ebnn_count_span(const ebnn_conv_planes_t *layer, uint32_t y, uint32_t x,
                                 ebnn_plane_scratch_t *scratch, uint32_t *out,
                                 ebnn_count_group_t *count_group) {
    const uint32_t all = layer->window.out.channels;
    ebnn_next_filters_t next = {layer->lists, layer->weights, layer->margins};
    for (uint32_t first = 0, group_end = 0; first < all;) {
        if (first == group_end) {
            if (first != 0) {
                scratch->planes += layer->plane_words;
            }
            group_end += layer->filters;
            ebnn_count_window(layer, scratch->planes, scratch->start, scratch->lanes);
        }
        /* Up to the end of the group or, so that none come to lie across one, of a word. */
        const uint32_t room = EBNN_FILTERS_AT_ONCE - first % EBNN_FILTERS_AT_ONCE;
        const uint32_t left = group_end - first;
        const uint32_t filters = left < room ? left : room;
        for (uint32_t i = filters; i < EBNN_FILTERS_AT_ONCE; ++i) {
            scratch->lanes[i] = 0;
        }
        count_group(layer, scratch, filters, &next);
        ebnn_transpose(scratch->lanes, EBNN_FILTERS_AT_ONCE);
        ebnn_pool_span(layer, y, x, scratch->lanes, first & 31u, out + first / 32u);
        first += filters;
    }
    scratch->planes -= (layer->window.groups - 1u) * layer->plane_words;
}

/* All of a convolution with pooling. */
EBNN_INLINE void ebnn_plane_conv(const ebnn_conv_planes_t *layer, const uint32_t *in, uint32_t *out,
                                 uint32_t *scratch, ebnn_count_group_t *count_group) {
    const ebnn_window_t *w = &layer->window;
    ebnn_plane_scratch_t parts;
    parts.planes = scratch;
    parts.start = scratch + w->groups * layer->plane_words;
    parts.lanes = (uint32_t *)(void *)(ebnn_classes_behind(parts.start) + layer->span_classes);
    for (uint32_t *word = parts.planes; word != parts.start; ++word) {
        *word = 0;
    }
    for (uint32_t y = 0, x = 0, known = w->kernel_height; y < layer->rows;) {
        /* What is gathered passes through the place of start, classes, lanes and carries. */
        ebnn_gather_span(layer, in, y, x, known, parts.planes, parts.start);
        ebnn_fill_between(layer, parts.planes);
        parts.classes_end = ebnn_find_classes(layer, y, x, ebnn_classes_behind(parts.start));
        ebnn_count_span(layer, y, x, &parts, out, count_group);
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
    const uint32_t groups = ((uint32_t)w->out.channels + 31u) / 32u;
    const uint32_t out_words = (uint32_t)w->out.height * w->out.width * groups;
    for (uint32_t i = 0, group = 0; i < out_words; ++i) {
        out[i] ^= layer->flips[group];
        group = group + 1u == groups ? 0 : group + 1u;
    }
}

#endif
