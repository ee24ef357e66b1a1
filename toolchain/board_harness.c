/* Firmware that runs a model on the samples in its flash and reports each inference: the class,
 * its cycles, its stack. The same on a board, in the simulator and in QEMU.
 *
 * The lines are those of docs/harness.md: '@', words, " *", CRC-32 of the words, newline. */
#include "cycle_counter.h"
#include "harness_output.h"
#include "model.h"
#include "samples.h"
#include "stack_paint.h"

#include <string.h>

ebnn_input_t ebnn_input;
ebnn_output_t ebnn_scores;

void HardFault_Handler(void);
void report_fault(const uint32_t *frame) __attribute__((noreturn));

/* The linker's note (ELF, "Note Section"): name and descriptor sizes, type, "GNU", then the id. */
extern const struct {
    uint32_t name_bytes, id_bytes, type;
    char name[4];
    uint8_t id[20];
} _build_id;

static char line[160]; /* the longest, the first one, has 112 characters at most */
static uint32_t line_bytes;

static void put_char(char one) {
    if (line_bytes < sizeof line - 1) {
        line[line_bytes++] = one;
    }
}

static void put(const char *text) {
    for (; *text != '\0'; text++) {
        put_char(*text);
    }
}

static void put_hex(uint32_t value, int digits) {
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
        put_char("0123456789abcdef"[value >> shift & 15u]);
    }
}

static void put_number(uint32_t value) {
    char digits[11]; /* 2^32 - 1 has 10 */
    char *first = digits + sizeof digits - 1;
    *first = '\0';
    do {
        *--first = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0u);
    put_char(' ');
    put(first);
}

/* IEEE 802.3, as in zlib. */
static uint32_t crc32(const char *data, uint32_t bytes) {
    uint32_t crc = 0xFFFFFFFFu;
    for (uint32_t at = 0; at < bytes; at++) {
        crc ^= (uint8_t)data[at];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ ((crc & 1u) != 0u ? 0xEDB88320u : 0u);
        }
    }
    return ~crc;
}

static void begin_line(const char *word) {
    line_bytes = 0;
    put_char('@');
    put(word);
}

static void end_line(void) {
    const uint32_t crc = crc32(line + 1, line_bytes - 1);
    put(" *");
    put_hex(crc, 8);
    put_char('\n');
    line[line_bytes] = '\0';
    output_line(line);
}

static void report_start(const char *counter) {
    begin_line("ebnn-harness 1 ");
    for (uint32_t at = 0; at < 8u; at++) {
        put_hex(_build_id.id[at], 2);
    }
    put_number(EBNN_SAMPLES);
    put_char(' ');
    put(counter);
    put_number(cycle_counter_cost());
    put_char(' ');
    put(ebnn_built_for);
    end_line();
}

static void report_sample(uint32_t index) {
    uint32_t cycles;
    memcpy(&ebnn_input, ebnn_samples[index], EBNN_SAMPLE_BYTES);
    stack_paint();
    const int32_t predicted = counted_infer(&ebnn_input, &ebnn_scores, &cycles);
    const uint32_t stack_bytes = stack_painted_over_bytes();
    begin_line("sample");
    put_number(index);
    put_number((uint32_t)predicted);
    put_number(ebnn_expected[index]);
    put_number(ebnn_labels[index]);
    put_number(cycles);
    put_number(stack_bytes);
    end_line();
}

int main(void) {
    const char *const counter = cycle_counter_start();
    output_open();
    do {
        report_start(counter);
        for (uint32_t index = 0; index < EBNN_SAMPLES; index++) {
            report_sample(index);
        }
        begin_line("end");
        put_number(EBNN_SAMPLES);
        end_line();
    } while (output_again());
    return 0;
}

/* `frame`: r0 to r3, r12, lr, pc, xpsr, as the core pushed them (ARMv7-M B1.5.6). */
__attribute__((used)) void report_fault(const uint32_t *frame) {
    enum { FRAME_PC = 6 };
    begin_line("fault 0x");
    put_hex(frame[FRAME_PC], 8);
    end_line();
    output_stop();
}

__attribute__((naked)) void HardFault_Handler(void) {
    __asm__ volatile("mov r0, sp\n\tbl report_fault");
}
