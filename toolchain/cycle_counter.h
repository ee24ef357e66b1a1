/* The core's own cycles: DWT_CYCCNT where it counts, else SysTick, else nothing. */
#ifndef EBNN_CYCLE_COUNTER_H
#define EBNN_CYCLE_COUNTER_H

#include <stdint.h>

/* Starts a counter that was seen to count; "dwt", "systick", or "none" where the core has neither
 * (nRF51, some emulators). */
const char *cycle_counter_start(void);

/* What counted_infer's span has beside the inference: one load and one call, in cycles. */
uint32_t cycle_counter_cost(void);

/* ebnn_infer(in, out); *cycles: what the counter says of it, less than 2^32, the cost above
 * included; 0 where nothing counts. */
int32_t counted_infer(const void *in, void *out, uint32_t *cycles);

#endif
