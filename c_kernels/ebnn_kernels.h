/* Kernels of binarized networks, portable C99. No dependency, no malloc, no global state.
 *
 * Bits: 1 stands for +1 and 0 for -1. A map of bits is kept in one of three layouts:
 *   words  [height][width][ceil(channels / 32)] uint32_t; bit b of word w is channel 32 w + b;
 *          bits past the last channel are 0
 *   halves the same with ceil(channels / 16) uint16_t, for conv_sliced_narrow.c
 *   dense  bit i of the map, counted over [channel][row][column], is bit i % 8 of byte i / 8
 *          (on the little-endian Cortex-M also bit i % 32 of 32-bit word i / 32)
 * Integer maps (the network's input) are [channel][row][column].
 *
 * A block is Conv -> MaxPool -> BatchNorm -> sign, or Linear -> BatchNorm -> sign; the last one is
 * Linear -> BatchNorm -> argmax. Positions outside a map contribute nothing to a sum.
 */
#ifndef EBNN_KERNELS_H
#define EBNN_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    EBNN_U8,    /* uint8_t  [channel][row][column], 0..255 */
    EBNN_I16,   /* int16_t  [channel][row][column], -2047..2047 */
    EBNN_DENSE, /* bits, dense */
    EBNN_WORDS, /* bits, words */
    EBNN_HALVES /* bits, half-words */
} ebnn_layout_t;

typedef struct {
    uint16_t channels;
    uint16_t height;
    uint16_t width;
} ebnn_shape_t;

/* A convolution with pooling: the shapes before and after it, and its window. Its channels are cut
 * into `groups` runs, and so are its filters: a run of these reads the run of the same number. */
typedef struct {
    ebnn_shape_t in;
    ebnn_shape_t out; /* after pooling */
    uint8_t kernel_height;
    uint8_t kernel_width;
    uint8_t stride;
    uint8_t padding;
    uint8_t pool; /* 1: none */
    uint8_t pool_stride;
    uint16_t groups; /* 1: none */
} ebnn_window_t;

/* ---- fast: integers only ------------------------------------------------------------------ */

/* Binary convolution of bits. A filter's window is `window_words` words: for EBNN_WORDS
 * [row][column][channel word], for EBNN_DENSE the bits [channel][row][column] in a row. */
typedef struct {
    ebnn_window_t window;
    ebnn_layout_t layout;      /* of the input: EBNN_WORDS or EBNN_DENSE */
    uint16_t window_words;     /* of the channels of a group, from bit 0 on */
    const uint32_t *weights;   /* [out.channels][window_words] */
    const int32_t *thresholds; /* [out.channels]: the sum that turns the sign */
    const uint32_t *flips;     /* [ceil(out.channels / 32)]: 1 where the sign falls */
} ebnn_conv_bits_t;

/* `scratch`: 2 * window_words words. `out` is in words. */
void ebnn_conv_bits(const ebnn_conv_bits_t *layer, const void *in, uint32_t *out,
                    uint32_t *scratch);

/* Binary convolution of bits, 32 filters at a time: the products of one input with 32 filters are
 * one word, counted in bit-sliced counters. Takes the same time whatever the input. */
enum {
    EBNN_SLICED_PLANES = 12,      /* of a count, with its sign: up to 2046 products of a window */
    EBNN_SLICED_BLOCK_WORDS = 16, /* weights of 16 inputs, for ebnn_conv_sliced */
    EBNN_TABLES_BLOCK_WORDS = 81  /* likewise with tables, for ebnn_conv_tables */
};

typedef struct {
    ebnn_window_t window;
    uint16_t in_bytes;       /* of a pixel */
    uint16_t out_bytes;      /* likewise */
    uint8_t blocks;          /* of 16 channels, the last one filled up: ceil(in.channels / 16) */
    uint16_t pixel_weights;  /* of a position of the window, in a group: those of its blocks */
    uint8_t edge;            /* rows and columns before those that see the map alike */
    uint16_t middle_rows;    /* that see the map alike */
    uint16_t middle_columns; /* likewise */
    uint8_t column_classes;  /* of columns that see the map alike */
    const uint32_t *weights; /* [groups of 32 filters][row][column][blocks][words of a block]: bit k
                                of a word is filter k's */
    const uint32_t *starts;  /* [classes of rows][of columns][groups][EBNN_SLICED_PLANES]; where
                                there is no filter 0, which is never reached */
    const uint32_t *flips;   /* [groups]: as above */
} ebnn_conv_sliced_t;

/* `carries`: scratch of a word for each block of each position of the window, to whole fours. */
void ebnn_conv_sliced(const ebnn_conv_sliced_t *layer, const uint32_t *in, uint32_t *out,
                      uint32_t *carries);
/* The same with tables of what three inputs add up to: fewer cycles, five times the flash. */
void ebnn_conv_tables(const ebnn_conv_sliced_t *layer, const uint32_t *in, uint32_t *out,
                      uint32_t *carries);

/* The same with as few bytes as do: the input's pixels have words or half-words, the output's any
 * number of bytes, and the last group's weights 2 bytes each where it has at most 16 filters, 1
 * where it has at most 8. */
typedef struct {
    ebnn_conv_sliced_t sliced;
    uint8_t word_groups;       /* that have words, in `sliced.weights` */
    uint8_t last_weight_bytes; /* of the group behind these */
    const void *last_weights;  /* [row][column][blocks][weights of a block] */
} ebnn_conv_sliced_narrow_t;

/* `out` is filled up to whole words with 0. */
void ebnn_conv_sliced_narrow(const ebnn_conv_sliced_narrow_t *layer, const void *in, void *out,
                             uint32_t *carries);

/* Binary convolution of bits in groups of channels: the filters of several groups side by side, up
 * to 32 that are a set. Of a window 16 inputs of each of these groups are a block; those outside
 * the map are counted as -1. Takes the same time whatever the input. */
typedef struct {
    uint16_t channel;     /* the first one of its first group */
    uint8_t groups;       /* side by side */
    uint8_t bytes;        /* of an output pixel: a bit for each filter */
    uint8_t weight_bytes; /* 4, or 2 or 1 of at most 16 or 8 filters */
    const void *weights; /* [row][column][channel of the group], filled up to whole blocks: bit k of
                            one is filter k's */
} ebnn_filter_set_t;

typedef struct {
    ebnn_window_t window;
    uint16_t in_bytes;  /* of a pixel, of words or half-words */
    uint16_t out_bytes; /* of a pixel */
    uint16_t channels;  /* of a group */
    uint16_t blocks;    /* of a window */
    uint8_t lanes;      /* from one group's first filter to the next one's: 8 to 32 */
    uint8_t set_count;  /* of `sets` */
    uint8_t edge;       /* and these four as above */
    uint16_t middle_rows;
    uint16_t middle_columns;
    uint8_t column_classes;
    uint32_t firsts;      /* the lanes of the groups' first filters */
    uint32_t group_lanes; /* the lanes of the first group */
    const ebnn_filter_set_t *sets;
    const uint32_t *starts; /* [classes of rows][of columns][sets][EBNN_SLICED_PLANES] */
    const uint32_t *flips;  /* as above */
} ebnn_conv_sliced_groups_t;

/* `scratch`: 2 words for each block, then one, to whole fours. `out` is filled up to whole words
 * with 0. */
void ebnn_conv_sliced_groups(const ebnn_conv_sliced_groups_t *layer, const void *in, void *out,
                             uint32_t *scratch);

/* Binary convolution of bits, 32 positions at a time. Filters come in pairs: taps that both have as
 * +1 are counted once, then those of each alone. Takes the same time whatever the input. */
enum {
    EBNN_COUNT_PLANES = 11, /* bits of a count: up to 2044 products of a window */
    EBNN_BLOCK_PLANES = 224 /* that one byte can point at */
};

typedef struct {
    ebnn_window_t window;    /* the input is in words */
    uint16_t channels;       /* of a group */
    uint16_t filters;        /* likewise */
    uint16_t plane_words;    /* likewise: 33 for 32 planes, 17 where the last ones are 16, and 1 */
    uint16_t rows, columns;  /* positions before pooling that the pooled ones need */
    uint16_t pitch;          /* lanes from one row to the next */
    uint8_t shifts;          /* lanes of a window: ceil(kernel_width / stride) */
    uint8_t phases;          /* min(stride, kernel_width) */
    uint16_t inside;         /* lanes of a row up to the map's end, */
    uint8_t inside_phases;   /* and one more for so many phases */
    uint8_t edge;            /* rows and columns before those that see the map alike */
    uint16_t middle_rows;    /* that see the map alike */
    uint16_t middle_columns; /* likewise */
    uint8_t column_classes;  /* of columns that see the map alike: edge + 1 + what follows */
    uint8_t margin_count;    /* of a filter: classes of rows * column_classes */
    uint8_t span_classes;    /* at most, of the positions of 32 lanes */
    /* For each pair of 32 filters, or of those before a group or a word of filters ends, the lists
     * of count_planes.h: taps of both from the highest shift down, taps of each alone from the
     * lowest up, and its number among them (0x80: its -1 weights are listed, so below its threshold
     * is above). A tap is the place of its plane: [phase][row][channel], each phase filled up to
     * 32, in groups of 32 behind a word 0, 224 a block. Of ebnn_conv_packed there are the numbers
     * alone, among 16. */
    const uint8_t *lists;
    const uint32_t *weights; /* of ebnn_conv_packed: walk_planes.h; else null */
    const int16_t *margins;  /* [filters as listed][margin_count] */
    const uint32_t *flips;   /* as above */
} ebnn_conv_planes_t;

/* `scratch`, in words: plane_words for each group, 12, 2 * span_classes, 32, and one for each 16
 * taps of a filter, begun ones of each part included,
 * + 3. */
void ebnn_conv_planes(const ebnn_conv_planes_t *layer, const uint32_t *in, uint32_t *out,
                      uint32_t *scratch);
/* The same with weights of a bit each. `scratch`: 16 words fewer, and one for each 4 quads that are
 * counted of a filter, of both and of it alone, begun ones included. */
void ebnn_conv_packed(const ebnn_conv_planes_t *layer, const uint32_t *in, uint32_t *out,
                      uint32_t *scratch);

/* Bit i of word k becomes bit k of word i: of `count` words, 8, 16 or 32, whose bits are taken in
 * so many runs of `count`. */
void ebnn_transpose(uint32_t *words, uint32_t count);

/* Binary convolution of integers. The taps that a filter reads are cut into `chunks` runs of
 * `chunk_taps`, the last one shorter; each run's 2^n signed sums are tabulated once and shared by
 * all filters, for 2 * lanes positions of the pool window at once: a table entry has two words,
 * and with `lanes` == 2 a word carries the sums of two positions, 16 bits each. */
typedef struct {
    ebnn_window_t window;
    ebnn_layout_t layout; /* of the input: EBNN_U8 or EBNN_I16 */
    uint8_t lanes;        /* 2 where every |sum - threshold| < 32768, else 1 */
    uint8_t chunk_taps;   /* 1..4 */
    uint16_t chunks;
    uint16_t table_words;     /* 2 * the sum over all groups' chunks of 2^taps */
    const uint16_t *patterns; /* [out.channels][chunks]: where in the table its signed sum is */
    const uint32_t *offsets;  /* [out.channels]: brings "sum >= threshold" to a lane's top bit */
    const uint32_t *flips;    /* as above */
} ebnn_conv_int_t;

/* `scratch`: 2 * taps + table_words words, taps = kernel_height * kernel_width * in.channels. */
void ebnn_conv_int(const ebnn_conv_int_t *layer, const void *in, uint32_t *out, uint32_t *scratch);

/* A fully connected layer on bits (EBNN_WORDS or EBNN_DENSE, padded with zeros to whole words and
 * aligned to 4 bytes) or integers. */
typedef struct {
    uint32_t inputs;
    uint16_t outputs;
    uint16_t words; /* a row of weights */
    ebnn_layout_t layout;
    const uint32_t *weights; /* [outputs][words], in the order of the input's bits or values */
} ebnn_linear_t;

typedef struct {
    ebnn_linear_t linear;
    const int32_t *thresholds; /* [outputs] */
    const uint32_t *flips;     /* [ceil(outputs / 32)] */
} ebnn_fc_t;

/* A fully connected layer on bits, 32 outputs at a time. Listed are the inputs that are +1 or those
 * that are -1, whichever are fewer, a chunk at a time; of each output's weights at these the +1 are
 * counted in a bit-sliced counter. Takes the same time whatever the input. */
enum { EBNN_LIST_CHUNK = 128, EBNN_LIST_SPARE = 32 }; /* entries of a list, 2 bytes each */

typedef struct {
    uint16_t inputs;
    uint16_t words;          /* of the input, at most 511 */
    uint16_t groups;         /* of 32 outputs */
    uint8_t planes;          /* of a count: enough for inputs / 2, at least 8 */
    const uint32_t *used;    /* [words]: 1 where an input's bit is */
    const uint32_t *weights; /* [groups][32 * words + 1]: bit k of a word is output k's weight; of
                                an input's word the highest bit comes first; the last one is 0 */
    const uint32_t *limits;  /* [2][groups][planes + 1]: what twice the count, less the listed, plus
                                inputs / 2 must reach, bit-sliced; where the inputs that are +1 are
                                listed, then where those that are -1 are */
    const uint32_t *flips;   /* [2][groups]: 1 where the sign falls */
} ebnn_fc_lists_t;

/* `scratch`, in words: (EBNN_LIST_CHUNK + EBNN_LIST_SPARE) / 2 + groups * planes. */
void ebnn_fc_lists(const ebnn_fc_lists_t *layer, const uint32_t *in, uint32_t *out,
                   uint32_t *scratch);

/* score = multiplier * sum + offset, |score| <= 2^23. */
typedef struct {
    ebnn_linear_t linear;
    const int32_t *multipliers; /* [outputs] */
    const int32_t *offsets;     /* [outputs] */
} ebnn_head_t;

enum { EBNN_SUMS_AT_ONCE = 32 };

/* Sums of input * weight of `count` outputs from `output` on, at most EBNN_SUMS_AT_ONCE. */
void ebnn_linear_sums(const ebnn_linear_t *layer, const void *in, uint32_t output, uint32_t count,
                      int32_t *sums);
void ebnn_fc(const ebnn_fc_t *layer, const void *in, uint32_t *out);
/* Returns the class with the highest score, the lowest of equals; `scores` may be null. */
int ebnn_head(const ebnn_head_t *layer, const void *in, int32_t *scores);

/* out[i] = in[i] * scale rounded to the nearest integer (ties to even), within -2047..2047.
 * `scale` is a power of two. */
void ebnn_quantize(const float *in, int16_t *out, uint32_t count, float scale);

/* ---- reference: the paper's fused blocks, one float temporary ------------------------------- */

/* BatchNorm: y = (x - mean) * scale + beta, each operation rounded once. */
typedef struct {
    const float *mean;
    const float *scale;
    const float *beta;
} ebnn_norm_t;

typedef struct {
    ebnn_window_t window;
    ebnn_layout_t layout;   /* of the input: EBNN_U8, EBNN_I16 or EBNN_DENSE */
    const uint8_t *weights; /* dense bits [out.channels][channels of a group][row][column] */
    ebnn_norm_t norm;
} ebnn_reference_conv_t;

typedef struct {
    uint32_t inputs;
    uint16_t outputs;
    ebnn_layout_t layout;
    const uint8_t *weights; /* dense bits [outputs][inputs] */
    ebnn_norm_t norm;       /* of the head: mean null, y = x * scale + beta */
} ebnn_reference_fc_t;

void ebnn_reference_conv(const ebnn_reference_conv_t *layer, const void *in, uint8_t *out);
void ebnn_reference_fc(const ebnn_reference_fc_t *layer, const void *in, uint8_t *out);
int ebnn_reference_head(const ebnn_reference_fc_t *layer, const void *in, int32_t *scores);

/* ---- unfused: every layer's result as floats, to be measured against ------------------------ */

void ebnn_unfused_input(const void *in, ebnn_layout_t layout, uint32_t count, float *out);
/* `out`: [out.channels][rows][columns] before pooling. */
void ebnn_unfused_conv(const ebnn_reference_conv_t *layer, const float *in, float *out);
void ebnn_unfused_pool(const ebnn_reference_conv_t *layer, const float *in, float *out);
void ebnn_unfused_linear(const ebnn_reference_fc_t *layer, const float *in, float *out);
void ebnn_unfused_norm(const ebnn_norm_t *norm, uint32_t channels, uint32_t positions,
                       const float *in, float *out);
void ebnn_unfused_sign(uint32_t count, const float *in, float *out);
int ebnn_unfused_argmax(uint32_t classes, const float *scores, int32_t *out);

#ifdef __cplusplus
}
#endif

#endif
