/* From the counts of a filter to the lanes where it is reached: in C for count_planes.c and
 * walk_planes.c, which have it in assembly as well. */
#ifndef EBNN_PAIR_LANES_H
#define EBNN_PAIR_LANES_H

#include "count_planes.h"
#include "counters.h"

static inline uint32_t ebnn_rotated_right(uint32_t word, uint32_t lanes) {
    return (word >> (lanes & 31u)) | (word << (-lanes & 31u));
}

/* Add the carries to `upper`, the planes from bit 4 on. There is room for 3 more carries. */
static inline void ebnn_add_carries(uint32_t *carry, uint32_t *end, uint32_t *upper) {
    end[0] = end[1] = end[2] = 0;
    for (; carry < end; carry += 4) {
        uint32_t x1 = carry[0], y1 = carry[1], x2 = carry[2], y2 = carry[3];
        EBNN_ADD_FOUR(upper[0], x1, y1, x2, y2);
        EBNN_ADD(upper[1], x2, x1);
        for (uint32_t i = 2; i < EBNN_COUNT_PLANES - 4; ++i) {
            EBNN_ADD_HALF(upper[i], x2);
        }
    }
}

/* Lanes where sum + margin / 2, rounded up where `carry` is set, is at least 0. */
static inline uint32_t ebnn_reached(const uint32_t *sum, uint32_t margin, uint32_t carry) {
    carry &= 0u - (margin & 1u);
    for (uint32_t i = 0; i < EBNN_COUNT_PLANES - 1; ++i) {
        carry = (margin >> (i + 1u)) & 1u ? carry | sum[i] : carry & sum[i];
    }
    carry ^= sum[EBNN_COUNT_PLANES - 1];
    return (margin >> EBNN_COUNT_PLANES) & 1u ? carry : ~carry;
}

/* The lanes of a filter, whose counts are planes 0 to 3 in `sum` and the carries up to `end`. */
static inline void ebnn_find_lanes(ebnn_pair_t *pair, uint32_t *sum, uint32_t *end,
                                   uint32_t number) {
    uint32_t found = 0;
    for (uint32_t i = 4; i < EBNN_COUNT_PLANES; ++i) {
        sum[i] = pair->start[i];
    }
    ebnn_add_carries(pair->carries, end, sum + 4);
    for (const ebnn_lane_class_t *kind = pair->classes; kind != pair->classes_end; ++kind) {
        const uint32_t margin =
            (uint32_t)(int32_t)pair->margins[kind->margin / sizeof *pair->margins];
        const uint32_t lanes = ebnn_reached(sum, margin, pair->rounding);
        found ^= (found ^ lanes) & kind->lanes;
    }
    pair->lanes[number & 31u] = number & EBNN_INVERTED ? ~found : found;
    pair->margins += pair->margin_bytes / sizeof *pair->margins;
}

#endif
