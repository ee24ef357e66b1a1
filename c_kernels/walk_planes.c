#include "walk_planes.h"

#include "counters.h"
#include "pair_lanes.h"

/* The assembly does what the C does. With EBNN_PORTABLE defined the C is used everywhere. */
#if defined(EBNN_WALK_PAIR)
#if defined(__thumb2__)
#include "walk_planes_thumb2.h"
#else
const uint8_t ebnn_bit_places[64] = {
    128, 124, 120, 76, 116, 100, 0, 72, 112, 0,  96, 0,  0,   0, 0,  68, 84, 108, 0,  0, 92, 0,
    0,   24,  0,   0,  0,   0,   0, 40, 16,  64, 0,  80, 104, 0, 0,  0,  0,  0,   88, 0, 0,  28,
    0,   0,   44,  20, 4,   0,   0, 0,  0,   32, 0,  48, 8,   0, 36, 52, 12, 56,  60, 0,
};
#include "walk_planes_thumb1.h"
#endif
#else
/* Counts of a list so far. Four planes at once are a quad: the first's carries wait in `four` for
 * the second's, those of both in `eight` for the next two's. */
typedef struct {
    uint32_t ones, twos, fours, eights;
    uint32_t four, eight;
    uint32_t quads;
    uint32_t *carry; /* where the next one goes, each worth 16 */
} walk_count_t;

/* The highest plane of `word` that is left; 0 where none is. */
static uint32_t next_plane(uint32_t *word, const uint32_t **planes) {
    if (*word == 0) {
        return 0;
    }
    for (; *word >> 31 == 0; *word <<= 1) {
        ++*planes;
    }
    *word <<= 1;
    return *(*planes)++;
}

/* Count the planes of `word`, at least one quad. `turn`: lanes that a carry is rotated right by. */
static void count_word(uint32_t word, const uint32_t *planes, uint32_t turn, walk_count_t *count) {
    do {
        uint32_t x1 = next_plane(&word, &planes), y1 = next_plane(&word, &planes);
        uint32_t x2 = next_plane(&word, &planes), y2 = next_plane(&word, &planes);
        EBNN_ADD_FOUR(count->ones, x1, y1, x2, y2);
        switch (count->quads++ & 3u) {
        case 0:
        case 2:
            EBNN_ADD_FIRST(count->twos, x2, x1);
            count->four = x2;
            break;
        case 1:
            EBNN_ADD_SECOND(count->twos, count->four, x2, x1);
            EBNN_ADD_FIRST(count->fours, x2, count->four);
            count->eight = x2;
            break;
        default:
            EBNN_ADD_SECOND(count->twos, count->four, x2, x1);
            EBNN_ADD_SECOND(count->fours, count->eight, x2, count->four);
            EBNN_ADD(count->eights, x2, count->eight);
            *count->carry++ = ebnn_rotated_right(x2, turn);
            break;
        }
    } while (word != 0);
}

static void rotate_counts(walk_count_t *count, uint32_t lanes) {
    count->ones = ebnn_rotated_right(count->ones, lanes);
    count->twos = ebnn_rotated_right(count->twos, lanes);
    count->fours = ebnn_rotated_right(count->fours, lanes);
    count->eights = ebnn_rotated_right(count->eights, lanes);
    count->four = ebnn_rotated_right(count->four, lanes);
    count->eight = ebnn_rotated_right(count->eight, lanes);
}

/* Count the planes where `first` xor the first filter's bit and `second` xor the second's are both
 * 1. Returns the end of the pair's weights. */
static const uint32_t *walk_list(const ebnn_walk_t *walk, uint32_t first, uint32_t second,
                                 walk_count_t *count) {
    const uint32_t *weights = walk->weights;
    uint32_t turn = 0;
    for (uint32_t part = walk->parts; part != 0; --part) {
        const uint32_t *planes = walk->pair.planes + 1;
        const uint32_t *const last = weights + walk->part_end / 4u;
        for (; weights < last; weights += 2, planes += 33) {
            count_word((weights[0] ^ first) & (weights[1] ^ second), planes, turn, count);
        }
        if (weights == last) {
            const uint32_t both = (*weights ^ first) & (*weights << 16 ^ second);
            count_word(both & 0xffff0000u, planes, turn, count);
            ++weights;
        }
        if (part != 1) {
            rotate_counts(count, 1);
            --turn;
        }
    }
    while ((count->quads & 3u) != 0) {
        count_word(0, walk->pair.planes, turn, count);
    }
    rotate_counts(count, turn & 31u);
    return weights;
}

void ebnn_walk_pair(ebnn_walk_t *walk) {
    ebnn_pair_t *const pair = &walk->pair;
    const uint32_t *const start = pair->start;
    walk_count_t shared = {start[0], start[1], start[2], start[3], 0, 0, 0, pair->carries};
    const uint32_t *end = walk_list(walk, 0, 0, &shared);
    for (uint32_t second = 0; second != pair->filters; ++second) {
        walk_count_t own = shared;
        end = walk_list(walk, second ? ~0u : 0u, second ? 0u : ~0u, &own);
        uint32_t sum[EBNN_COUNT_PLANES] = {own.ones, own.twos, own.fours, own.eights};
        ebnn_find_lanes(pair, sum, own.carry, *pair->list++);
    }
    walk->weights = end;
}
#endif
