#include "bits.h"
#include "count_planes.h"
#include "counters.h"
#include "ebnn_kernels.h"

/* Lanes are positions of the convolution, before pooling. The map's rows, `pitch` lanes apart, are
 * one long row of bits; a span is 32 of them in a row, and what is computed of it are the positions
 * of its first 33 - shifts lanes. A plane is one channel's bits in a span, `kernel_height` spans
 * (of each phase of the stride) are there at once. The tap in kernel column kx has its plane
 * kx / stride lanes further up than the sum that it belongs to: rather than the planes, the counts
 * are turned, so the taps are listed by that shift.
 *
 * A filter's sum follows from how many ones of the map, |a|, lie in its window, and how many of
 * those meet a weight +1, A = |w & a|:
 *     sum = 4 A + n - 2 |w| - 2 |a|   (n products, |w| weights +1)
 * so only planes where the weight is +1 are counted, and |a| once for all filters. Bits outside the
 * map are 0, as if -1; what they add to the sum is put right in the margin that it is compared
 * with. What is counted depends on the weights alone, and so does the time. */
enum { PLANES = EBNN_COUNT_PLANES, BLOCK_PLANES = EBNN_BLOCK_PLANES };

/* Exchange the bits of `a` under mask << j with those of `b` under mask. */
#define SWAP_BITS(a, b, j, mask)                                                                   \
    do {                                                                                           \
        const uint32_t swapped_ = (((a) >> (j)) ^ (b)) & (mask);                                   \
        (b) ^= swapped_;                                                                           \
        (a) ^= swapped_ << (j);                                                                    \
    } while (0)

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

/* Where 32 planes of a span lie: group (phase * kernel_height + ky) * channel words + word. */
static uint32_t *group_at(uint32_t *planes, uint32_t group) {
    return planes + 32u * group + group / (BLOCK_PLANES / 32u) + 1u;
}

/* What the lanes of a span see, from lane column `x` on: of map row `row`, which can lie outside,
 * and those a stride further down, every stride-th pixel from `phase` - padding; of these one word
 * of `words`. */
EBNN_NOINLINE void gather(const ebnn_conv_planes_t *layer, const uint32_t *in, int32_t row,
                          uint32_t x, uint32_t phase, uint32_t words, uint32_t *planes) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t step = w->stride * words;
    /* Lanes of a row at and past the map's end. */
    const uint32_t inside_end = layer->inside + (phase < layer->inside_phases ? 1u : 0u);
    for (uint32_t left = 32; left != 0; row += w->stride, x = 0) {
        uint32_t lanes = layer->pitch - x < left ? layer->pitch - x : left;
        uint32_t outside = lanes;
        left -= lanes;
        if (row >= 0 && row < w->in.height && x < inside_end) {
            int32_t column = (int32_t)(x * w->stride + phase) - w->padding;
            uint32_t inside = inside_end - x < lanes ? inside_end - x : lanes;
            outside = lanes - inside;
            for (; column < 0 && inside != 0; --inside) {
                *planes++ = 0;
                column += w->stride;
            }
            uint32_t at = (uint32_t)(row * w->in.width + column) * words;
            for (; inside != 0; --inside) {
                *planes++ = in[at];
                at += step;
            }
        }
        for (; outside != 0; --outside) {
            *planes++ = 0;
        }
    }
    transpose(planes - 32);
}

/* All planes of the span from lane (y, x) on. Those of kernel row `known` and the rows after it are
 * there, but as the first ones. */
static void gather_span(const ebnn_conv_planes_t *layer, const uint32_t *in, uint32_t y, uint32_t x,
                        uint32_t known, uint32_t *planes) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t words = ((uint32_t)w->in.channels + 31u) / 32u;
    uint32_t group = 0;
    for (uint32_t phase = 0; phase < layer->phases; ++phase) {
        for (uint32_t ky = 0; ky < w->kernel_height; ++ky) {
            const int32_t row = (int32_t)(y * w->stride + ky) - w->padding;
            for (uint32_t word = 0; word < words; ++word, ++group) {
                uint32_t *const to = group_at(planes, group);
                if (known + ky < w->kernel_height) {
                    const uint32_t *const from = group_at(planes, group + known * words);
                    for (uint32_t i = 0; i < 32; ++i) {
                        to[i] = from[i];
                    }
                } else {
                    gather(layer, in + word, row, x, phase, words, to);
                }
            }
        }
    }
}

/* Count the ones of `groups` groups of planes, from `group` on. */
EBNN_NOINLINE void count_ones(uint32_t *planes, uint32_t group, uint32_t groups, uint32_t *ones) {
    uint32_t bit0 = 0, bit1 = 0, bit2 = 0, bit3 = 0;
    for (uint32_t i = 4; i < PLANES; ++i) {
        ones[i] = 0;
    }
    for (; groups != 0; --groups, ++group) {
        const uint32_t *plane = group_at(planes, group);
        for (const uint32_t *const end = plane + 32; plane != end; plane += 16) {
            uint32_t x1 = plane[0], y1 = plane[1], x2 = plane[2], y2 = plane[3];
            EBNN_ADD_FOUR(bit0, x1, y1, x2, y2);
            EBNN_ADD_FIRST(bit1, x2, x1);
            uint32_t x3 = plane[4], y3 = plane[5], x4 = plane[6], y4 = plane[7];
            EBNN_ADD_FOUR(bit0, x3, y3, x4, y4);
            EBNN_ADD_SECOND(bit1, x2, x4, x3);
            EBNN_ADD_FIRST(bit2, x4, x2);
            x1 = plane[8], y1 = plane[9], x2 = plane[10], y2 = plane[11];
            EBNN_ADD_FOUR(bit0, x1, y1, x2, y2);
            EBNN_ADD_FIRST(bit1, x2, x1);
            x3 = plane[12], y3 = plane[13];
            uint32_t x5 = plane[14], y5 = plane[15];
            EBNN_ADD_FOUR(bit0, x3, y3, x5, y5);
            EBNN_ADD_SECOND(bit1, x2, x5, x3);
            EBNN_ADD_SECOND(bit2, x4, x5, x2);
            EBNN_ADD(bit3, x5, x4);
            for (uint32_t i = 4; i < PLANES; ++i) {
                EBNN_ADD_HALF(ones[i], x5);
            }
        }
    }
    ones[0] = bit0;
    ones[1] = bit1;
    ones[2] = bit2;
    ones[3] = bit3;
}

/* -ceil(|a| / 2) and the lowest bit of |a|, at lanes shifts - 1 further up. `ones`: scratch. */
EBNN_NOINLINE void count_window(const ebnn_conv_planes_t *layer, uint32_t *planes, uint32_t *start,
                                uint32_t *ones) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t groups = ((uint32_t)w->in.channels + 31u) / 32u * w->kernel_height;
    for (uint32_t i = 0; i <= PLANES; ++i) {
        start[i] = 0;
    }
    for (uint32_t phase = 0; phase < layer->phases; ++phase) {
        count_ones(planes, phase * groups, groups, ones);
        uint32_t up = layer->shifts;
        for (uint32_t kx = phase; kx < w->kernel_width; kx += w->stride) {
            uint32_t carry = 0;
            --up;
            for (uint32_t i = 0; i < PLANES; ++i) {
                uint32_t high = ones[i] << up;
                const uint32_t low = high ^ carry;
                EBNN_ADD(start[i], high, low);
                carry = high;
            }
        }
    }
    /* |a| at most 2^PLANES - 1: the carries out are 0. */
    const uint32_t lowest = start[0];
    uint32_t carry = ~lowest;
    for (uint32_t i = 0; i < PLANES; ++i) {
        const uint32_t inverted = i + 1 < PLANES ? ~start[i + 1] : ~0u;
        start[i] = inverted ^ carry;
        carry &= inverted;
    }
    start[PLANES] = lowest;
}

/* The classes of lanes that the span from (y, x) on has, at lanes shifts - 1 further up. */
EBNN_NOINLINE ebnn_lane_class_t *find_classes(const ebnn_conv_planes_t *layer, uint32_t y,
                                              uint32_t x, ebnn_lane_class_t *classes) {
    ebnn_lane_class_t *end = classes;
    for (uint32_t lane = layer->shifts - 1u; lane < 32 && y < layer->rows;) {
        /* A run of positions alike, as far as there are lanes. */
        uint32_t run = x == layer->edge ? layer->middle_columns : 1u;
        if (x > layer->edge && x < layer->edge + layer->middle_columns) {
            run = layer->edge + layer->middle_columns - x;
        }
        run = run < 32u - lane ? run : 32u - lane;
        const uint32_t margin =
            ebnn_edge_class(y, layer->edge, layer->middle_rows) * layer->column_classes +
            ebnn_edge_class(x, layer->edge, layer->middle_columns);
        ebnn_lane_class_t *found = classes;
        while (found != end && found->margin != margin) {
            ++found;
        }
        if (found == end) {
            found->margin = margin;
            found->lanes = 0;
            ++end;
        }
        found->lanes |= (~0u >> (32u - run)) << lane;
        lane += run;
        x += run;
        if (x >= layer->columns) {
            lane += layer->pitch - x;
            x = 0;
            ++y;
        }
    }
    classes[0].lanes = ~0u; /* those of no position as well */
    return end;
}

/* The filters of a group, from `list` on, into `pair`'s lanes. Returns the list's end. */
static const uint8_t *count_filters(const uint8_t *list, uint32_t filters, ebnn_pair_t *pair) {
    for (uint32_t i = filters; i < 32; ++i) {
        pair->lanes[i] = 0;
    }
    while (filters != 0) {
        const uint32_t both = filters < 2 ? 1 : 2;
        pair->filters = both;
        list = ebnn_count_pair(list, pair);
        filters -= both;
    }
    return list;
}

/* Put 32 filters at `count` positions of row `y`, from column `x` on, into the pooled map. */
EBNN_NOINLINE void pool_row(const ebnn_conv_planes_t *layer, uint32_t y, uint32_t x, uint32_t count,
                            const uint32_t *positions, uint32_t *out) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t groups = ((uint32_t)w->out.channels + 31u) / 32u;
    const uint32_t stride = w->pool_stride;
    for (uint32_t row = 0, top = 0; row < w->out.height && top <= y; ++row, top += stride) {
        if (y >= top + w->pool) {
            continue;
        }
        for (uint32_t px = 0; px < w->pool; ++px) {
            uint32_t column = 0, at = px;
            for (; at < x; at += stride) {
                ++column;
            }
            uint32_t *to = out + (row * w->out.width + column) * groups;
            for (; at < x + count && column < w->out.width; at += stride, ++column) {
                *to |= positions[at - x];
                to += groups;
            }
        }
    }
}

/* Put 32 filters at the positions of a span, from (y, x) on, into the pooled map. */
static void pool_span(const ebnn_conv_planes_t *layer, uint32_t y, uint32_t x,
                      const uint32_t *positions, uint32_t *out) {
    for (uint32_t left = 33u - layer->shifts; left != 0 && y < layer->rows; x = 0, ++y) {
        const uint32_t lanes = layer->pitch - x < left ? layer->pitch - x : left;
        pool_row(layer, y, x, lanes, positions, out);
        positions += lanes;
        left -= lanes;
    }
}

void ebnn_conv_planes(const ebnn_conv_planes_t *layer, const uint32_t *in, uint32_t *out,
                      uint32_t *scratch) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t groups = ((uint32_t)w->out.channels + 31u) / 32u;
    const uint32_t plane_groups =
        ((uint32_t)w->in.channels + 31u) / 32u * w->kernel_height * layer->phases;
    const uint32_t blocks = (plane_groups + BLOCK_PLANES / 32u - 1u) / (BLOCK_PLANES / 32u);
    const uint32_t pixels = (uint32_t)w->out.height * w->out.width;
    uint32_t *const planes = scratch;
    uint32_t *const lanes = planes + 32u * plane_groups + blocks;
    uint32_t *const start = lanes + 32;
    ebnn_lane_class_t *const classes = (ebnn_lane_class_t *)(void *)(start + PLANES + 1);
    uint32_t *const carries = (uint32_t *)(void *)(classes + layer->span_classes);
    for (uint32_t block = 0; block < blocks; ++block) {
        planes[block * EBNN_BLOCK_WORDS] = 0;
    }
    for (uint32_t i = 0; i < pixels * groups; ++i) {
        out[i] = 0;
    }
    for (uint32_t y = 0, x = 0, known = w->kernel_height; y < layer->rows;) {
        ebnn_pair_t pair;
        gather_span(layer, in, y, x, known, planes);
        count_window(layer, planes, start, lanes);
        pair.start = start;
        pair.rounding = start[PLANES];
        pair.carries = carries;
        pair.planes = planes;
        pair.lanes = lanes;
        pair.margins = layer->margins;
        pair.margin_bytes = (uint32_t)(layer->margin_count * sizeof *layer->margins);
        pair.classes = classes;
        pair.classes_end = find_classes(layer, y, x, classes);
        const uint8_t *list = layer->lists;
        for (uint32_t group = 0, left = w->out.channels; group < groups; ++group, left -= 32) {
            list = count_filters(list, left < 32 ? left : 32, &pair);
            transpose(lanes);
            pool_span(layer, y, x, lanes + layer->shifts - 1u, out + group);
        }
        const uint32_t before_y = y, before_x = x;
        for (x += 33u - layer->shifts; x >= layer->pitch; x -= layer->pitch) {
            ++y;
        }
        if (x >= layer->columns) {
            x = 0;
            ++y;
        }
        known = x == before_x ? (y - before_y) * w->stride : w->kernel_height;
    }
    for (uint32_t i = 0, group = 0; i < pixels * groups; ++i) {
        out[i] ^= layer->flips[group];
        group = group + 1u == groups ? 0 : group + 1u;
    }
}
