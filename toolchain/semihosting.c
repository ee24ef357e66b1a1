#include "semihosting.h"

enum { SYS_WRITE0 = 0x04, SYS_EXIT_EXTENDED = 0x20 };
enum { ADP_STOPPED_APPLICATION_EXIT = 0x20026 };

/* naked: r0 and r1 arrive, and r0 leaves, just where semihosting wants them. */
__attribute__((naked, noinline)) int32_t semihosting_call(uint32_t operation,
                                                          const void *argument) {
    (void)operation;
    (void)argument;
    __asm__ volatile("bkpt 0xab\n\tbx lr");
}

void semihosting_write(const char *text) {
    (void)semihosting_call(SYS_WRITE0, text);
}

void semihosting_write_u32(uint32_t value) {
    char digits[11]; /* 2^32 - 1 has 10 digits */
    char *first = digits + sizeof digits - 1;
    *first = '\0';
    do {
        *--first = (char)('0' + value % 10u); /* '0'..'9' */
        value /= 10u;
    } while (value != 0u);
    semihosting_write(first);
}

void semihosting_exit(int32_t status) {
    const uint32_t block[2] = {ADP_STOPPED_APPLICATION_EXIT, (uint32_t)status};
    for (;;) {
        (void)semihosting_call(SYS_EXIT_EXTENDED, block);
    }
}
