/* Lines through the UART that the board's description sets up; again and again, for a listener may
 * come late and cannot reset the board. */
#include "board_setup.h"
#include "harness_output.h"

static void carry_out(const register_steps_t *list) {
    for (uint32_t at = 0; at < list->count; at++) {
        const register_step_t *const step = &list->steps[at];
        volatile uint32_t *const reg = (volatile uint32_t *)step->address;
        switch (step->kind) {
        case STEP_WRITE:
            *reg = step->value;
            break;
        case STEP_MODIFY:
            *reg = (*reg & ~step->mask) | step->value;
            break;
        case STEP_WAIT:
            while ((*reg & step->mask) != step->value) {
            }
            break;
        }
    }
}

void output_open(void) {
    carry_out(&uart_open);
}

void output_line(const char *line) {
    for (; *line != '\0'; line++) {
        carry_out(&uart_before_byte);
        *uart_data = (uint8_t)*line;
        carry_out(&uart_after_byte);
    }
}

int output_again(void) {
    return 1;
}

void output_stop(void) {
    for (;;) {
    }
}
