/* Counting planes where packed weights are +1: the inner loop of conv_packed.c. */
#ifndef EBNN_WALK_PLANES_H
#define EBNN_WALK_PLANES_H

#include "count_planes.h"

/* A pair's weights are made of parts, one for each shift, the highest first. In a part come a word
 * of the first filter and one of the second for each 32 planes, the first plane's bit on top, then
 * perhaps one whose halves are the last words' upper halves. */
typedef struct {
    ebnn_pair_t pair;
    const uint32_t *weights; /* of the next pair */
    uint32_t part_end; /* bytes of a part up to the last word, which is a half, or of a whole one */
    uint32_t parts;
} ebnn_walk_t;

/* Count the planes of a pair and find the lanes as ebnn_count_pair does. pair.list has the filters'
 * numbers. `weights` and `list` move on to the next pair. */
#if defined(__thumb__) && EBNN_ASSEMBLY
/* In assembly, as ebnn_count_pair. */
#if defined(__thumb2__)
#define EBNN_WALK_PAIR                                                                             \
    __attribute__((naked, noinline, used)) void ebnn_walk_pair_asm(                                \
        ebnn_walk_t *walk, uint32_t unused_r1, uint32_t unused_r2, uint32_t unused_r3,             \
        ebnn_walk_t *walk_on_stack, uint32_t carry_on_stack, uint32_t end_on_stack,                \
        uint32_t turn_on_stack, uint32_t parts_on_stack)
#define ebnn_walk_pair(walk) ebnn_walk_pair_asm(walk, 0, 0, 0, walk, 0, 0, 0, 0)
#else
#define EBNN_WALK_PAIR                                                                             \
    __attribute__((naked, noinline, used)) void ebnn_walk_pair_asm(                                \
        ebnn_walk_t *walk, uint32_t unused_r1, uint32_t unused_r2, uint32_t unused_r3,             \
        ebnn_walk_t *walk_on_stack, uint32_t carry_on_stack, uint32_t end_on_stack,                \
        uint32_t turn_on_stack, uint32_t parts_on_stack, const uint8_t *places_on_stack,           \
        uint32_t hash_on_stack)
/* For each bit by itself, and for none, the upper 6 bits of its product with EBNN_BIT_HASH are
 * others (Leiserson, Prokop, Randall, "Using de Bruijn sequences to index a 1 in a computer word",
 * 1998): for these the table has 4 * the places of their planes. */
enum { EBNN_BIT_HASH = 0x0450fbaf };
extern const uint8_t ebnn_bit_places[64];
#define ebnn_walk_pair(walk)                                                                       \
    ebnn_walk_pair_asm(walk, 0, 0, 0, walk, 0, 0, 0, 0, ebnn_bit_places, EBNN_BIT_HASH)
#endif

EBNN_WALK_PAIR;
#else
void ebnn_walk_pair(ebnn_walk_t *walk);
#endif

#endif
