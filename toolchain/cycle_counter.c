#include "cycle_counter.h"

#include <stddef.h>

/* ARMv7-M Architecture Reference Manual: C1.6.5 (DEMCR), C1.8 (DWT), B3.3 (SysTick), B3.2.4 (ICSR).
 * The lock of the DWT (C1.8, LAR) is there on the Cortex-M7; elsewhere the store does nothing. */
#define REGISTER(address) (*(volatile uint32_t *)(address))
#define DEMCR REGISTER(0xE000EDFCu)
#define DWT_CTRL REGISTER(0xE0001000u)
#define DWT_CYCCNT REGISTER(0xE0001004u)
#define DWT_LAR REGISTER(0xE0001FB0u)
#define SYST_CSR REGISTER(0xE000E010u)
#define SYST_RVR REGISTER(0xE000E014u)
#define SYST_CVR REGISTER(0xE000E018u)
#define ICSR REGISTER(0xE000ED04u)

#define DEMCR_TRCENA (1u << 24)
#define DWT_CYCCNTENA 1u
#define DWT_UNLOCK 0xC5ACCE55u
#define SYST_ENABLE 1u
#define SYST_TICKINT 2u
#define SYST_CORE_CLOCK 4u
#define ICSR_PENDSTCLR (1u << 25)

#ifndef SYST_PERIOD
#define SYST_PERIOD (1u << 24)
#define SYST_MARGIN 4096u /* cycles, more than from the second reading to end() */
#endif

int32_t infer_between_readings(const void *in, void *out, const volatile uint32_t *counter,
                               uint32_t readings[2]);
void nothing_between_readings(const volatile uint32_t *counter, uint32_t readings[2]);
void SysTick_Handler(void);

static const volatile uint32_t *counter; /* NULL: nothing counts */
static volatile uint32_t systick_wraps;

void SysTick_Handler(void) {
    systick_wraps++;
}

static int counts(const volatile uint32_t *candidate) {
    const uint32_t before = *candidate;
    for (volatile int wait = 0; wait < 100; wait++) {
    }
    return *candidate != before;
}

const char *cycle_counter_start(void) {
#if __ARM_ARCH > 6 /* ARMv6-M has no CYCCNT */
    DEMCR |= DEMCR_TRCENA;
    DWT_LAR = DWT_UNLOCK;
    DWT_CTRL |= DWT_CYCCNTENA;
    if (counts(&DWT_CYCCNT)) {
        counter = &DWT_CYCCNT;
        return "dwt";
    }
#endif
    SYST_RVR = SYST_PERIOD - 1;
    SYST_CVR = 0;
    SYST_CSR = SYST_ENABLE | SYST_CORE_CLOCK;
    if (counts(&SYST_CVR)) {
        counter = &SYST_CVR;
        return "systick";
    }
    counter = NULL;
    return "none";
}

static int counts_down(void) {
    return counter == &SYST_CVR;
}

/* Cycles since SysTick was last 0, 0 to 2^24 - 1: it goes 0, 2^24 - 1, 2^24 - 2, ... 1, 0. */
static uint32_t systick_phase(uint32_t reading) {
    return (SYST_PERIOD - reading) % SYST_PERIOD;
}

static void begin(void) {
    if (counts_down()) {
        systick_wraps = 0;
        ICSR = ICSR_PENDSTCLR;
        SYST_CVR = 0; /* far from its next end */
        SYST_CSR = SYST_ENABLE | SYST_TICKINT | SYST_CORE_CLOCK;
    }
}

static uint32_t end(const uint32_t readings[2]) {
    if (!counts_down()) {
        return readings[1] - readings[0]; /* modulo 2^32 */
    }
    /* The period may have ended between the second reading and here. Where the reading is close
     * enough to the end for that, wait until it surely has, and take that wrap off. */
    uint32_t wraps_since = 0;
    if (readings[1] != 0u && readings[1] < SYST_MARGIN) {
        while (SYST_CVR < SYST_MARGIN) {
        }
        wraps_since = 1;
    }
    SYST_CSR = SYST_ENABLE | SYST_CORE_CLOCK;
    const uint32_t wraps = systick_wraps - wraps_since;
    return wraps * SYST_PERIOD + systick_phase(readings[1]) - systick_phase(readings[0]);
}

uint32_t cycle_counter_cost(void) {
    uint32_t readings[2];
    if (counter == NULL) {
        return 0;
    }
    begin();
    nothing_between_readings(counter, readings);
    (void)end(readings); /* the first pass fills caches */
    begin();
    nothing_between_readings(counter, readings);
    return end(readings);
}

int32_t counted_infer(const void *in, void *out, uint32_t *cycles) {
    static const uint32_t standing_still = 0;
    uint32_t readings[2];
    begin();
    const int32_t predicted =
        infer_between_readings(in, out, counter != NULL ? counter : &standing_still, readings);
    *cycles = end(readings);
    return predicted;
}
