/* What a head by lookup is made of: its lookups are generated, what follows is in head_lookup.c.
 *
 * A table's entry has 10 fields of 3 bits, for 10 outputs: how many of the few inputs that it is
 * found by match the output's weights. Entries are added up in `all` and, the even fields alone,
 * with room for sums up to 63, in `even`: what `all` has more are the odd fields. Both are a part
 * of the whole. */
#ifndef EBNN_HEAD_LOOKUP_H
#define EBNN_HEAD_LOOKUP_H

#include "bits.h"

enum { EBNN_LOOKUP_OUTPUTS = 10 };

/* 5 of 10 fields. */
#define EBNN_EVERY_OTHER 0x071c71c7u

typedef struct {
    uint32_t all, odd;
} ebnn_part_t;

/* A class has the key 64 * score + 63 - class = multiplier * matches + offset: the lowest class of
 * equal scores has the largest key. |score| <= 2^23, so |key| <= 2^29 + 63. */
typedef struct {
    uint16_t outputs;      /* at most 64 */
    uint16_t parts;        /* of 63 inputs at most */
    const int32_t *scales; /* [outputs, to whole tens][2]: multiplier, offset; spare ones have keys
                              below all others */
} ebnn_lookup_t;

#define EBNN_NO_KEY INT32_MIN / 2 - 1

/* The best key of `best_key` and those of up to 10 classes from `first` on, by their parts. */
int32_t ebnn_lookup_best(const ebnn_lookup_t *layer, uint32_t first, const ebnn_part_t *parts,
                         int32_t *scores, int32_t best_key);
int ebnn_lookup_class(int32_t best_key);

/* Look up entries by `width` bits of x from bit `shift` on, each in the next table, and add them to
 * a part. A pair has at most 7 inputs, so that the sum still fits its fields. */
#if defined(__GNUC__) && defined(__thumb2__)
/* gcc would put other instructions between these loads, which then take twice as long, and compute
 * each address just before it is used, which takes a cycle more. So would loads that are not
 * aligned. */
#define EBNN_FIND1(entry0, table, x, shift0, width0)                                               \
    __asm__("ubfx %0, %2, %3, %4\n\t"                                                              \
            "ldr %0, [%1, %0, lsl #2]\n\t"                                                         \
            "add %1, %1, %5"                                                                       \
            : "=&r"(entry0), "+r"(table)                                                           \
            : "r"(x), "i"(shift0), "i"(width0), "i"(4 << (width0)))
#define EBNN_FIND2(entry0, entry1, table, x, shift0, width0, shift1, width1)                       \
    __asm__(".balign 4\n\t"                                                                        \
            "ubfx %0, %3, %4, %5\n\t"                                                              \
            "ubfx %1, %3, %6, %7\n\t"                                                              \
            "add %1, %1, %8\n\t"                                                                   \
            "ldr %0, [%2, %0, lsl #2]\n\t"                                                         \
            "ldr %1, [%2, %1, lsl #2]\n\t"                                                         \
            "add %2, %2, %9"                                                                       \
            : "=&r"(entry0), "=&r"(entry1), "+r"(table)                                            \
            : "r"(x), "i"(shift0), "i"(width0), "i"(shift1), "i"(width1), "i"(1 << (width0)),      \
              "i"(4 * ((1 << (width0)) + (1 << (width1)))))
#define EBNN_FIND3(entry0, entry1, entry2, table, x, shift0, width0, shift1, width1, shift2,       \
                   width2)                                                                         \
    __asm__(".balign 4\n\t"                                                                        \
            "ubfx %0, %4, %5, %6\n\t"                                                              \
            "ubfx %1, %4, %7, %8\n\t"                                                              \
            "ubfx %2, %4, %9, %10\n\t"                                                             \
            "add %1, %1, %11\n\t"                                                                  \
            "add %2, %2, %12\n\t"                                                                  \
            "ldr %0, [%3, %0, lsl #2]\n\t"                                                         \
            "ldr %1, [%3, %1, lsl #2]\n\t"                                                         \
            "ldr %2, [%3, %2, lsl #2]\n\t"                                                         \
            "add %3, %3, %13"                                                                      \
            : "=&r"(entry0), "=&r"(entry1), "=&r"(entry2), "+r"(table)                             \
            : "r"(x), "i"(shift0), "i"(width0), "i"(shift1), "i"(width1), "i"(shift2),             \
              "i"(width2), "i"(1 << (width0)), "i"((1 << (width0)) + (1 << (width1))),             \
              "i"(4 * ((1 << (width0)) + (1 << (width1)) + (1 << (width2)))))

#define EBNN_ADD_ENTRY(part, entry)                                                                \
    do {                                                                                           \
        (part).all += (entry);                                                                     \
        (part).odd += ((entry) >> 3) & EBNN_EVERY_OTHER;                                           \
    } while (0)
#define EBNN_LOOK_UP1(part, table, x, shift0, width0)                                              \
    do {                                                                                           \
        uint32_t entry0_;                                                                          \
        EBNN_FIND1(entry0_, table, x, shift0, width0);                                             \
        EBNN_ADD_ENTRY(part, entry0_);                                                             \
    } while (0)
#define EBNN_LOOK_UP2(part, table, x, shift0, width0, shift1, width1)                              \
    do {                                                                                           \
        uint32_t entry0_, entry1_;                                                                 \
        EBNN_FIND2(entry0_, entry1_, table, x, shift0, width0, shift1, width1);                    \
        EBNN_ADD_ENTRY(part, entry0_);                                                             \
        EBNN_ADD_ENTRY(part, entry1_);                                                             \
    } while (0)
#define EBNN_LOOK_UP3(part, table, x, shift0, width0, shift1, width1, shift2, width2)              \
    do {                                                                                           \
        uint32_t entry0_, entry1_, entry2_;                                                        \
        EBNN_FIND3(entry0_, entry1_, entry2_, table, x, shift0, width0, shift1, width1, shift2,    \
                   width2);                                                                        \
        EBNN_ADD_ENTRY(part, entry0_);                                                             \
        EBNN_ADD_ENTRY(part, entry1_);                                                             \
        EBNN_ADD_ENTRY(part, entry2_);                                                             \
    } while (0)
#define EBNN_LOOK_UP_PAIR(part, table, x, shift0, width0, shift1, width1)                          \
    do {                                                                                           \
        uint32_t entry0_, entry1_;                                                                 \
        EBNN_FIND2(entry0_, entry1_, table, x, shift0, width0, shift1, width1);                    \
        entry0_ += entry1_;                                                                        \
        EBNN_ADD_ENTRY(part, entry0_);                                                             \
    } while (0)
#else
#if defined(__GNUC__) && defined(__thumb__)
#define LOOK_UP_T1                                                                                 \
    ".syntax unified\n\t"                                                                          \
    ".if %c6 < 2\n\tlsls %0, %4, #(2 - %c6)\n\t.else\n\tlsrs %0, %4, #(%c6 - 2)\n\t.endif\n\t"     \
    "ands %0, %0, %5\n\t"                                                                          \
    "ldr %0, [%1, %0]\n\t"                                                                         \
    ".if %c7 > 255\n\tadds %1, %1, #128\n\tadds %1, %1, #(%c7 - 128)\n\t.else\n\tadds %1, %1, "    \
    "%7\n\t.endif\n\t"
#define EBNN_LOOK_UP1(part, table, x, shift0, width0)                                              \
    do {                                                                                           \
        uint32_t entry_;                                                                           \
        __asm__(LOOK_UP_T1 "adds %2, %2, %0\n\t"                                                   \
                           "lsrs %0, %0, #3\n\t"                                                   \
                           "ands %0, %0, %8\n\t"                                                   \
                           "adds %3, %3, %0"                                                       \
                : "=&l"(entry_), "+l"(table), "+l"((part).all), "+l"((part).odd)                   \
                : "l"(x), "l"((4u << (width0)) - 4u), "i"(shift0), "i"(4 << (width0)),             \
                  "l"(EBNN_EVERY_OTHER)                                                            \
                : "cc");                                                                           \
    } while (0)
#define EBNN_LOOK_UP_PAIR(part, table, x, shift0, width0, shift1, width1)                          \
    EBNN_LOOK_UP2(part, table, x, shift0, width0, shift1, width1)
#else
/* gcc would look up many entries before it adds them up, and move copies of the table's address
 * along, which takes more registers than a Cortex-M0 has. */
#if defined(__GNUC__)
#define EBNN_FIRST(value) __asm__ volatile("" : "+l"(value))
#else
#define EBNN_FIRST(value) ((void)0)
#endif

EBNN_INLINE uint32_t ebnn_find(const uint32_t **table, uint32_t x, uint32_t shift, uint32_t width) {
    const uint32_t mask = ((1u << width) - 1u) * 4u;
    const uint32_t offset_bytes = (shift < 2u ? x << (2u - shift) : x >> (shift - 2u)) & mask;
    uint32_t entry = *(const uint32_t *)(const void *)((const char *)*table + offset_bytes);
    EBNN_FIRST(entry);
    *table += 1u << width;
    return entry;
}

#define EBNN_ADD_ENTRY(part, entry)                                                                \
    do {                                                                                           \
        const uint32_t entry_ = (entry);                                                           \
        (part).all += entry_;                                                                      \
        (part).odd += (entry_ >> 3) & EBNN_EVERY_OTHER;                                            \
        EBNN_FIRST((part).odd);                                                                    \
    } while (0)
#define EBNN_LOOK_UP1(part, table, x, shift0, width0)                                              \
    EBNN_ADD_ENTRY(part, ebnn_find(&(table), x, shift0, width0))
#define EBNN_LOOK_UP_PAIR(part, table, x, shift0, width0, shift1, width1)                          \
    do {                                                                                           \
        const uint32_t entry0_ = ebnn_find(&(table), x, shift0, width0);                           \
        EBNN_ADD_ENTRY(part, entry0_ + ebnn_find(&(table), x, shift1, width1));                    \
    } while (0)
#endif
#define EBNN_LOOK_UP2(part, table, x, shift0, width0, shift1, width1)                              \
    do {                                                                                           \
        EBNN_LOOK_UP1(part, table, x, shift0, width0);                                             \
        EBNN_LOOK_UP1(part, table, x, shift1, width1);                                             \
    } while (0)
#define EBNN_LOOK_UP3(part, table, x, shift0, width0, shift1, width1, shift2, width2)              \
    do {                                                                                           \
        EBNN_LOOK_UP1(part, table, x, shift0, width0);                                             \
        EBNN_LOOK_UP1(part, table, x, shift1, width1);                                             \
        EBNN_LOOK_UP1(part, table, x, shift2, width2);                                             \
    } while (0)
#endif

#endif
