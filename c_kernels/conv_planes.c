#include "bits.h"
#include "ebnn_kernels.h"

/* Lanes are pooled positions: bit s * pitch + x of a word belongs to column x of the s-th of the
 * rows under way. A plane is one channel's bits, at one place of the window, of all lanes. A
 * filter's sum at a position of the pool window follows from how many ones of the map, |a|, lie in
 * its window, and how many of those meet a weight +1, A = |w & a|:
 *     sum = 4 A + n - 2 |w| - 2 |a|   (n products, |w| weights +1)
 * so only planes where the weight is +1 are counted, and |a| once for all filters. What is counted
 * depends on the weights alone, and so does the time. */
enum { TREE_TAPS = 16, PLANES = EBNN_COUNT_PLANES, INVERTED = 0x8000 };

typedef struct {
    uint32_t ones, twos, fours, eights;
    uint32_t *carry; /* where the next carry goes; each is worth 16 */
} counter;

/* The planes above a counter's. */
typedef struct {
    uint32_t bit4, bit5, bit6, bit7, bit8, bit9, bit10;
} upper_planes;

/* Where one position of the pool window finds its planes: those of the kernel's first columns as
 * they are, those of the others one lane further up. */
typedef struct {
    uintptr_t plain, shifted;
    uint32_t plain_columns, kernel_width;
    const uint32_t *map_ones; /* |a|, in planes */
    uint32_t *carries;        /* to be filled */
} view;

/* acc + a + b = 2 * high + acc, in each bit. */
#define ADD_TWO(high, acc, a, b) EBNN_FULL_ADD(high, acc, acc, a, b)

/* A view's base can lie outside the scratch, so it is a number; a tap's byte offset leads back. */
EBNN_INLINE uint32_t plane_at(uintptr_t base, uint32_t offset, uint32_t shift) {
    return *(const uint32_t *)(base + offset) >> shift;
}

/* Exchange the bits of `a` under mask << j with those of `b` under mask. */
#define SWAP_BITS(a, b, j, mask)                                                                   \
    do {                                                                                           \
        const uint32_t swapped_ = (((a) >> (j)) ^ (b)) & (mask);                                   \
        (b) ^= swapped_;                                                                           \
        (a) ^= swapped_ << (j);                                                                    \
    } while (0)

#define ADD_TAPS(high, i)                                                                          \
    do {                                                                                           \
        const uint32_t first_ = taps[i], second_ = taps[(i) + 1];                                  \
        const uint32_t plane1_ = plane_at(base, first_, shift);                                    \
        const uint32_t plane2_ = plane_at(base, second_, shift);                                   \
        ADD_TWO(high, ones, plane1_, plane2_);                                                     \
    } while (0)

/* Count the planes of `count` taps, at least 1, in trees of 16; the first tree has what is left
 * over, and is entered where absent taps would have left zeros. */
EBNN_INLINE void count_taps(const uint16_t *taps, uint32_t count, uintptr_t base, uint32_t shift,
                            counter *counts) {
    uint32_t *carry = counts->carry;
    uint32_t ones = counts->ones, twos = counts->twos, fours = counts->fours;
    uint32_t eights = counts->eights;
    uint32_t two_a = 0, two_b = 0, four_a = 0, four_b = 0, eight_a = 0, eight_b = 0;
    const uint16_t *const end = taps + count;
    const uint32_t first = ((count - 1u) & (TREE_TAPS - 1u)) + 1u;
    if (first & 1u) {
        const uint32_t plane = plane_at(base, *taps++, shift);
        two_a = ones & plane;
        ones ^= plane;
    }
    taps -= TREE_TAPS - (first & ~1u); /* never before the lists: they start with 16 spare ones */
    switch (first >> 1) {
        do {
        case 8:
            ADD_TAPS(two_a, 0);
            /* fall through */
        case 7:
            ADD_TAPS(two_b, 2);
            /* fall through */
        case 6:
            ADD_TWO(four_a, twos, two_a, two_b);
            ADD_TAPS(two_a, 4);
            /* fall through */
        case 5:
            ADD_TAPS(two_b, 6);
            /* fall through */
        case 4:
            ADD_TWO(four_b, twos, two_a, two_b);
            ADD_TWO(eight_a, fours, four_a, four_b);
            ADD_TAPS(two_a, 8);
            /* fall through */
        case 3:
            ADD_TAPS(two_b, 10);
            /* fall through */
        case 2:
            ADD_TWO(four_a, twos, two_a, two_b);
            ADD_TAPS(two_a, 12);
            /* fall through */
        case 1:
            ADD_TAPS(two_b, 14);
            /* fall through */
        default:
            ADD_TWO(four_b, twos, two_a, two_b);
            ADD_TWO(eight_b, fours, four_a, four_b);
            ADD_TWO(*carry, eights, eight_a, eight_b);
            ++carry;
            taps += TREE_TAPS;
        } while (taps != end);
    }
    counts->ones = ones;
    counts->twos = twos;
    counts->fours = fours;
    counts->eights = eights;
    counts->carry = carry;
}

/* Count one part of the lists: ends of its columns, then taps. */
EBNN_INLINE void count_part(const uint16_t *part, const view *seen, counter *counts) {
    const uint32_t plain = part[seen->plain_columns];
    const uint32_t shifted = part[seen->kernel_width] - plain;
    part += seen->kernel_width + 1u;
    if (plain != 0) {
        count_taps(part, plain, seen->plain, 0, counts);
    }
    if (shifted != 0) {
        count_taps(part + plain, shifted, seen->shifted, 1, counts);
    }
}

EBNN_NOINLINE void count_shared(const uint16_t *part, const view *seen, counter *counts) {
    count_part(part, seen, counts);
}

/* Bit `i` of `value` in every lane. */
EBNN_INLINE uint32_t in_all_lanes(int32_t value, uint32_t i) {
    return 0u - (((uint32_t)value >> i) & 1u);
}

/* Add a number below 16, the same in all lanes. */
EBNN_INLINE void add_start(counter *counts, int32_t start) {
    const uint32_t bit0 = in_all_lanes(start, 0), bit1 = in_all_lanes(start, 1);
    const uint32_t bit2 = in_all_lanes(start, 2), bit3 = in_all_lanes(start, 3);
    uint32_t carry = counts->ones & bit0;
    counts->ones ^= bit0;
    ADD_TWO(carry, counts->twos, bit1, carry);
    ADD_TWO(carry, counts->fours, bit2, carry);
    ADD_TWO(*counts->carry, counts->eights, bit3, carry);
    ++counts->carry;
}

/* Add up the carries from `carry` to `end`, and `start` without its low 4 bits; the top two planes
 * only if `is_wide`. */
EBNN_INLINE upper_planes add_carries(uint32_t *carry, uint32_t *end, int32_t start, int is_wide) {
    upper_planes sum = {in_all_lanes(start, 4), in_all_lanes(start, 5), in_all_lanes(start, 6),
                        in_all_lanes(start, 7), in_all_lanes(start, 8), in_all_lanes(start, 9),
                        in_all_lanes(start, 10)};
    end[0] = end[1] = end[2] = 0;
    do {
        uint32_t two_a, two_b, bit6, bit7, bit8, bit9;
        ADD_TWO(two_a, sum.bit4, carry[0], carry[1]);
        ADD_TWO(two_b, sum.bit4, carry[2], carry[3]);
        ADD_TWO(bit6, sum.bit5, two_a, two_b);
        bit7 = sum.bit6 & bit6;
        sum.bit6 ^= bit6;
        bit8 = sum.bit7 & bit7;
        sum.bit7 ^= bit7;
        bit9 = sum.bit8 & bit8;
        sum.bit8 ^= bit8;
        if (is_wide) {
            sum.bit10 ^= sum.bit9 & bit9;
            sum.bit9 ^= bit9;
        }
        carry += 4;
    } while (carry < end);
    return sum;
}

/* Lanes where a filter's sum reaches its threshold, 2 A - |a| + margin >= 0, given what it shares
 * with another. The difference is as far from 0 as products / 2 + 1 at most: its sign is right
 * modulo 2^9 up to 509 products, and modulo 2^PLANES if `is_wide`. */
EBNN_INLINE uint32_t reached(const uint16_t *list, const view *seen, const counter *shared,
                             int is_wide) {
    const int32_t margin = (int16_t)list[1];
    counter counts = *shared;
    add_start(&counts, margin >> 1);
    count_part(list + 2, seen, &counts);
    const upper_planes upper = add_carries(seen->carries, counts.carry, margin >> 1, is_wide);
    const uint32_t *const map_ones = seen->map_ones;
    /* 2 X + 1 >= |a| is X >= |a| / 2 rounded down, 2 X >= |a| is rounded up. */
    uint32_t borrow = map_ones[0] & ~in_all_lanes(margin, 0);
#define SUBTRACT(i, plane)                                                                         \
    do {                                                                                           \
        const uint32_t half_ = map_ones[(i) + 1];                                                  \
        borrow ^= ((plane) ^ half_) & (half_ ^ borrow);                                            \
    } while (0)
    SUBTRACT(0, counts.ones);
    SUBTRACT(1, counts.twos);
    SUBTRACT(2, counts.fours);
    SUBTRACT(3, counts.eights);
    SUBTRACT(4, upper.bit4);
    SUBTRACT(5, upper.bit5);
    SUBTRACT(6, upper.bit6);
    SUBTRACT(7, upper.bit7);
    if (!is_wide) {
        return ~(upper.bit8 ^ map_ones[9] ^ borrow);
    }
    SUBTRACT(8, upper.bit8);
    SUBTRACT(9, upper.bit9);
    return ~(upper.bit10 ^ map_ones[PLANES] ^ borrow);
}

EBNN_NOINLINE uint32_t reached_narrow(const uint16_t *list, const view *seen,
                                      const counter *shared) {
    return reached(list, seen, shared, 0);
}

EBNN_NOINLINE uint32_t reached_wide(const uint16_t *list, const view *seen, const counter *shared) {
    return reached(list, seen, shared, 1);
}

/* Bit i of word k becomes bit k of word i. */
EBNN_NOINLINE void transpose(uint32_t *words) {
    for (uint32_t i = 0; i < 8; ++i) {
        uint32_t a = words[i], b = words[i + 8], c = words[i + 16], d = words[i + 24];
        SWAP_BITS(a, c, 16, 0x0000ffffu);
        SWAP_BITS(b, d, 16, 0x0000ffffu);
        SWAP_BITS(a, b, 8, 0x00ff00ffu);
        SWAP_BITS(c, d, 8, 0x00ff00ffu);
        words[i] = a;
        words[i + 8] = b;
        words[i + 16] = c;
        words[i + 24] = d;
    }
    for (uint32_t i = 0; i < 4; ++i, words += 8) {
        for (uint32_t j = 0; j < 4; ++j) {
            SWAP_BITS(words[j], words[j + 4], 4, 0x0f0f0f0fu);
        }
        for (uint32_t j = 0; j < 8; j += 4) {
            uint32_t a = words[j], b = words[j + 1], c = words[j + 2], d = words[j + 3];
            SWAP_BITS(a, c, 2, 0x33333333u);
            SWAP_BITS(b, d, 2, 0x33333333u);
            SWAP_BITS(a, b, 1, 0x55555555u);
            SWAP_BITS(c, d, 1, 0x55555555u);
            words[j] = a;
            words[j + 1] = b;
            words[j + 2] = c;
            words[j + 3] = d;
        }
    }
}

/* The planes of all channels, at row `row` of the map and every stride-th column from `column`,
 * for `rows` rows of lanes. */
EBNN_NOINLINE void gather(const ebnn_conv_planes_t *layer, const uint32_t *in, uint32_t row,
                          uint32_t column, uint32_t rows, uint32_t *planes) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t words = ((uint32_t)w->in.channels + 31u) / 32u;
    const uint32_t step = w->pool_stride * words;
    for (uint32_t word = 0; word < words; ++word, planes += 32) {
        uint32_t *lane = planes;
        for (uint32_t s = 0; s < rows; ++s) {
            const uint32_t first = (row + s * w->pool_stride) * w->in.width + column;
            const uint32_t *from = in + first * words + word;
            uint32_t x = 0;
            for (uint32_t at = column; x < layer->pitch && at < w->in.width; ++x) {
                *lane++ = *from;
                from += step;
                at += w->pool_stride;
            }
            for (; x < layer->pitch; ++x) {
                *lane++ = 0;
            }
        }
        while (lane != planes + 32) {
            *lane++ = 0;
        }
        transpose(planes);
    }
}

/* All planes of the window from map row `row` on; `follows`: those in `planes` are of the row
 * before, and all but the last row move up. */
EBNN_NOINLINE void gather_rows(const ebnn_conv_planes_t *layer, const uint32_t *in, uint32_t row,
                               uint32_t rows, int follows, uint32_t *planes) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t row_words = ((uint32_t)w->in.channels + 31u) / 32u * 32u;
    for (uint32_t column = 0; column < layer->columns; ++column) {
        uint32_t ky = 0;
        for (; follows && ky + 1u < w->kernel_height; ++ky, planes += row_words) {
            for (uint32_t i = 0; i < row_words; ++i) {
                planes[i] = planes[i + row_words];
            }
        }
        for (; ky < w->kernel_height; ++ky, planes += row_words) {
            gather(layer, in, row + ky, column, rows, planes);
        }
    }
}

/* Count the ones in each column of the window that is in scratch: planes of [column]. */
EBNN_NOINLINE void count_columns(const ebnn_conv_planes_t *layer, const uint32_t *planes,
                                 uint32_t column_words, uint32_t *column_ones, uint32_t *carry) {
    view seen = {(uintptr_t)planes, 0, 1, 1, 0, 0};
    for (uint32_t column = 0; column < layer->columns; ++column, column_ones += PLANES) {
        counter counts = {0, 0, 0, 0, carry};
        count_shared(layer->all_taps, &seen, &counts);
        const upper_planes upper = add_carries(carry, counts.carry, 0, 1);
        column_ones[0] = counts.ones;
        column_ones[1] = counts.twos;
        column_ones[2] = counts.fours;
        column_ones[3] = counts.eights;
        column_ones[4] = upper.bit4;
        column_ones[5] = upper.bit5;
        column_ones[6] = upper.bit6;
        column_ones[7] = upper.bit7;
        column_ones[8] = upper.bit8;
        column_ones[9] = upper.bit9;
        column_ones[10] = upper.bit10;
        seen.plain += column_words * sizeof *planes;
    }
}

/* |a| in bit planes, of the window at column `left` of the pool window. */
EBNN_NOINLINE void count_window(const ebnn_conv_planes_t *layer, const uint32_t *column_ones,
                                uint32_t left, uint32_t *map_ones) {
    const ebnn_window_t *w = &layer->window;
    for (uint32_t i = 0; i <= PLANES; ++i) {
        map_ones[i] = 0;
    }
    for (uint32_t column = left; column < left + w->kernel_width; ++column) {
        const uint32_t shift = column >= layer->columns;
        const uint32_t *from = column_ones + (shift ? column - w->pool_stride : column) * PLANES;
        uint32_t carry = 0;
        for (uint32_t i = 0; i < PLANES; ++i) {
            const uint32_t plane = from[i] >> shift;
            EBNN_FULL_ADD(carry, map_ones[i], map_ones[i], plane, carry);
        }
        map_ones[PLANES] ^= carry;
    }
}

/* All filters at one position of the pool window, into `pooled`. */
EBNN_NOINLINE void add_position(const ebnn_conv_planes_t *layer, const view *seen,
                                uint32_t *pooled) {
    const uint32_t kernel_width = seen->kernel_width;
    const uint16_t *list = layer->lists;
    for (uint32_t left = layer->window.out.channels; left != 0;) {
        counter shared = {0, 0, 0, 0, seen->carries};
        count_shared(list, seen, &shared);
        list += list[kernel_width] + kernel_width + 1u;
        for (uint32_t i = left < 2 ? 1 : 2; i != 0; --i, --left) {
            const uint32_t filter = list[0];
            const uint32_t lanes = layer->is_wide ? reached_wide(list, seen, &shared)
                                                  : reached_narrow(list, seen, &shared);
            pooled[filter & (INVERTED - 1u)] |= filter & INVERTED ? ~lanes : lanes;
            list += 2u + list[2 + kernel_width] + kernel_width + 1u;
        }
    }
}

/* Turn 32 filters' lanes into the words of `rows` rows of the map. */
EBNN_NOINLINE void write_rows(const ebnn_conv_planes_t *layer, uint32_t group, uint32_t rows,
                              uint32_t *pooled, uint32_t *out) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t groups = ((uint32_t)w->out.channels + 31u) / 32u;
    transpose(pooled);
    out += group;
    for (uint32_t s = 0; s < rows; ++s, pooled += layer->pitch) {
        for (uint32_t x = 0; x < w->out.width; ++x, out += groups) {
            *out = pooled[x] ^ layer->flips[group];
        }
    }
}

void ebnn_conv_planes(const ebnn_conv_planes_t *layer, const uint32_t *in, uint32_t *out,
                      uint32_t *scratch) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t groups = ((uint32_t)w->out.channels + 31u) / 32u;
    const uint32_t row_words = ((uint32_t)w->in.channels + 31u) / 32u * 32u;
    const uint32_t column_words = w->kernel_height * row_words;
    uint32_t *const planes = scratch;
    uint32_t *const pooled = planes + layer->columns * column_words;
    uint32_t *const column_ones = pooled + 32u * groups;
    uint32_t *const map_ones = column_ones + layer->columns * PLANES;
    uint32_t *const carry = map_ones + PLANES + 1;
    for (uint32_t top = 0; top < w->out.height; top += layer->rows) {
        const uint32_t rows_left = w->out.height - top;
        const uint32_t rows = rows_left < layer->rows ? rows_left : layer->rows;
        for (uint32_t i = 0; i < 32u * groups; ++i) {
            pooled[i] = 0;
        }
        for (uint32_t py = 0; py < w->pool; ++py) {
            gather_rows(layer, in, top * w->pool_stride + py, rows, py != 0, planes);
            count_columns(layer, planes, column_words, column_ones, carry);
            for (uint32_t px = 0; px < w->pool; ++px) {
                const uintptr_t column_bytes = column_words * sizeof *planes;
                const uint32_t plain = layer->columns > px ? layer->columns - px : 0;
                view seen = {0, 0, 0, w->kernel_width, map_ones, carry};
                seen.plain = (uintptr_t)planes + px * column_bytes;
                seen.shifted = seen.plain - w->pool_stride * column_bytes;
                seen.plain_columns = plain < w->kernel_width ? plain : w->kernel_width;
                count_window(layer, column_ones, px, map_ones);
                add_position(layer, &seen, pooled);
            }
        }
        for (uint32_t group = 0; group < groups; ++group) {
            write_rows(layer, group, rows, pooled + 32u * group, out);
        }
        out += rows * w->out.width * groups;
    }
}
