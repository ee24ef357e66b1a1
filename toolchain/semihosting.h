/* Output and exit through Arm semihosting (BKPT 0xAB), as simulators and debuggers understand it.
 *
 * Source: Arm, "Semihosting for AArch32 and AArch64", release 2.0. A BKPT 0xAB that nobody listens
 * to is a HardFault: firmware that runs alone on a board must not call these.
 * No buffer outside the caller's stack, no newlib. */
#ifndef EBNN_SEMIHOSTING_H
#define EBNN_SEMIHOSTING_H

#include <stdint.h>

/* The operation's own result register r0. `argument` is its parameter block, or its string. */
int32_t semihosting_call(uint32_t operation, const void *argument);

/* Writes text up to its terminating zero, through SYS_WRITE0. */
void semihosting_write(const char *text);

/* Writes value in decimal, without leading zeros. Uses 11 bytes of stack for the digits. */
void semihosting_write_u32(uint32_t value);

/* Ends the run with this exit status, through SYS_EXIT_EXTENDED. */
void semihosting_exit(int32_t status) __attribute__((noreturn));

#endif
