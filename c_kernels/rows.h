/* Rows of bits against a map: how many bits differ. */
#ifndef EBNN_ROWS_H
#define EBNN_ROWS_H

#include <stdint.h>

enum { EBNN_ROW_WORDS = 248 };

/* Add to each count up to `end`, at least one, the number of bits that differ between x and a row
 * of `words` words at w, 1 to EBNN_ROW_WORDS; the next row starts `skip` words behind the end of
 * it. */
void ebnn_add_rows(const uint32_t *x, const uint32_t *w, uint32_t words, uint32_t *counts,
                   const uint32_t *end, uint32_t skip);

#endif
