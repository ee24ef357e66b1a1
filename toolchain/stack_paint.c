#include "stack_paint.h"

#define PAINT 0xC5C5C5C5u

/* Placed by the linker script; only their addresses mean something. Word-aligned. */
extern uint32_t _end[], _stack_top[];

/* Both are leaves that need no stack of their own: what is below SP is nobody's. */

__attribute__((noinline)) void stack_paint(void) {
    uint32_t *sp;
    __asm__ volatile("mov %0, sp" : "=r"(sp));
    for (volatile uint32_t *word = _end; word < sp; word++) {
        *word = PAINT;
    }
}

__attribute__((noinline)) uint32_t stack_painted_over_bytes(void) {
    const volatile uint32_t *word = _end;
    while (word < _stack_top && *word == PAINT) {
        word++;
    }
    return (uint32_t)((uintptr_t)_stack_top - (uintptr_t)word);
}
