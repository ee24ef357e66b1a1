/* Counting planes of bits that lists pick: the inner loop of conv_planes.c. */
#ifndef EBNN_COUNT_PLANES_H
#define EBNN_COUNT_PLANES_H

#include "bits.h"
#include "ebnn_kernels.h"

#include <stdint.h>

/* For a pair of filters, or one by itself, come the list of what both count, then each one's own
 * and behind it the number of the filter. A list is made of parts: quads - 1, then 1 to 56 quads of
 * numbers of planes. The counts are rotated by a lane from one part to the next. Behind the last
 * part is the list's end, or that the next part is of the next block of planes, and the rotation
 * the other way round from there on. */
enum { EBNN_NEXT_BLOCK = 253, EBNN_SHARED_END = 254, EBNN_OWN_END = 255 };
enum { EBNN_BLOCK_WORDS = EBNN_BLOCK_PLANES / 32 * 33 };
enum { EBNN_INVERTED = 0x80 }; /* on a filter's number: it is the other lanes that it reaches */

/* Lanes whose positions have the same taps outside the map. */
typedef struct {
    uint32_t lanes;
    uint32_t margin; /* which of a filter's margins is theirs, in bytes */
} ebnn_lane_class_t;

/* The first line is what both filters have counted. The assembly knows where the members are. */
typedef struct {
    uint32_t ones, twos, fours; /* planes of the count */
    uint32_t *carry;            /* where the next carry goes, each worth 16 */
    uint32_t turn;              /* lanes that it is rotated right by */
    uint32_t eights;
    const uint32_t *start;  /* EBNN_COUNT_PLANES planes that every count starts from */
    uint32_t *carries;      /* the first one */
    const uint32_t *planes; /* blocks of EBNN_BLOCK_WORDS words, the first of each 0 */
    uint32_t *lanes;        /* [32]: for each filter, the lanes where it is reached */
    const int16_t *margins; /* of the next filter, for each class */
    uint32_t margin_bytes;  /* from one filter's to the next's; 2 where there is one class */
    const ebnn_lane_class_t *classes; /* the first one has all lanes */
    const ebnn_lane_class_t *classes_end;
    uint32_t low[4];      /* planes 0 to 3 of a filter's sum */
    uint32_t own_advance; /* lanes to rotate by where own lists start: 1 or 31 */
    uint32_t filters;     /* 1 or 2, counted down */
    uint32_t found;       /* lanes of the classes so far */
    uint32_t rounding;    /* 1 where `start` is rounded down from a half */
    const uint8_t *list;
    uint32_t saved[9]; /* the caller's registers */
} ebnn_pair_t;

/* ebnn_count_pair(list, pair): count the lists of a pair and find the lanes where sum + margin / 2,
 * rounded up by `rounding`, is at least 0. Returns the end of the lists. */
#if defined(__thumb__) && EBNN_ASSEMBLY
/* In assembly. It uses no stack: it keeps its caller's registers in the pair, and three words where
 * arguments are passed. */
#define EBNN_COUNT_PAIR                                                                            \
    __attribute__((naked, noinline, used)) const uint8_t *ebnn_count_pair_asm(                     \
        const uint8_t *list, ebnn_pair_t *pair, uint32_t unused_r2, uint32_t unused_r3,            \
        ebnn_pair_t *pair_on_stack, uint32_t advance_on_stack, uint32_t end_on_stack)

EBNN_COUNT_PAIR;
#define ebnn_count_pair(list, pair) ebnn_count_pair_asm(list, pair, 0, 0, pair, 0, 0)
#else
const uint8_t *ebnn_count_pair(const uint8_t *list, ebnn_pair_t *pair);
#endif

#endif
