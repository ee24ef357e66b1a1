/* What a head by lookup is made of: its lookups are generated code, the rest is head_lookup.c.
 *
 * A table's entry has a field of 3 bits for each of 10 outputs: how many of the few inputs that
 * lead to it match the output's weights. Entries are added up in `all`; in `odd` are the odd fields
 * alone, which then have 6 bits each, and the even ones are what `all` has more. */
#ifndef EBNN_HEAD_LOOKUP_H
#define EBNN_HEAD_LOOKUP_H

#include "bits.h"

enum { EBNN_LOOKUP_OUTPUTS = 10, EBNN_LOOKUP_CLASSES = 64 };

/* Sums of entries for 63 inputs at most. */
typedef struct {
    uint32_t all, odd;
} ebnn_part_t;

/* The key of a class is 64 * score + 63 - class = multiplier * matches + offset: of equal scores
 * the lowest class has the largest key. |score| <= 2^23, so |key| <= 2^29 + 63. */
typedef struct {
    uint16_t outputs; /* at most EBNN_LOOKUP_CLASSES */
    uint16_t parts;
    const int32_t *scales; /* [outputs, to whole tens][2]: multiplier and offset; spare outputs have
                              EBNN_NO_KEY */
} ebnn_lookup_t;

#define EBNN_NO_KEY (-(1 << 30)) /* below all others; no difference of two keys overflows */

/* The largest of `best_key` and the keys of 10 outputs from `first` on. `scores` may be null. */
int32_t ebnn_lookup_best(const ebnn_lookup_t *layer, uint32_t first, const ebnn_part_t *parts,
                         int32_t *scores, int32_t best_key);
int ebnn_lookup_class(int32_t best_key);

#define EBNN_EVEN_FIELDS 0x071c71c7u
#define EBNN_ADD_ENTRY(part, entry)                                                                \
    do {                                                                                           \
        (part).all += (entry);                                                                     \
        (part).odd += ((entry) >> 3) & EBNN_EVEN_FIELDS;                                           \
    } while (0)

/* Add `count` entries, 1 to 3, to a part: the first `width` bits of x from `shift` on lead to one
 * of 2^width in the next table, those that follow to one in the table after it, and so on. */
#if defined(__thumb2__) && EBNN_ASSEMBLY
/* gcc takes a fifth more: it puts other instructions between the loads, which then take twice as
 * long on a Cortex-M3 or M4, as does one that is not aligned behind another. */
#define EBNN_LOOK_UP(part, table, x, shift, width, count)                                          \
    do {                                                                                           \
        uint32_t entry0_, entry1_, entry2_;                                                        \
        __asm__(".balign 4\n\t"                                                                    \
                "ubfx %0, %4, %5, %6\n\t"                                                          \
                ".if %c7 > 1\n\t"                                                                  \
                "ubfx %1, %4, %c5 + %c6, %6\n\t"                                                   \
                "add %1, %1, 1 << %c6\n\t"                                                         \
                ".endif\n\t"                                                                       \
                ".if %c7 > 2\n\t"                                                                  \
                "ubfx %2, %4, %c5 + 2 * %c6, %6\n\t"                                               \
                "add %2, %2, 2 << %c6\n\t"                                                         \
                ".endif\n\t"                                                                       \
                "ldr %0, [%3, %0, lsl #2]\n\t"                                                     \
                ".if %c7 > 1\n\t"                                                                  \
                "ldr %1, [%3, %1, lsl #2]\n\t"                                                     \
                ".endif\n\t"                                                                       \
                ".if %c7 > 2\n\t"                                                                  \
                "ldr %2, [%3, %2, lsl #2]\n\t"                                                     \
                ".endif\n\t"                                                                       \
                "add %3, %3, (4 * %c7) << %c6"                                                     \
                : "=&r"(entry0_), "=&r"(entry1_), "=&r"(entry2_), "+r"(table)                      \
                : "r"(x), "i"(shift), "i"(width), "i"(count));                                     \
        EBNN_ADD_ENTRY(part, entry0_);                                                             \
        if ((count) > 1) {                                                                         \
            EBNN_ADD_ENTRY(part, entry1_);                                                         \
        }                                                                                          \
        if ((count) > 2) {                                                                         \
            EBNN_ADD_ENTRY(part, entry2_);                                                         \
        }                                                                                          \
    } while (0)
#elif defined(__thumb__) && EBNN_ASSEMBLY
/* gcc takes a third more: it looks up many entries before it adds them up, and moves copies of the
 * table's address along, for which a Cortex-M0 has too few registers. */
#define EBNN_LOOK_UP1(part, table, x, shift, width)                                                \
    do {                                                                                           \
        uint32_t entry_;                                                                           \
        __asm__(".syntax unified\n\t"                                                              \
                ".if %c6 < 2\n\t"                                                                  \
                "lsls %0, %4, 2 - %c6\n\t"                                                         \
                ".else\n\t"                                                                        \
                "lsrs %0, %4, %c6 - 2\n\t"                                                         \
                ".endif\n\t"                                                                       \
                "ands %0, %0, %5\n\t"                                                              \
                "ldr %0, [%1, %0]\n\t"                                                             \
                ".if %c7 > 5\n\t" /* more than an immediate holds */                               \
                "adds %1, %1, 2 << %c7\n\t"                                                        \
                "adds %1, %1, 2 << %c7\n\t"                                                        \
                ".else\n\t"                                                                        \
                "adds %1, %1, 4 << %c7\n\t"                                                        \
                ".endif\n\t"                                                                       \
                "adds %2, %2, %0\n\t"                                                              \
                "lsrs %0, %0, #3\n\t"                                                              \
                "ands %0, %0, %8\n\t"                                                              \
                "adds %3, %3, %0"                                                                  \
                : "=&l"(entry_), "+l"(table), "+l"((part).all), "+l"((part).odd)                   \
                : "l"(x), "l"((4u << (width)) - 4u), "i"(shift), "i"(width), "l"(EBNN_EVEN_FIELDS) \
                : "cc");                                                                           \
    } while (0)
#define EBNN_LOOK_UP(part, table, x, shift, width, count)                                          \
    do {                                                                                           \
        EBNN_LOOK_UP1(part, table, x, shift, width);                                               \
        if ((count) > 1) {                                                                         \
            EBNN_LOOK_UP1(part, table, x, (shift) + (width), width);                               \
        }                                                                                          \
        if ((count) > 2) {                                                                         \
            EBNN_LOOK_UP1(part, table, x, (shift) + 2 * (width), width);                           \
        }                                                                                          \
    } while (0)
#else
#define EBNN_LOOK_UP(part, table, x, shift, width, count)                                          \
    do {                                                                                           \
        for (uint32_t i_ = 0, bits_ = (x) >> (shift); i_ < (count); ++i_, bits_ >>= (width)) {     \
            const uint32_t entry_ = (table)[bits_ & ((1u << (width)) - 1u)];                       \
            EBNN_ADD_ENTRY(part, entry_);                                                          \
            (table) += 1u << (width);                                                              \
        }                                                                                          \
    } while (0)
#endif

#endif
