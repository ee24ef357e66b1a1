/* Lines through SEGGER's Real Time Transfer: a ring in RAM that a debug probe empties while the
 * core runs. Layout: SEGGER, "J-Link / J-Trace User Guide" (UM08001), chapter RTT. */
#include "harness_output.h"

#include <stddef.h>

enum { RING_BYTES = 512, BLOCK_IF_FULL = 2 };

typedef struct {
    const char *name;
    char *ring;
    uint32_t ring_bytes;
    volatile uint32_t write_offset; /* 0 to ring_bytes - 1: the core's */
    volatile uint32_t read_offset;  /* 0 to ring_bytes - 1: the probe's */
    uint32_t flags;
} rtt_up_t;

typedef struct {
    volatile char id[16];
    int32_t up_count;
    int32_t down_count;
    rtt_up_t up;
} rtt_block_t;

extern rtt_block_t _SEGGER_RTT; /* the name that probes' software looks for */
rtt_block_t _SEGGER_RTT;
static char ring[RING_BYTES];

void output_open(void) {
    /* Backwards, so that the name is not in flash, where a probe that searches would find it. */
    static const char reversed[] = "TTR REGGES";
    const size_t length = sizeof reversed - 1;
    _SEGGER_RTT.up =
        (rtt_up_t){.name = "ebnn", .ring = ring, .ring_bytes = RING_BYTES, .flags = BLOCK_IF_FULL};
    _SEGGER_RTT.up_count = 1;
    _SEGGER_RTT.down_count = 0;
    for (size_t at = length; at > 0; at--) {
        __asm__ volatile("dmb" ::: "memory"); /* the first letter last, after the rest */
        _SEGGER_RTT.id[at - 1] = reversed[length - at];
    }
}

void output_line(const char *line) {
    rtt_up_t *const up = &_SEGGER_RTT.up;
    for (; *line != '\0'; line++) {
        const uint32_t at = up->write_offset;
        const uint32_t next = (at + 1u) % RING_BYTES;
        while (next == up->read_offset) {
        }
        ring[at] = *line;
        __asm__ volatile("dmb" ::: "memory"); /* what the probe may read before that it may */
        up->write_offset = next;
    }
}

int output_again(void) {
    output_stop();
}

void output_stop(void) {
    /* Awake: probes cannot read the RAM of some chips while the core sleeps. */
    for (;;) {
    }
}
