#include "bits.h"
#include "ebnn_kernels.h"

/* With n inputs, m of them listed, and of an output's weights w that are +1, a of them at listed
 * inputs, the products that are -1 number
 *     m + w - 2 a      where the inputs that are +1 are listed,
 *     n - m - w + 2 a  where those that are -1 are,
 * so it takes only a count of the weights at listed inputs: bit-sliced, of 32 outputs at a time.
 * The shorter of the two lists is taken and made up to half of the inputs with entries that find a
 * 0: that makes the time the same for every input. Listing and counting take turns, a chunk of the
 * list at a time. */
enum {
    CHUNK = EBNN_LIST_CHUNK,
    SPARE = EBNN_LIST_SPARE, /* entries that the last word listed may have too many */
    AT_ONCE = 32,            /* a list is made up to a multiple of these */
    CARRIES = CHUNK / 8      /* of a chunk: 16 */
};

/* What the list is filled and moved by: two entries, it starts at a word. */
#if defined(__GNUC__)
typedef uint32_t __attribute__((may_alias)) entries_t;
#else
typedef uint16_t entries_t;
#endif
enum { TOGETHER = sizeof(entries_t) / sizeof(uint16_t) };

/* Add the entries up to `end`, which are a multiple of 32, to the lowest three planes of a count.
 * Every 8 give a carry worth 8; a word that is none goes in front of the carries. */
#if defined(__thumb2__) && EBNN_ASSEMBLY
/* gcc takes a tenth more: it puts other instructions between the loads, which then take twice as
 * long on a Cortex-M3 or M4, and has too few registers. */
#define UNUSED __attribute__((unused))
#define ADD_4(i, store, carry, difference)                                                         \
    "ldrh r4, [r0, #2 * (" #i ")]\n\t"                                                             \
    "ldrh r5, [r0, #2 * (" #i " + 1)]\n\t"                                                         \
    "ldrh r6, [r0, #2 * (" #i " + 2)]\n\t"                                                         \
    "ldrh r7, [r0, #2 * (" #i " + 3)]\n\t"                                                         \
    "ldr r4, [r2, r4]\n\t"                                                                         \
    "ldr r5, [r2, r5]\n\t"                                                                         \
    "ldr r6, [r2, r6]\n\t"                                                                         \
    "ldr r7, [r2, r7]\n\t" store /* EBNN_DOUBLE_ADD to ones in r8 */                               \
    "eors r5, r4\n\t"                                                                              \
    "eors r7, r6\n\t"                                                                              \
    "eor r4, r4, r8\n\t"                                                                           \
    "orrs r4, r5\n\t"                                                                              \
    "eor r8, r8, r5\n\t"                                                                           \
    "eor r6, r6, r8\n\t"                                                                           \
    "bics r6, r7\n\t"                                                                              \
    "eor " difference ", r6, r4\n\t"                                                               \
    "eor " carry ", r4, r8\n\t"                                                                    \
    "eor r8, r8, r7\n\t"
#define ADD_8(i)                                                                                   \
    ADD_4(i, "str lr, [r3], #4\n\t", "r12", "r11")                                                 \
    ADD_4(i + 4, "", "r4", "r6") /* EBNN_DOUBLE_ADD to twos in r9 */                               \
    "eor r12, r12, r9\n\t"                                                                         \
    "orr r12, r12, r11\n\t"                                                                        \
    "eor r9, r9, r11\n\t"                                                                          \
    "eor r4, r4, r9\n\t"                                                                           \
    "bics r4, r6\n\t"                                                                              \
    "eor r11, r4, r12\n\t"                                                                         \
    "eor r12, r12, r9\n\t"                                                                         \
    "eor r9, r9, r6\n\t" /* EBNN_PAIR_ADD to fours in r10 */                                       \
    "eor r12, r12, r10\n\t"                                                                        \
    "orr r12, r12, r11\n\t"                                                                        \
    "eor r10, r10, r11\n\t"                                                                        \
    "eor lr, r12, r10\n\t"
__attribute__((naked, noinline)) static void
add_entries(UNUSED const uint16_t *list, UNUSED const uint16_t *end, UNUSED const uint32_t *weights,
            UNUSED uint32_t *carries, UNUSED uint32_t *count) {
    __asm__ volatile("push {r4-r11, lr}\n\t"
                     "ldr r12, [sp, #36]\n\t" /* count */
                     "ldm r12, {r8-r10}\n\t"
                     "1:\n\t" ADD_8(0) ADD_8(8) ADD_8(16) ADD_8(24) "adds r0, #64\n\t"
                                                                    "cmp r0, r1\n\t"
                                                                    "bne 1b\n\t"
                                                                    "ldr r12, [sp, #36]\n\t"
                                                                    "str lr, [r3]\n\t"
                                                                    "stm r12, {r8-r10}\n\t"
                                                                    "pop {r4-r11, pc}");
}
#else
#define FOUND(i) (*(const uint32_t *)(const void *)((const char *)weights + list[i]))
#define ADD_4(x0, x0y0, i)                                                                         \
    do {                                                                                           \
        uint32_t x1, x1y1;                                                                         \
        (x0) = FOUND(i);                                                                           \
        (x0y0) = (x0) ^ FOUND((i) + 1);                                                            \
        x1 = FOUND((i) + 2);                                                                       \
        x1y1 = x1 ^ FOUND((i) + 3);                                                                \
        EBNN_DOUBLE_ADD(ones, x0, x0y0, x1, x1y1);                                                 \
    } while (0)
EBNN_NOINLINE void add_entries(const uint16_t *list, const uint16_t *end, const uint32_t *weights,
                               uint32_t *carries, uint32_t *count) {
    uint32_t ones = count[0], twos = count[1], fours = count[2];
    do {
        uint32_t carry, difference, carry4, difference4;
        ADD_4(carry, difference, 0);
        ADD_4(carry4, difference4, 4);
        EBNN_DOUBLE_ADD(twos, carry, difference, carry4, difference4);
        EBNN_PAIR_ADD(fours, carry, difference);
        *++carries = carry;
        list += 8;
    } while (list != end);
    count[0] = ones;
    count[1] = twos;
    count[2] = fours;
}
#endif

/* Add 8 carries to bits 3 to 5 of a count: a carry worth 64. */
#define ADD_CARRIES(out, carry)                                                                    \
    do {                                                                                           \
        uint32_t x0 = (carry)[0], x0y0 = x0 ^ (carry)[1], x1 = (carry)[2], x1y1 = x1 ^ (carry)[3]; \
        uint32_t x2 = (carry)[4], x2y2 = x2 ^ (carry)[5], x3 = (carry)[6], x3y3 = x3 ^ (carry)[7]; \
        EBNN_DOUBLE_ADD(bit3, x0, x0y0, x1, x1y1);                                                 \
        EBNN_DOUBLE_ADD(bit3, x2, x2y2, x3, x3y3);                                                 \
        EBNN_DOUBLE_ADD(bit4, x0, x0y0, x2, x2y2);                                                 \
        EBNN_PAIR_ADD(bit5, x0, x0y0);                                                             \
        (out) = x0;                                                                                \
    } while (0)

/* Add the entries up to `end`, at most a chunk, to every count. */
EBNN_NOINLINE void add_chunk(const ebnn_fc_lists_t *layer, const uint16_t *list,
                             const uint16_t *end, uint32_t *count) {
    uint32_t carries[1 + CARRIES]; /* the first is none */
    const uint32_t planes = layer->planes, group_words = 32u * layer->words + 1u;
    const uint32_t *weights = layer->weights;
    for (uint32_t i = 1u + (uint32_t)(end - list) / 8u; i < 1 + CARRIES; ++i) {
        carries[i] = 0;
    }
    for (uint32_t group = layer->groups; group != 0; --group, weights += group_words) {
        add_entries(list, end, weights, carries, count);
        uint32_t bit3 = count[3], bit4 = count[4], bit5 = count[5], bit6 = count[6];
        uint32_t first, second, carry;
        ADD_CARRIES(first, carries + 1);
        ADD_CARRIES(second, carries + 9);
        EBNN_FULL_ADD(carry, bit6, bit6, first, second);
        count[3] = bit3;
        count[4] = bit4;
        count[5] = bit5;
        count[6] = bit6;
        const uint32_t *const next = count + planes;
        for (count += 7; count != next; ++count) {
            const uint32_t bits = *count;
            *count = bits ^ carry;
            carry &= bits;
        }
    }
}

/* List the inputs whose bits in `word` are 1, the highest first, as offsets of their weights from
 * `offset_bytes` on. Returns the end. */
#if defined(__thumb2__) && EBNN_ASSEMBLY
EBNN_INLINE uint16_t *list_word(uint16_t *end, uint32_t word, uint32_t offset_bytes) {
    const uint32_t step = 4;
    /* A store that is skipped takes as long as one that is not. */
    __asm__("lsls %1, %1, #1\n\t"
            "it cs\n\t"
            "strhcs %2, [%0], #2\n\t"
            "add %2, %3\n\t"
            "it mi\n\t"
            "strhmi %2, [%0], #2\n\t"
            "add %2, %3\n\t"
            ".rept 15\n\t"
            "lsls %1, %1, #2\n\t"
            "it cs\n\t"
            "strhcs %2, [%0], #2\n\t"
            "add %2, %3\n\t"
            "it mi\n\t"
            "strhmi %2, [%0], #2\n\t"
            "add %2, %3\n\t"
            ".endr"
            : "+l"(end), "+l"(word), "+l"(offset_bytes)
            : "l"(step)
            : "cc", "memory");
    return end;
}
#else
#define LIST_BIT                                                                                   \
    do {                                                                                           \
        *end = (uint16_t)offset_bytes; /* stays if the end moves */                                \
        end += word >> 31;                                                                         \
        word <<= 1;                                                                                \
        offset_bytes += 4;                                                                         \
    } while (0)
EBNN_INLINE uint16_t *list_word(uint16_t *end, uint32_t word, uint32_t offset_bytes) {
    for (uint32_t i = 0; i < 8; ++i) {
        LIST_BIT;
        LIST_BIT;
        LIST_BIT;
        LIST_BIT;
    }
    return end;
}
#endif

/* Fill a multiple of 16 entries. */
static void fill(uint16_t *list, uint32_t entries, uint32_t entry) {
    const entries_t value = (entries_t)(entry * 0x10001u);
    entries_t *to = (entries_t *)list;
    const entries_t *const end = to + entries / TOGETHER;
    do {
        to[0] = value;
        to[1] = value;
        to[2] = value;
        to[3] = value;
        to[4] = value;
        to[5] = value;
        to[6] = value;
        to[7] = value;
        to += 8;
    } while (to != end);
}

static void move_spare(uint16_t *list, const uint16_t *from) {
    for (uint32_t i = 0; i < SPARE / TOGETHER; ++i) {
        ((entries_t *)list)[i] = ((const entries_t *)from)[i];
    }
}

/* Number of ones in a map. */
static uint32_t count_ones(const uint32_t *map, uint32_t words) {
    uint32_t count = 0;
    while (words != 0) {
        uint32_t sums = 0, at_once = words < 31u ? words : 31u; /* bytes of at most 248 */
        words -= at_once;
        do {
            sums += ebnn_byte_sums(ebnn_nibble_sums(*map++));
        } while (--at_once != 0);
        count += ebnn_sum_bytes(sums);
    }
    return count;
}

EBNN_INLINE uint32_t in_all_lanes(uint32_t value, uint32_t i) {
    return 0u - ((value >> i) & 1u);
}

/* 1 in the lanes whose 2 * count + odd is below the limit. */
EBNN_INLINE uint32_t below(const uint32_t *count, uint32_t odd, const uint32_t *limit,
                           uint32_t planes) {
    uint32_t is_below = *limit++ & ~odd;
    for (const uint32_t *const end = count + planes; count != end;) {
        const uint32_t bits = *limit++;
        is_below ^= (*count++ ^ bits) & (is_below ^ bits);
    }
    return is_below;
}

void ebnn_fc_lists(const ebnn_fc_lists_t *layer, const uint32_t *in, uint32_t *out,
                   uint32_t *scratch) {
    const uint32_t words = layer->words, groups = layer->groups, planes = layer->planes;
    const uint32_t absent = 4u * 32u * words; /* offset of the 0 */
    uint16_t *const list = (uint16_t *)scratch;
    uint32_t *counts = scratch + (CHUNK + SPARE) / 2;
    const uint32_t half = layer->inputs / 2u;

    const uint32_t positive = count_ones(in, words);
    const uint32_t is_inverted = (half - positive) >> 31; /* list those that are -1 */
    const uint32_t inverted = 0u - is_inverted;
    const uint32_t listed = positive + (inverted & (layer->inputs - 2u * positive)); /* <= half */
    /* Counts start with half of what the list is short of: twice a count and `odd`, less half the
     * inputs, are 2 a - m. */
    const uint32_t start = half - listed, odd = in_all_lanes(start, 0);
    for (uint32_t plane = 0; plane < planes; ++plane) {
        const uint32_t bits = in_all_lanes(start, plane + 1u);
        for (uint32_t i = plane; i < groups * planes; i += planes) {
            counts[i] = bits;
        }
    }

    fill(list, CHUNK + SPARE, absent);
    uint32_t left = (half + AT_ONCE - 1u) / AT_ONCE * AT_ONCE;
    uint32_t chunks = (left + CHUNK - 1u) / CHUNK; /* at least 1 */
    /* Words are listed until the chunk is full or as many turns are left as there are chunks after
     * it; in the last chunk until no turn is left. Where no word is left, one of zeros is listed.
     * So all chunks together have the same number of turns for any input, each has at least one,
     * and how many it has does not show in the time. */
    uint32_t turns = words + chunks, word = 0, filled = 0;
    do {
        do {
            const uint32_t is_left = 0u - ((word - words) >> 31); /* all ones or zeros */
            const uint32_t i = word & is_left;
            const uint32_t bits = (in[i] ^ (inverted & layer->used[i])) & is_left;
            uint16_t *const end = list_word(list + filled, bits, 4u * 32u * i);
            *end = (uint16_t)absent;
            filled = (uint32_t)(end - list);
            word -= is_left;
            --turns;
        } while ((((CHUNK - 1u - filled) & (1u - chunks)) | (turns - chunks)) >> 31 == 0);
        uint16_t *const end = list + (left < CHUNK ? left : (uint32_t)CHUNK);
        add_chunk(layer, list, end, counts);
        left -= (uint32_t)(end - list);
        filled -= CHUNK;
        filled &= (filled >> 31) - 1u; /* 0 where the chunk was not full */
        move_spare(list, end);
        fill(list + SPARE, CHUNK, absent);
    } while (--chunks != 0);

    const uint32_t *limits = layer->limits + is_inverted * groups * (planes + 1u);
    const uint32_t *const flips = layer->flips + is_inverted * groups;
    for (uint32_t group = 0; group < groups; ++group) {
        out[group] = ~below(counts, odd, limits, planes) ^ flips[group];
        counts += planes;
        limits += planes + 1u;
    }
}
