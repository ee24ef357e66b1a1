#include "bits.h"
#include "ebnn_kernels.h"

/* Exchange the bits of `a` under mask << j with those of `b` under mask. */
#define SWAP_BITS(a, b, j, mask)                                                                   \
    do {                                                                                           \
        const uint32_t swapped_ = (((a) >> (j)) ^ (b)) & (mask);                                   \
        (b) ^= swapped_;                                                                           \
        (a) ^= swapped_ << (j);                                                                    \
    } while (0)

/* Runs of 16 bits, then of 8, of 32 words, 8 of which lie before `end`. */
EBNN_NOINLINE void swap_halves_and_bytes(uint32_t *words, const uint32_t *end) {
    for (; words != end; ++words) {
        uint32_t a = words[0], b = words[8], c = words[16], d = words[24];
        SWAP_BITS(a, c, 16, 0x0000ffffu);
        SWAP_BITS(b, d, 16, 0x0000ffffu);
        SWAP_BITS(a, b, 8, 0x00ff00ffu);
        SWAP_BITS(c, d, 8, 0x00ff00ffu);
        words[0] = a;
        words[8] = b;
        words[16] = c;
        words[24] = d;
    }
}

/* Runs of 8 bits of 16 words, 8 of which lie before `end`. */
EBNN_NOINLINE void swap_bytes(uint32_t *words, const uint32_t *end) {
    for (; words != end; ++words) {
        SWAP_BITS(words[0], words[8], 8, 0x00ff00ffu);
    }
}

/* Runs of 4 bits, 2 and 1, of each 8 words. */
EBNN_NOINLINE void swap_within_bytes(uint32_t *words, const uint32_t *end) {
    for (; words != end; words += 8) {
        uint32_t a = words[0], b = words[1], c = words[2], d = words[3];
        uint32_t e = words[4], f = words[5], g = words[6], h = words[7];
        SWAP_BITS(a, e, 4, 0x0f0f0f0fu);
        SWAP_BITS(b, f, 4, 0x0f0f0f0fu);
        SWAP_BITS(c, g, 4, 0x0f0f0f0fu);
        SWAP_BITS(d, h, 4, 0x0f0f0f0fu);
        SWAP_BITS(a, c, 2, 0x33333333u);
        SWAP_BITS(b, d, 2, 0x33333333u);
        SWAP_BITS(a, b, 1, 0x55555555u);
        SWAP_BITS(c, d, 1, 0x55555555u);
        words[0] = a;
        words[1] = b;
        words[2] = c;
        words[3] = d;
        SWAP_BITS(e, g, 2, 0x33333333u);
        SWAP_BITS(f, h, 2, 0x33333333u);
        SWAP_BITS(e, f, 1, 0x55555555u);
        SWAP_BITS(g, h, 1, 0x55555555u);
        words[4] = e;
        words[5] = f;
        words[6] = g;
        words[7] = h;
    }
}

void ebnn_transpose(uint32_t *words, uint32_t count) {
    if (count == 32u) {
        swap_halves_and_bytes(words, words + 8);
    } else if (count == 16u) {
        swap_bytes(words, words + 8);
    }
    swap_within_bytes(words, words + count);
}
