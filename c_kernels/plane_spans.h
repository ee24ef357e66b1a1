/* The planes of 32 lanes of a map, and how many ones their windows have: for plane_conv.h. */
#ifndef EBNN_PLANE_SPANS_H
#define EBNN_PLANE_SPANS_H

#include "bits.h"
#include "counters.h"
#include "ebnn_kernels.h"

/* Planes lie in runs of 32, a word 0 in front of each run and behind the last one. Of a phase of
 * the stride there are those of each kernel row's channels, filled up to whole runs. Each group of
 * channels has planes of its own, one after the other. */
static inline uint32_t *ebnn_plane(uint32_t *planes, uint32_t plane) {
    return planes + plane + plane / 32u + 1u;
}

/* Half runs of a phase that have planes. */
static inline uint32_t ebnn_phase_halves(const ebnn_conv_planes_t *layer) {
    return ((uint32_t)layer->channels * layer->window.kernel_height + 15u) / 16u;
}

/* Half runs of all phases; the last run can be a half. */
static inline uint32_t ebnn_plane_halves(const ebnn_conv_planes_t *layer) {
    const uint32_t halves = ebnn_phase_halves(layer);
    return layer->phases * (halves + (halves & 1u)) - (halves & 1u);
}

/* What the lanes of a span see, from lane column `x` on: of map row `row`, which can lie outside,
 * and those a stride further down, every stride-th pixel from `phase` - padding; of these one word
 * of `words`. `lanes`: [32], with a bit for each of its channels. */
EBNN_NOINLINE void ebnn_gather_lanes(const ebnn_conv_planes_t *layer, const uint32_t *in,
                                     int32_t row, uint32_t x, uint32_t phase, uint32_t words,
                                     uint32_t *lanes) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t step = w->stride * words;
    /* Lanes of a row at and past the map's end. */
    const uint32_t inside_end = layer->inside + (phase < layer->inside_phases ? 1u : 0u);
    /* Rows below those that any position needs can hold something else. */
    const int32_t needed =
        (int32_t)((layer->rows - 1u) * w->stride + w->kernel_height) - w->padding;
    const int32_t row_end = needed < w->in.height ? needed : w->in.height;
    for (uint32_t left = 32; left != 0; row += w->stride, x = 0) {
        uint32_t of_row = layer->pitch - x < left ? layer->pitch - x : left;
        uint32_t outside = of_row;
        left -= of_row;
        if (row >= 0 && row < row_end && x < inside_end) {
            int32_t column = (int32_t)(x * w->stride + phase) - w->padding;
            uint32_t inside = inside_end - x < of_row ? inside_end - x : of_row;
            outside = of_row - inside;
            for (; column < 0 && inside != 0; --inside) {
                *lanes++ = 0;
                column += w->stride;
            }
            uint32_t at = (uint32_t)(row * w->in.width + column) * words;
            for (; inside != 0; --inside) {
                *lanes++ = in[at];
                at += step;
            }
        }
        for (; outside != 0; --outside) {
            *lanes++ = 0;
        }
    }
}

/* The first kernel row between the first and the last one where all its lanes are in those of these
 * two; the last one where that is not so. */
static inline uint32_t ebnn_rows_between(const ebnn_conv_planes_t *layer) {
    const uint32_t last = layer->window.kernel_height - 1u;
    return layer->window.stride == 1 && last * layer->pitch <= 32 ? 1 : last;
}

/* Take over the planes of a kernel row, from `plane` on, that are `down` planes further. */
EBNN_NOINLINE void ebnn_move_row(const ebnn_conv_planes_t *layer, uint32_t *planes, uint32_t plane,
                                 uint32_t down) {
    const uint32_t end = plane + layer->channels;
    for (uint32_t group = layer->window.groups; group != 0; --group) {
        for (uint32_t at = plane; at != end; ++at) {
            *ebnn_plane(planes, at) = *ebnn_plane(planes, at + down);
        }
        planes += layer->plane_words;
    }
}

/* Gather the planes of the kernel row that is map row `row`, from `plane` on. `lanes`: [32], for
 * what is gathered. */
EBNN_INLINE void ebnn_gather_row(const ebnn_conv_planes_t *layer, const uint32_t *in, int32_t row,
                                 uint32_t x, uint32_t phase, uint32_t *planes, uint32_t plane,
                                 uint32_t *lanes) {
    const uint32_t words = (layer->window.in.channels + 31u) / 32u, channels = layer->channels;
    uint32_t channel = 0; /* of the group */
    for (uint32_t word = 0; word < words; ++word) {
        const uint32_t whole = (plane + channel) % 32u == 0 && channels - channel >= 32u;
        uint32_t *const gathered = whole ? ebnn_plane(planes, plane + channel) : lanes;
        ebnn_gather_lanes(layer, in + word, row, x, phase, words, gathered);
        ebnn_transpose(gathered, 32);
        const uint32_t others = layer->window.in.channels - 32u * word;
        uint32_t left = others < 32u ? others : 32u;
        const uint32_t *from = lanes;
        while (left != 0) {
            const uint32_t of_group = channels - channel < left ? channels - channel : left;
            left -= of_group;
            if (whole) {
                channel += of_group;
            } else {
                for (const uint32_t end = channel + of_group; channel != end; ++channel) {
                    *ebnn_plane(planes, plane + channel) = *from++;
                }
            }
            if (channel == channels) {
                channel = 0;
                planes += layer->plane_words;
            }
        }
    }
}

/* All planes of the span from lane (y, x) on. Those of kernel row `known` and the rows after it are
 * there, but as the first ones. Left out are the rows that ebnn_fill_between takes from others.
 * `lanes`: [32], for what is gathered. */
EBNN_NOINLINE void ebnn_gather_span(const ebnn_conv_planes_t *layer, const uint32_t *in, uint32_t y,
                                    uint32_t x, uint32_t known, uint32_t *planes, uint32_t *lanes) {
    const ebnn_window_t *w = &layer->window;
    for (uint32_t phase = 0; phase < layer->phases; ++phase) {
        uint32_t plane = (ebnn_phase_halves(layer) + 1u) / 2u * 32u * phase;
        for (uint32_t ky = 0; ky < w->kernel_height; ++ky, plane += layer->channels) {
            if (known + ky < w->kernel_height) {
                ebnn_move_row(layer, planes, plane, known * layer->channels);
            } else if (ky < ebnn_rows_between(layer) || ky + 1u == w->kernel_height) {
                const int32_t row = (int32_t)(y * w->stride + ky) - w->padding;
                ebnn_gather_row(layer, in, row, x, phase, planes, plane, lanes);
            }
        }
    }
}

/* The planes of the kernel rows between, from those of the first and of the last one. */
EBNN_NOINLINE void ebnn_fill_between(const ebnn_conv_planes_t *layer, uint32_t *planes) {
    const uint32_t channels = layer->channels, last = layer->window.kernel_height - 1u;
    for (uint32_t group = layer->window.groups; group != 0; --group) {
        for (uint32_t ky = ebnn_rows_between(layer); ky < last; ++ky) {
            const uint32_t down = ky * layer->pitch, up = (last - ky) * layer->pitch;
            for (uint32_t channel = 0; channel < channels; ++channel) {
                *ebnn_plane(planes, ky * channels + channel) =
                    *ebnn_plane(planes, channel) >> down |
                    *ebnn_plane(planes, last * channels + channel) << up;
            }
        }
        planes += layer->plane_words;
    }
}

/* Count the ones of `halves` half runs of planes. */
EBNN_NOINLINE void ebnn_count_ones(const uint32_t *planes, uint32_t halves, uint32_t *ones) {
    uint32_t bit0 = 0, bit1 = 0, bit2 = 0, bit3 = 0;
    for (uint32_t i = 4; i < EBNN_COUNT_PLANES; ++i) {
        ones[i] = 0;
    }
    const uint32_t *plane = planes;
    for (uint32_t half = 0; half != halves; ++half, plane += 16) {
        plane += half % 2u == 0; /* the word 0 */
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
        for (uint32_t i = 4; i < EBNN_COUNT_PLANES; ++i) {
            EBNN_ADD_HALF(ones[i], x5);
        }
    }
    ones[0] = bit0;
    ones[1] = bit1;
    ones[2] = bit2;
    ones[3] = bit3;
}

/* -ceil(|a| / 2) and the lowest bit of |a|, of a group's planes, at lanes shifts - 1 further up.
 * `ones`: scratch. */
EBNN_NOINLINE void ebnn_count_window(const ebnn_conv_planes_t *layer, const uint32_t *planes,
                                     uint32_t *start, uint32_t *ones) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t halves = ebnn_phase_halves(layer);
    for (uint32_t i = 0; i <= EBNN_COUNT_PLANES; ++i) {
        start[i] = 0;
    }
    for (uint32_t phase = 0; phase < layer->phases; ++phase) {
        ebnn_count_ones(planes + (halves + 1u) / 2u * 33u * phase, halves, ones);
        uint32_t up = layer->shifts;
        for (uint32_t kx = phase; kx < w->kernel_width; kx += w->stride) {
            uint32_t carry = 0;
            --up;
            for (uint32_t i = 0; i < EBNN_COUNT_PLANES; ++i) {
                uint32_t high = ones[i] << up;
                const uint32_t low = high ^ carry;
                EBNN_ADD(start[i], high, low);
                carry = high;
            }
        }
    }
    /* |a| at most 2^EBNN_COUNT_PLANES - 1: the carries out are 0. */
    const uint32_t lowest = start[0];
    uint32_t carry = ~lowest;
    for (uint32_t i = 0; i < EBNN_COUNT_PLANES; ++i) {
        const uint32_t inverted = i + 1 < EBNN_COUNT_PLANES ? ~start[i + 1] : ~0u;
        start[i] = inverted ^ carry;
        carry &= inverted;
    }
    start[EBNN_COUNT_PLANES] = lowest;
}

#endif
