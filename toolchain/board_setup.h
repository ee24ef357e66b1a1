/* Register accesses that a board's description lists, as data (board_setup.c is generated). */
#ifndef EBNN_BOARD_SETUP_H
#define EBNN_BOARD_SETUP_H

#include <stdint.h>

typedef enum { STEP_WRITE, STEP_MODIFY, STEP_WAIT } step_kind_t;

typedef struct {
    step_kind_t kind;
    uint32_t address;
    uint32_t mask; /* MODIFY: the bits that become `value`'s; WAIT: those that are looked at */
    uint32_t value;
} register_step_t;

typedef struct {
    const register_step_t *steps;
    uint32_t count;
} register_steps_t;

extern const register_steps_t uart_open;        /* once */
extern const register_steps_t uart_before_byte; /* until the data register may be written */
extern const register_steps_t uart_after_byte;
extern volatile uint32_t *const uart_data;

#endif
