/* Where the board harness's lines go: one of output_semihosting.c, output_rtt.c, output_uart.c. */
#ifndef EBNN_HARNESS_OUTPUT_H
#define EBNN_HARNESS_OUTPUT_H

#include <stdint.h>

void output_open(void);

/* Writes a line that ends in '\n' and a terminating zero. Waits for room. */
void output_line(const char *line);

/* After the last line: 1 to run everything again, 0 to return from main, which ends the run. Waits
 * for ever where a listener takes what it wants and goes. */
int output_again(void);

/* Nothing can be done any more. */
void output_stop(void) __attribute__((noreturn));

#endif
