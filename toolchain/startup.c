/* Start-up code for every Cortex-M core: vector table, memory initialisation, main, exit.
 *
 * The linker script (linker.py) places the table in front of all other code and defines the symbols
 * below. Each handler is weak: firmware that defines one of the same name gets it. Interrupts of
 * the board go into an array of the section `.vectors.external`, which is linked behind the table.
 */
#include <stdint.h>

#include "semihosting.h"

typedef void (*handler_t)(void);

/* Placed by the linker script; only their addresses mean something. Word-aligned. */
extern uint32_t _stack_top[];
extern uint32_t _data_start[], _data_end[];
extern const uint32_t _data_load[];
extern uint32_t _bss_start[], _bss_end[];
extern const handler_t _init_array_start[], _init_array_end[];

int main(void);
void Reset_Handler(void) __attribute__((noreturn));
void Default_Handler(void);

#define DEFAULTS_TO_STOP __attribute__((weak, alias("Default_Handler")))
void NMI_Handler(void) DEFAULTS_TO_STOP;
void HardFault_Handler(void) DEFAULTS_TO_STOP;
void MemManage_Handler(void) DEFAULTS_TO_STOP;
void BusFault_Handler(void) DEFAULTS_TO_STOP;
void UsageFault_Handler(void) DEFAULTS_TO_STOP;
void SecureFault_Handler(void) DEFAULTS_TO_STOP;
void SVC_Handler(void) DEFAULTS_TO_STOP;
void DebugMon_Handler(void) DEFAULTS_TO_STOP;
void PendSV_Handler(void) DEFAULTS_TO_STOP;
void SysTick_Handler(void) DEFAULTS_TO_STOP;

typedef struct {
    const uint32_t *initial_sp;
    handler_t exceptions[15]; /* exception numbers 1 to 15 */
} vector_table_t;

/* ARMv7-M Architecture Reference Manual, B1.5.2. The cores without MemManage to SecureFault, and
 * without DebugMon, never read those entries. */
__attribute__((section(".vectors"), used)) static const vector_table_t vector_table = {
    .initial_sp = _stack_top,
    .exceptions =
        {
            Reset_Handler,
            NMI_Handler,
            HardFault_Handler,
            MemManage_Handler,
            BusFault_Handler,
            UsageFault_Handler,
            SecureFault_Handler,
            0,
            0,
            0,
            SVC_Handler,
            DebugMon_Handler,
            0,
            PendSV_Handler,
            SysTick_Handler,
        },
};

#ifdef __ARM_FP
/* CPACR (ARMv7-M B3.2.20): full access to coprocessors 10 and 11, which are the FPU. Until then
 * every floating-point instruction is a UsageFault. */
static void enable_fpu(void) {
    volatile uint32_t *const cpacr = (volatile uint32_t *)0xE000ED88u;
    *cpacr |= 0xFu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
}
#endif

void Reset_Handler(void) {
    const uint32_t *from = _data_load;
    for (uint32_t *to = _data_start; to < _data_end; to++) {
        *to = *from++;
    }
    for (uint32_t *to = _bss_start; to < _bss_end; to++) {
        *to = 0u;
    }
#ifdef __ARM_FP
    enable_fpu();
#endif
    /* What __libc_init_array does, without newlib's _init: nothing in firmware without
     * constructors. */
    for (const handler_t *constructor = _init_array_start; constructor < _init_array_end;
         constructor++) {
        (*constructor)();
    }
    semihosting_exit(main());
}

/* An exception that nobody handles ends the run instead of hanging it. */
void Default_Handler(void) {
    enum { SYS_EXIT = 0x18 };
    enum { ADP_STOPPED_RUN_TIME_ERROR_UNKNOWN = 0x20023 };
    for (;;) {
        /* On 32-bit cores SYS_EXIT takes the reason itself, not a pointer to it. */
        (void)semihosting_call(SYS_EXIT, (const void *)ADP_STOPPED_RUN_TIME_ERROR_UNKNOWN);
    }
}
