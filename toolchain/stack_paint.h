/* How deep the stack went: RAM below SP is painted, and looked at afterwards. */
#ifndef EBNN_STACK_PAINT_H
#define EBNN_STACK_PAINT_H

#include <stdint.h>

/* Paints everything from the end of the static data to SP. */
void stack_paint(void);

/* Bytes from the top of the stack to the lowest word that is no longer paint. */
uint32_t stack_painted_over_bytes(void);

#endif
