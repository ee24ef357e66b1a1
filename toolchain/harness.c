/* Firmware around an emitted model: EBNN_INFERENCES inferences (one, unless the build says), the
 * last one's class printed through semihosting.
 *
 * A simulator or debugger may write another input to `ebnn_input` and call `ebnn_infer` as often
 * as it likes. */
#include "model.h"
#include "semihosting.h"

#ifndef EBNN_INFERENCES
#define EBNN_INFERENCES 1
#endif

ebnn_input_t ebnn_input;
ebnn_output_t ebnn_scores;

int main(void) {
    int predicted = 0;
    for (int run = 0; run < EBNN_INFERENCES; run++) {
        predicted = ebnn_infer(&ebnn_input, &ebnn_scores);
    }
    semihosting_write("class ");
    semihosting_write_u32((uint32_t)predicted);
    semihosting_write("\n");
    return 0;
}
