#include "sliced_weights.h"

/* Up to 8 of a pixel's channels, `count` from `first` on. */
EBNN_INLINE uint32_t channels_at(const ebnn_half_t *pixel, uint32_t first, uint32_t count) {
    const uint32_t shift = first % 16u;
    uint32_t bits = (uint32_t)pixel[first / 16u] >> shift;
    if (shift + count > 16u) {
        bits |= (uint32_t)pixel[first / 16u + 1u] << (16u - shift);
    }
    return bits & ((1u << count) - 1u);
}

EBNN_INLINE uint32_t *put_zeros(uint32_t *fields, uint32_t count) {
    for (; count != 0; --count) {
        *fields++ = 0;
        EBNN_FORGET(); /* else this becomes a call of memset */
    }
    return fields;
}

/* The fields of `count` pixels; `step` bytes from one to the next. */
EBNN_INLINE uint32_t *put_pixels(const uint8_t *pixel, uint32_t count, uint32_t step,
                                 uint32_t groups, uint32_t group_bytes, uint32_t lanes,
                                 uint32_t *fields) {
    for (; count != 0; --count, pixel += step) {
        for (uint32_t byte = 0; byte != group_bytes; ++byte) {
            const uint8_t *channels = pixel + byte;
            uint32_t bits = *channels;
            for (uint32_t up = lanes, left = groups - 1u; left != 0; --left, up += lanes) {
                channels += group_bytes;
                bits |= (uint32_t)*channels << up;
            }
            *fields++ = bits;
        }
    }
    return fields;
}

/* Gather the window at row `top`, column `left` for a set: in each of `fields` 8 inputs of each of
 * its groups, from the lane of the group's first filter up. Inputs outside the map are 0. Returns
 * where they end. */
EBNN_NOINLINE uint32_t *gather_bytes(const ebnn_conv_sliced_groups_t *layer,
                                     const ebnn_filter_set_t *set, const uint8_t *in, int32_t top,
                                     int32_t left, uint32_t *fields) {
    const ebnn_window_t *w = &layer->window;
    const uint32_t group_bytes = layer->channels / 8u;
    uint32_t above, before, rows, columns;
    ebnn_clip(top, w->kernel_height, w->in.height, &above, &rows);
    ebnn_clip(left, w->kernel_width, w->in.width, &before, &columns);
    const uint32_t row_fields = w->kernel_width * group_bytes;
    uint32_t *const end = fields + w->kernel_height * row_fields;
    fields = put_zeros(fields, above * row_fields);
    if (rows != 0 && columns != 0) {
        const int32_t row = top + (int32_t)above, column = left + (int32_t)before;
        in += (uint32_t)(row * w->in.width + column) * layer->in_bytes + set->channel / 8u;
        for (; rows != 0; --rows, in += (uint32_t)w->in.width * layer->in_bytes) {
            fields = put_zeros(fields, before * group_bytes);
            fields = put_pixels(in, columns, layer->in_bytes, set->groups, group_bytes,
                                layer->lanes, fields);
            fields = put_zeros(fields, (w->kernel_width - before - columns) * group_bytes);
        }
    }
    return put_zeros(fields, (uint32_t)(end - fields));
}

/* The same where channels of a group are no whole bytes. */
EBNN_NOINLINE uint32_t *gather_bits(const ebnn_conv_sliced_groups_t *layer,
                                    const ebnn_filter_set_t *set, const uint8_t *in, int32_t top,
                                    int32_t left, uint32_t *fields) {
    const ebnn_window_t *w = &layer->window;
    uint32_t bits = 0, filled = 0;
    for (int32_t y = top; y < top + w->kernel_height; ++y) {
        for (int32_t x = left; x < left + w->kernel_width; ++x) {
            const int is_inside = y >= 0 && x >= 0 && y < w->in.height && x < w->in.width;
            const uint32_t at = is_inside ? (uint32_t)(y * w->in.width + x) * layer->in_bytes : 0u;
            const ebnn_half_t *const pixel = (const ebnn_half_t *)(const void *)(in + at);
            for (uint32_t channel = 0, count; channel < layer->channels; channel += count) {
                const uint32_t others = layer->channels - channel;
                count = others < 8u - filled ? others : 8u - filled;
                uint32_t first = set->channel + channel, up = filled;
                for (uint32_t group = is_inside ? set->groups : 0u; group != 0; --group) {
                    bits |= channels_at(pixel, first, count) << up;
                    first += layer->channels;
                    up += layer->lanes;
                }
                filled += count;
                if (filled == 8u) {
                    *fields++ = bits;
                    bits = filled = 0;
                }
            }
        }
    }
    *fields = bits; /* where none are left, the place of a carry */
    return fields + (filled != 0);
}

/* The lanes of each group whose input i of a block is +1. */
#define INPUT_LANES(i) ((((i) < 8 ? low >> ((i) & 7) : high >> ((i) & 7)) & firsts) * group_lanes)
#define NEGATIVE(i) (ebnn_weight_at(weights, i, weight_bytes) ^ INPUT_LANES(i))

/* Count the inputs in `fields`; returns where the carries behind them end. */
EBNN_INLINE uint32_t *count_fields(const ebnn_conv_sliced_groups_t *layer,
                                   const ebnn_filter_set_t *set, const uint32_t *start,
                                   uint32_t *fields, uint32_t weight_bytes) {
    ebnn_sliced_counter_t all = {start[0], start[1], start[2], start[3]};
    ebnn_sliced_counter_t *const counts = &all;
    const uint32_t firsts = layer->firsts, group_lanes = layer->group_lanes;
    const uint8_t *weights_at = (const uint8_t *)set->weights;
    uint32_t *const end = fields + 2u * layer->blocks;
    uint32_t *to = end;
    for (; fields != end; fields += 2) {
        const void *const weights = weights_at;
        const uint32_t low = fields[0], high = fields[1];
        EBNN_COUNT_BLOCK(NEGATIVE);
        *to++ = carry;
        weights_at += EBNN_SLICED_BLOCK_WORDS * weight_bytes;
    }
    return to;
}

EBNN_NOINLINE uint32_t *count_words(const ebnn_conv_sliced_groups_t *layer,
                                    const ebnn_filter_set_t *set, const uint32_t *start,
                                    uint32_t *fields) {
    return count_fields(layer, set, start, fields, 4);
}

EBNN_NOINLINE uint32_t *count_halves(const ebnn_conv_sliced_groups_t *layer,
                                     const ebnn_filter_set_t *set, const uint32_t *start,
                                     uint32_t *fields) {
    return count_fields(layer, set, start, fields, 2);
}

EBNN_NOINLINE uint32_t *count_bytes(const ebnn_conv_sliced_groups_t *layer,
                                    const ebnn_filter_set_t *set, const uint32_t *start,
                                    uint32_t *fields) {
    return count_fields(layer, set, start, fields, 1);
}

/* The filters of a set that are reached at row `y` and column `x` of the convolution. */
EBNN_INLINE uint32_t reached_at(const ebnn_conv_sliced_groups_t *layer, uint32_t set,
                                const void *in, uint32_t y, uint32_t x, uint32_t *scratch) {
    const ebnn_window_t *w = &layer->window;
    const ebnn_filter_set_t *const filters = layer->sets + set;
    const uint32_t kind =
        ebnn_edge_class(y, layer->edge, layer->middle_rows) * layer->column_classes +
        ebnn_edge_class(x, layer->edge, layer->middle_columns);
    const uint32_t *const start =
        layer->starts + (kind * layer->set_count + set) * EBNN_SLICED_PLANES;
    const int32_t top = (int32_t)(y * w->stride) - w->padding;
    const int32_t left = (int32_t)(x * w->stride) - w->padding;
    /* Behind an odd number of fields, the last block's other one; else it is where carries go. */
    *(layer->channels % 8u == 0
          ? gather_bytes(layer, filters, (const uint8_t *)in, top, left, scratch)
          : gather_bits(layer, filters, (const uint8_t *)in, top, left, scratch)) = 0;
    uint32_t *const end = filters->weight_bytes == 4u ? count_words(layer, filters, start, scratch)
                          : filters->weight_bytes == 2u
                              ? count_halves(layer, filters, start, scratch)
                              : count_bytes(layer, filters, start, scratch);
    return ebnn_sliced_sign(scratch + 2u * layer->blocks, end, start);
}

void ebnn_conv_sliced_groups(const ebnn_conv_sliced_groups_t *layer, const void *in, void *out,
                             uint32_t *scratch) {
    const ebnn_window_t *w = &layer->window;
    const uint8_t *const flips = (const uint8_t *)layer->flips;
    uint8_t *pixel = (uint8_t *)out;
    for (uint32_t row = 0; row < w->out.height; ++row) {
        for (uint32_t column = 0; column < w->out.width; ++column, pixel += layer->out_bytes) {
            for (uint32_t at = 0; at < layer->out_bytes; ++at) {
                ebnn_set_pixel(pixel, at, 0, 1);
            }
            for (uint32_t py = 0; py < w->pool; ++py) {
                for (uint32_t px = 0; px < w->pool; ++px) {
                    uint32_t at = 0;
                    for (uint32_t set = 0; set < layer->set_count; ++set) {
                        uint32_t reached = reached_at(layer, set, in, row * w->pool_stride + py,
                                                      column * w->pool_stride + px, scratch);
                        for (uint32_t left = layer->sets[set].bytes; left != 0; --left, ++at) {
                            ebnn_set_pixel(pixel, at, pixel[at] | reached, 1);
                            reached >>= 8;
                        }
                    }
                }
            }
            for (uint32_t at = 0; at < layer->out_bytes; ++at) {
                ebnn_set_pixel(pixel, at, (uint32_t)pixel[at] ^ flips[at], 1);
            }
        }
    }
    for (; ((uintptr_t)pixel & 3u) != 0; ++pixel) {
        *pixel = 0; /* a fully connected layer reads whole words */
        EBNN_FORGET();
    }
}
