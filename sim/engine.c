/* The native engine: applies costs that Python worked out once for each basic block.
 *
 * Unicorn calls `on_block` before each block it runs. The block's fixed cost is looked up by
 * address and added; what depends on the outcome (was the block before it left by a branch or by
 * falling through?) is settled when the next block arrives. Instructions whose cost depends on
 * operands or on a condition have a hook of their own, `on_instruction`.
 *
 * Nothing here links against Unicorn: Python passes the addresses of the four functions used, so
 * the same binary serves any Unicorn 2.1 that the user has installed.
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

enum { FALLEN, BRANCHED }; /* how a block was entered; index of `after` */

static uint32_t read_register(engine *e, int regid) {
    uint32_t value = 0;
    e->reg_read(e->uc, regid, &value);
    return value;
}

static void stop(engine *e, uint32_t reason, uint32_t address) {
    e->attention = 1; /* on going on, `pending` and `break_address` are looked at first */
    if (e->stop == STOP_NONE) {
        e->stop = reason;
        e->stop_address = address;
    }
    e->emu_stop(e->uc);
}

/* A zeroed block at the start of a cache line. */
static block *allocate_block(engine *e) {
    uint32_t at = e->block_count % CHUNK_BLOCKS;
    if (at == 0 && e->block_count / CHUNK_BLOCKS == e->chunk_count) {
        void **grown = realloc(e->chunks, (e->chunk_count + 1u) * sizeof(void *));
        if (grown == NULL) {
            return NULL;
        }
        e->chunks = grown;
        void *chunk = malloc(CHUNK_BLOCKS * sizeof(block) + CACHE_LINE_BYTES);
        if (chunk == NULL) {
            return NULL;
        }
        e->chunks[e->chunk_count++] = chunk;
    }
    uintptr_t start = (uintptr_t)e->chunks[e->block_count / CHUNK_BLOCKS];
    start += (CACHE_LINE_BYTES - start % CACHE_LINE_BYTES) % CACHE_LINE_BYTES;
    block *made = (block *)start + at;
    memset(made, 0, sizeof(block));
    return made;
}

static block *new_block(engine *e, uint32_t address, uint32_t size, block *before) {
    if (e->block_count == e->block_capacity) {
        uint32_t capacity = e->block_capacity ? 2 * e->block_capacity : 1024;
        block **grown = realloc(e->blocks, capacity * sizeof(block *));
        if (grown == NULL) {
            stop(e, STOP_DECODE, address);
            return NULL;
        }
        e->blocks = grown;
        e->block_capacity = capacity;
    }
    block *made = allocate_block(e);
    if (made == NULL) {
        stop(e, STOP_DECODE, address);
        return NULL;
    }
    made->address = address;
    made->size = size;
    made->end = address + size;
    made->index = e->block_count;
    made->after[FALLEN] = &e->empty;
    made->after[BRANCHED] = &e->empty;
    if (e->decode(address, size, before, made) != 0) {
        free(made->fetches);
        stop(e, STOP_DECODE, address);
        return NULL;
    }
    e->blocks[e->block_count++] = made;
    return made;
}

/* The block at `address`, arrived at by a branch. */
static block *find_target(engine *e, uint32_t address, uint32_t size, block *before) {
    block **slot = &e->table[(address >> 1) & (TABLE_SIZE - 1)];
    block *found = *slot;
    while (found != &e->empty && (found->address != address || found->size != size)) {
        found = found->next_in_slot;
    }
    if (found == &e->empty) {
        found = new_block(e, address, size, NULL);
        if (found == NULL) {
            return NULL;
        }
        found->next_in_slot = *slot;
        *slot = found;
    }
    before->after[BRANCHED] = found;
    return found;
}

/* The block that follows `before`, fallen into. */
static block *find_next(engine *e, uint32_t size, block *before) {
    block *found = before->variants;
    while (found != NULL && found->size != size) {
        found = found->next_variant;
    }
    if (found == NULL) {
        found = new_block(e, before->end, size, before);
        if (found == NULL) {
            return NULL;
        }
        found->next_variant = before->variants;
        before->variants = found;
    }
    before->after[FALLEN] = found;
    return found;
}

/* Wait states of fetching `b` from `now` on. */
static uint64_t fetch_block(engine *e, block *b, uint64_t now) {
    uint64_t waited = 0;
    for (uint32_t index = 0; index < b->fetch_count; index++) {
        const fetch *f = &b->fetches[index];
        if (f->line != e->flash->current) {
            waited += flash_fetch(e->flash, f->line, now + f->cycles + waited);
        }
    }
    b->wait_cycles += waited;
    e->wait_cycles += waited;
    return waited;
}

/* One execution of `b`, which begins when `cycles` have passed. */
static void count_block(engine *e, block *b, uint64_t cycles, int has_flash) {
    if (has_flash) {
        cycles += fetch_block(e, b, cycles);
    }
    b->count++;
    e->sp += (uint32_t)b->sp_change;
    e->cycles = cycles + b->cycles;
    e->instructions += b->instructions;
    e->previous = b;
}

static void close_frame(engine *e) {
    frame *f = &e->frame[--e->frames];
    function *watched = &e->functions[f->function];
    e->watched_return = e->frames ? e->frame[e->frames - 1].return_address : NEVER;
    watched->open--;
    if (watched->kind == FUNCTION_SBRK) {
        uint32_t start = read_register(e, REGISTER_R0);
        if (start != UINT32_MAX) {
            if (e->heap_start == 0) {
                e->heap_start = start;
            }
            e->heap_break = start + f->argument;
            if (e->heap_break > e->heap_peak) {
                e->heap_peak = e->heap_break;
            }
            if (e->heap_break > e->stack_floor && e->stack_floor != 0) {
                e->stack_floor = (e->heap_break + 7u) & ~7u;
            }
            if (e->heap_break > e->ram_end || e->stack_floor > e->lowest_sp) {
                stop(e, STOP_HEAP, f->return_address);
            }
        }
        return;
    }
    watched->count++;
    watched->last_cycles = e->cycles - f->cycles;
    watched->last_instructions = e->instructions - f->instructions;
    if (watched->samples == watched->capacity && watched->capacity < MAX_SAMPLES) {
        uint64_t capacity = watched->capacity ? 2 * watched->capacity : 64;
        uint64_t *grown = realloc(watched->sample, capacity * 2 * sizeof(uint64_t));
        if (grown != NULL) {
            watched->sample = grown;
            watched->capacity = capacity;
        }
    }
    if (watched->samples < watched->capacity) {
        watched->sample[2 * watched->samples] = watched->last_cycles;
        watched->sample[2 * watched->samples + 1] = watched->last_instructions;
        watched->samples++;
    }
}

/* Close every open frame whose return address this is, if SP says they have returned. */
static int arrive(engine *e, uint32_t address) {
    uint32_t sp = read_register(e, REGISTER_SP);
    while (e->frames && e->frame[e->frames - 1].return_address == address &&
           sp >= e->frame[e->frames - 1].sp) {
        uint32_t kind = e->functions[e->frame[e->frames - 1].function].kind;
        close_frame(e);
        if (kind == FUNCTION_CALL) {
            stop(e, STOP_RETURNED, address);
            return 1;
        }
    }
    return e->stop != STOP_NONE;
}

static void open_frame(engine *e, uint32_t index) {
    function *watched = &e->functions[index];
    if (e->frames == MAX_FRAMES || watched->open) {
        return; /* a recursive activation is part of the outermost one */
    }
    frame *f = &e->frame[e->frames++];
    f->return_address = read_register(e, REGISTER_LR) & ~1u;
    f->sp = read_register(e, REGISTER_SP);
    f->argument = watched->kind == FUNCTION_SBRK ? read_register(e, REGISTER_R0) : 0;
    f->function = index;
    f->cycles = e->cycles;
    f->instructions = e->instructions;
    watched->open++;
    e->watched_return = f->return_address;
}

/* Code at `address` takes SP, now at `sp`, down by -`change` bytes; `same_stack` where SP was
 * computed from itself. Nonzero when that is too far. */
static int follow_sp(engine *e, uint32_t sp, int32_t change, uint32_t address,
                     uint32_t same_stack) {
    uint32_t lowest = sp + (uint32_t)change;
    if (lowest > sp) {
        lowest = 0; /* wrapped around: certainly below the floor */
    }
    /* Else an SP that starts below the floor is another stack: part of static data or the heap. */
    if (lowest < e->lowest_sp && (sp >= e->stack_floor || same_stack) && sp <= e->stack_top) {
        e->lowest_sp = lowest;
        e->lowest_sp_address = address;
        if (e->deeper != NULL) {
            e->deeper(address);
        }
        if (lowest < e->stack_floor) {
            stop(e, STOP_STACK, address);
            return 1;
        }
    }
    return 0;
}

static int follow_stack(engine *e, const block *b) {
    if (e->sp_unknown) {
        e->sp = read_register(e, REGISTER_SP);
    }
    e->sp_unknown = (b->flags & FLAG_STACK_AFTER) != 0;
    return follow_sp(e, e->sp, b->lowest_sp, b->address, 0);
}

/* Everything that is not just adding up. On return the block has been counted, or the run stops
 * before it and `pending` remembers that it has been arrived at. */
static void slow_path(engine *e, block *b, block *before, uint32_t address, uint32_t size,
                      int has_flash) {
    if (e->pending == &e->resumed) {
        e->pending = NULL;
        if (address == e->resumed.address) {
            e->previous = e->resume_block; /* the rest of a block that is counted already */
            e->attention = e->sp_unknown | (uint32_t)(e->break_address != NEVER);
            return;
        }
    }
    if (e->pending != NULL && e->pending->address == address) {
        /* Translated anew, it may have been cut shorter. */
        b = e->pending;
        if (b->size != size) {
            b = e->pending_before ? find_next(e, size, e->pending_before)
                                  : find_target(e, address, size, &e->idle);
            if (b == NULL) {
                return;
            }
        }
    } else {
        e->pending_before = address == before->end ? before : NULL;
        if (address != before->end) {
            e->cycles += before->taken_cycles;
            before->taken++;
        }
        e->previous = &e->idle; /* the way here is settled */
        if (address == e->watched_return && arrive(e, address)) {
            e->pending = b;
            return;
        }
    }
    e->pending = b;
    e->previous = &e->idle;
    if (e->cycles >= e->deadline) {
        stop(e, STOP_DEADLINE, address);
        return;
    }
    if (address == e->break_address) {
        stop(e, STOP_ARRIVED, address);
        return;
    }
    if (b->flags & FLAG_UNHOOKED) {
        stop(e, STOP_UNHOOKED, address);
        return;
    }
    if (b->flags & e->alert & FLAG_FPU) {
        stop(e, STOP_NO_FPU, address);
        return;
    }
    if (((b->flags & (FLAG_STACK | FLAG_STACK_AFTER)) || e->sp_unknown) && follow_stack(e, b)) {
        return;
    }
    if (b->flags & FLAG_ENTRY) {
        open_frame(e, b->function);
    }
    e->pending = NULL;
    e->attention = e->sp_unknown | (uint32_t)(e->break_address != NEVER);
    count_block(e, b, e->cycles, has_flash);
}

static int is_deeper(const engine *e, const block *b) {
    return b->lowest_sp != 0 && e->sp + (uint32_t)b->lowest_sp < e->lowest_sp;
}

/* A block that was not expected, or where there is more to do than to add up. */
static NEVER_INLINED void on_other_block(engine *e, uint32_t address, uint32_t size,
                                         int has_flash) {
    block *before = e->previous;
    size_t how = address != before->end;
    block *b = before->after[how];
    if (e->stop != STOP_NONE) {
        return; /* stopping: this block does not run */
    }
    if (b->address != address || b->size != size) {
        b = how == BRANCHED ? find_target(e, address, size, before) : find_next(e, size, before);
        if (b == NULL) {
            return;
        }
    }
    uint64_t cycles = e->cycles + (how == BRANCHED ? before->taken_cycles : 0);
    if (b->flags & e->alert || address == e->watched_return || cycles >= e->deadline ||
        e->attention || is_deeper(e, b)) {
        slow_path(e, b, before, address, size, has_flash);
        return;
    }
    before->taken += how;
    count_block(e, b, cycles, has_flash);
}

/* Nearly every block is the one expected behind the block before, and there is nothing to do but
 * add up. That is done here; a branch on `how` would be as hard to predict as the firmware's own.
 */
static inline void on_block(engine *e, uint32_t address, uint32_t size, int has_flash) {
    block *before = e->previous;
    size_t how = address != before->end;
    block *b = before->after[how];
    if (UNLIKELY(b->address != address || b->size != size || b->flags & e->alert ||
                 address == e->watched_return || e->attention || is_deeper(e, b) ||
                 e->cycles + before->taken_cycles * how >= e->deadline)) {
        on_other_block(e, address, size, has_flash);
        return;
    }
    before->taken += how;
    count_block(e, b, e->cycles + before->taken_cycles * how, has_flash);
}

void ebnn_on_block(void *uc, uint64_t address, uint32_t size, void *user) {
    (void)uc;
    on_block(user, (uint32_t)address, size, 0);
}

/* The same where the flash has wait states. */
void ebnn_on_block_from_flash(void *uc, uint64_t address, uint32_t size, void *user) {
    (void)uc;
    on_block(user, (uint32_t)address, size, 1);
}

/* Position of the highest set bit, from 1; 0 for 0. Range 0..32. */
static uint32_t bit_length(uint32_t value) {
    uint32_t length = 0;
    while (value != 0) {
        value >>= 1;
        length++;
    }
    return length;
}

static uint32_t is_wide(uint32_t value, uint32_t is_signed) {
    return is_signed ? value >= 0x8000u && value < 0xFFFF8000u : value >= 0x10000u;
}

/* cost.py's divide_cycles, less the least. */
static uint32_t divide_extra(const instruction *i, uint32_t dividend, uint32_t divisor) {
    if (i->is_signed) {
        dividend = dividend >> 31 ? 0u - dividend : dividend;
        divisor = divisor >> 31 ? 0u - divisor : divisor;
    }
    if (divisor == 0 || dividend < divisor) {
        return 0;
    }
    uint32_t extra = 1 + (bit_length(dividend) - bit_length(divisor) + 3) / 4;
    uint32_t most = i->most_cycles - i->least_cycles;
    return extra < most ? extra : most;
}

static instruction *find_instruction(engine *e, uint32_t address) {
    uint32_t index = (address >> 1) & (INSTRUCTION_SIZE - 1);
    while (e->instruction_table[index] != NULL) {
        if (e->instruction_table[index]->address == address) {
            return e->instruction_table[index];
        }
        index = (index + 1) & (INSTRUCTION_SIZE - 1);
    }
    return NULL;
}

void ebnn_on_instruction(void *uc, uint64_t address, uint32_t size, void *user) {
    engine *e = user;
    instruction *i = find_instruction(e, (uint32_t)address);
    uint32_t extra;
    (void)uc;
    (void)size;
    if (i == NULL || e->stop != STOP_NONE) {
        return;
    }
    if (i->kind == KIND_EXECUTED) {
        extra = i->cycles;
    } else if (i->kind == KIND_ILLEGAL) {
        stop(e, STOP_ILLEGAL, i->address);
        return;
    } else if (i->kind == KIND_SYSTEM) {
        extra = i->executed_cycles;
        if (i->cycles || e->trap_system) {
            stop(e, STOP_SYSTEM, i->address);
        }
    } else if (i->kind == KIND_STACK) {
        /* Behind an instruction that changes SP by an unknown amount, in the same block. */
        (void)follow_sp(e, read_register(e, REGISTER_SP), i->lowest_sp, i->address, i->same_stack);
        return;
    } else {
        uint32_t first = read_register(e, i->dividend);
        uint32_t second = read_register(e, i->divisor);
        if (i->kind == KIND_DIVIDE) {
            if (second == 0 && e->trap_divide) {
                stop(e, STOP_DIVIDE, i->address);
                return;
            }
            extra = divide_extra(i, first, second);
        } else if (i->kind == KIND_SLOW_RAM) {
            uint32_t bytes = i->most_cycles - i->least_cycles;
            int inside = first - i->least_cycles <= bytes || second - i->least_cycles <= bytes;
            extra = inside ? i->cycles : 0;
        } else {
            /* cost.py's multiply_long_extra: 1 for each wide factor, and `cycles` (1 where it
             * accumulates) more when both are. */
            uint32_t wide = is_wide(first, i->is_signed) + is_wide(second, i->is_signed);
            extra = wide + (wide == 2 ? i->cycles : 0);
        }
        extra += i->executed_cycles;
    }
    i->count++;
    i->extra += extra;
    e->cycles += extra;
}

void ebnn_on_interrupt(void *uc, uint32_t number, void *user) {
    engine *e = user;
    (void)uc;
    e->interrupt = number;
    stop(e, STOP_INTERRUPT, 0);
}

engine *ebnn_engine_new(void *uc, void *reg_read, void *reg_write, void *emu_stop,
                        decode_callback decode) {
    engine *e = calloc(1, sizeof(engine));
    if (e == NULL) {
        return NULL;
    }
    e->uc = uc;
    memcpy(&e->reg_read, &reg_read, sizeof reg_read);
    memcpy(&e->reg_write, &reg_write, sizeof reg_write);
    memcpy(&e->emu_stop, &emu_stop, sizeof emu_stop);
    e->decode = decode;
    e->idle.address = NEVER;
    e->idle.end = NEVER;
    e->idle.after[FALLEN] = &e->empty;
    e->idle.after[BRANCHED] = &e->empty;
    e->empty.address = NEVER;
    e->empty.end = NEVER;
    e->previous = &e->idle;
    e->watched_return = NEVER;
    e->break_address = NEVER;
    e->deadline = UINT64_MAX;
    e->lowest_sp = UINT32_MAX;
    e->ram_end = UINT32_MAX;
    /* Python adds FLAG_FPU while the FPU is disabled. */
    e->alert = FLAG_STACK_AFTER | FLAG_ENTRY | FLAG_UNHOOKED;
    for (uint32_t slot = 0; slot < TABLE_SIZE; slot++) {
        e->table[slot] = &e->empty;
    }
    return e;
}

void ebnn_engine_watch_stack(engine *e, deeper_callback deeper) {
    e->deeper = deeper;
}

void ebnn_engine_free(engine *e) {
    for (uint32_t index = 0; index < e->block_count; index++) {
        free(e->blocks[index]->fetches);
    }
    for (uint32_t index = 0; index < e->chunk_count; index++) {
        free(e->chunks[index]);
    }
    free(e->chunks);
    flash_free(e->flash);
    for (uint32_t index = 0; index < e->function_count; index++) {
        free(e->functions[index].sample);
    }
    for (uint32_t index = 0; index < e->instruction_count; index++) {
        free(e->instruction_list[index]);
    }
    free(e->blocks);
    free(e->functions);
    free(e);
}

/* Forget how the current instruction was reached: the next block is arrived at from nowhere. */
void ebnn_engine_jump(engine *e) {
    e->previous = &e->idle;
    e->pending = NULL;
    e->sp_unknown = 1; /* SP may be new: look at it */
    e->attention = 1;
}

/* Forget frames that can no longer return, after the firmware was stopped for good. */
void ebnn_engine_drop_frames(engine *e) {
    while (e->frames) {
        e->functions[e->frame[--e->frames].function].open--;
    }
    e->watched_return = NEVER;
}

/* A handler returns: close its frames, whose return address is an EXC_RETURN. Those of a handler
 * that it interrupted lie above SP. */
void ebnn_engine_leave_handler(engine *e) {
    uint32_t sp = read_register(e, REGISTER_SP);
    while (e->frames && e->frame[e->frames - 1].return_address >= EXC_RETURN_START &&
           sp >= e->frame[e->frames - 1].sp) {
        close_frame(e);
    }
}

/* The run goes on at `address`, inside the block that it stopped in: do not count that again. */
void ebnn_engine_resume(engine *e, uint32_t address) {
    if (e->pending == NULL) {
        e->resume_block = e->previous;
        e->resumed.address = address;
        e->pending = &e->resumed;
        e->attention = 1;
        e->previous = &e->idle;
    }
}

block *ebnn_engine_block(engine *e, uint32_t index) {
    return index < e->block_count ? e->blocks[index] : NULL;
}

/* Index of the block that runs (or was about to), or UINT32_MAX. */
uint32_t ebnn_engine_current(const engine *e) {
    const block *current = e->pending != NULL ? e->pending : e->previous;
    if (current == &e->resumed) {
        current = e->resume_block;
    }
    return current == &e->idle ? UINT32_MAX : current->index;
}

function *ebnn_engine_function(engine *e, uint32_t index) {
    return &e->functions[index];
}

/* Index of a new watched function, or UINT32_MAX without memory. Not while running. */
uint32_t ebnn_engine_add_function(engine *e, uint32_t kind) {
    function *grown = realloc(e->functions, (e->function_count + 1u) * sizeof(function));
    if (grown == NULL) {
        return UINT32_MAX;
    }
    e->functions = grown;
    memset(&grown[e->function_count], 0, sizeof(function));
    grown[e->function_count].kind = kind;
    return e->function_count++;
}

/* A call from outside: its frame closes, and the run stops, on arrival at `return_address`. */
int ebnn_engine_open_call(engine *e, uint32_t index, uint32_t return_address, uint32_t sp) {
    if (e->frames == MAX_FRAMES) {
        return 1;
    }
    frame *f = &e->frame[e->frames++];
    f->return_address = return_address;
    f->sp = sp;
    f->function = index;
    f->argument = 0;
    f->cycles = e->cycles;
    f->instructions = e->instructions;
    e->functions[index].open++;
    e->watched_return = return_address;
    return 0;
}

/* The record of a dynamic instruction for Python to fill in; NULL when the table is full. */
instruction *ebnn_engine_add_instruction(engine *e, uint32_t address) {
    instruction *found = find_instruction(e, address);
    if (found != NULL) {
        return found;
    }
    if (e->instruction_count >= INSTRUCTION_SIZE * 3u / 4u) {
        return NULL;
    }
    instruction *made = calloc(1, sizeof(instruction));
    if (made == NULL) {
        return NULL;
    }
    made->address = address;
    uint32_t index = (address >> 1) & (INSTRUCTION_SIZE - 1);
    while (e->instruction_table[index] != NULL) {
        index = (index + 1) & (INSTRUCTION_SIZE - 1);
    }
    e->instruction_table[index] = made;
    e->instruction_list[e->instruction_count++] = made;
    return made;
}

instruction *ebnn_engine_instruction(engine *e, uint32_t index) {
    return index < e->instruction_count ? e->instruction_list[index] : NULL;
}

/* What Python's mirror of the structures must agree with, lest a stale build corrupt memory. */
uint64_t ebnn_engine_layout(void) {
    return (uint64_t)offsetof(engine, pending) << 48 | (uint64_t)offsetof(block, variants) << 32 |
           (uint64_t)sizeof(function) << 16 | (uint64_t)sizeof(instruction);
}
