/* Keeps Unicorn's hooks on memory from putting code under a condition that is not.
 *
 * Before Unicorn calls a hook on an access it sets the core's state to that of the instruction, the
 * IT state too, and leaves it so. Translated code takes it to be clear but at the start of a block
 * that begins inside an IT block. So the next block that is looked up, behind a branch through a
 * register, would have its first instructions skipped. Each hook on memory clears it again.
 */
#include "engine.h"

#include <string.h>

static reg_write_function write_register; /* uc_reg_write: of the one Unicorn in the process */

void ebnn_set_reg_write(void *reg_write) {
    memcpy(&write_register, &reg_write, sizeof reg_write);
}

void forget_it(void *uc) {
    uint32_t epsr = EPSR_THUMB;
    write_register(uc, REGISTER_EPSR, &epsr);
}
