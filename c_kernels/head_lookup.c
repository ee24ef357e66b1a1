#include "head_lookup.h"

#include <stddef.h>

enum { CLASS_MASK = EBNN_LOOKUP_CLASSES - 1 };

/* Fields 0 and 3 of the 5 of 6 bits, whose sums then have 18 bits. */
#define FIELDS_0_AND_3 0x00fc003fu

/* The larger one of the best key and that of the next class. Without a branch: it takes the same
 * time whatever the keys. Their difference is below 2^31. */
#define NEXT_CLASS(matches)                                                                        \
    do {                                                                                           \
        const uint32_t next_ = (uint32_t)scale[0] * (matches) + (uint32_t)scale[1];                \
        const uint32_t ahead_ = best - next_;                                                      \
        *key++ = (int32_t)next_;                                                                   \
        scale += 2;                                                                                \
        best = next_ + (ahead_ & ~(0u - (ahead_ >> 31)));                                          \
    } while (0)

int32_t ebnn_lookup_best(const ebnn_lookup_t *layer, uint32_t first, const ebnn_part_t *parts,
                         int32_t *scores, int32_t best_key) {
    uint32_t even0 = 0, even1 = 0, even2 = 0, odd0 = 0, odd1 = 0, odd2 = 0;
    for (const ebnn_part_t *const end = parts + layer->parts; parts != end; ++parts) {
        const uint32_t odd = parts->odd, even = parts->all - (odd << 3);
        even0 += even & FIELDS_0_AND_3;
        even1 += (even >> 6) & FIELDS_0_AND_3;
        even2 += (even >> 12) & 0x3fu;
        odd0 += odd & FIELDS_0_AND_3;
        odd1 += (odd >> 6) & FIELDS_0_AND_3;
        odd2 += (odd >> 12) & 0x3fu;
    }
    int32_t keys[EBNN_LOOKUP_OUTPUTS], *key = keys;
    const int32_t *scale = layer->scales + 2u * first;
    uint32_t best = (uint32_t)best_key;
    NEXT_CLASS(even0 & 0x3ffffu);
    NEXT_CLASS(odd0 & 0x3ffffu);
    NEXT_CLASS(even1 & 0x3ffffu);
    NEXT_CLASS(odd1 & 0x3ffffu);
    NEXT_CLASS(even2);
    NEXT_CLASS(odd2);
    NEXT_CLASS(even0 >> 18);
    NEXT_CLASS(odd0 >> 18);
    NEXT_CLASS(even1 >> 18);
    NEXT_CLASS(odd1 >> 18);
    if (scores != NULL) {
        const uint32_t left = layer->outputs - first;
        const uint32_t count = left < EBNN_LOOKUP_OUTPUTS ? left : (uint32_t)EBNN_LOOKUP_OUTPUTS;
        for (uint32_t i = 0; i < count; ++i) {
            scores[first + i] = (keys[i] - (keys[i] & CLASS_MASK)) / EBNN_LOOKUP_CLASSES;
        }
    }
    return (int32_t)best;
}

int ebnn_lookup_class(int32_t best_key) {
    return CLASS_MASK - (best_key & CLASS_MASK);
}
