/* Flash that is slower than the core: wait states, prefetch buffer, and caches.
 *
 * The code is fetched a line at a time: `line_bytes` that one read of the flash brings. The line
 * that was fetched last stays in a buffer. A line that the cache holds comes without waiting; any
 * other takes `wait_states` cycles more, less what has passed since it was prefetched.
 */
#include "engine.h"

#include <stdlib.h>

/* Whether `line` is there; it then counts as used. */
static int is_held(cache *c, uint32_t line) {
    uint32_t slot = c->where[line];
    if (slot == NO_LINE) {
        return 0;
    }
    c->used[slot] = ++c->clock;
    return 1;
}

static void hold(cache *c, uint32_t line) {
    uint32_t first = (line & (c->sets - 1u)) * c->ways;
    uint32_t oldest = first;
    for (uint32_t slot = first + 1; slot < first + c->ways; slot++) {
        if (c->used[slot] < c->used[oldest]) {
            oldest = slot;
        }
    }
    if (c->line[oldest] != NO_LINE) {
        c->where[c->line[oldest]] = NO_LINE;
    }
    c->line[oldest] = line;
    c->where[line] = oldest;
    c->used[oldest] = ++c->clock;
}

/* Wait states of fetching code from `line`, which is not the current one, at cycle `now`. */
uint64_t flash_fetch(flash *f, uint32_t line, uint64_t now) {
    uint64_t ready = now;
    f->current = line;
    if (!is_held(&f->instruction, line)) {
        /* A prefetch begins in the cycle after the one in which the read before it ends. */
        uint64_t began = f->prefetched == line ? f->prefetched_at + 1 : now;
        if (began + f->wait_states > now) {
            ready = began + f->wait_states;
        }
        hold(&f->instruction, line);
    }
    if (f->prefetch && f->prefetched != line + 1) {
        f->prefetched = NO_LINE;
        if (line + 1 < (f->end - f->address) >> f->line_shift &&
            f->instruction.where[line + 1] == NO_LINE) {
            f->prefetched = line + 1;
            f->prefetched_at = ready;
        }
    }
    return ready - now;
}

/* Wait states of loading data at `address`. */
static uint64_t flash_load(flash *f, uint32_t address, uint32_t size) {
    uint64_t waited = 0;
    uint32_t last = (address + size - 1 - f->address) >> f->line_shift;
    for (uint32_t line = (address - f->address) >> f->line_shift; line <= last; line++) {
        if (!is_held(f->data_cache, line)) {
            hold(f->data_cache, line);
            waited += f->wait_states;
        }
    }
    return waited;
}

/* Unicorn: a load. Hooked for the addresses of the flash only. */
void ebnn_on_flash_load(void *uc, int kind, uint64_t address, int size, int64_t value, void *user) {
    engine *e = user;
    (void)kind;
    (void)value;
    forget_it(uc, e->reg_write);
    if (e->stop == STOP_NONE && address >= e->flash->address &&
        address + (uint32_t)size <= e->flash->end) {
        uint64_t waited = flash_load(e->flash, (uint32_t)address, (uint32_t)size);
        e->cycles += waited;
        e->wait_cycles += waited;
        e->previous->wait_cycles += waited;
    }
}

static int make_cache(cache *c, uint32_t lines, uint32_t ways, uint32_t flash_lines) {
    c->ways = ways;
    c->sets = lines / ways;
    c->line = malloc(lines * sizeof *c->line);
    c->used = calloc(lines, sizeof *c->used);
    c->where = malloc(flash_lines * sizeof *c->where);
    if (c->line == NULL || c->used == NULL || c->where == NULL) {
        return 1;
    }
    for (uint32_t slot = 0; slot < lines; slot++) {
        c->line[slot] = NO_LINE;
    }
    for (uint32_t line = 0; line < flash_lines; line++) {
        c->where[line] = NO_LINE;
    }
    return 0;
}

static void free_cache(cache *c) {
    free(c->line);
    free(c->used);
    free(c->where);
}

void flash_free(flash *f) {
    if (f != NULL) {
        free_cache(&f->instruction);
        free_cache(&f->data);
        free(f);
    }
}

/* Gives the engine a flash with wait states; nonzero without memory. Cache sizes are in lines, sets
 * (lines / ways) and line_bytes powers of two; no data lines: data goes through the first cache. */
int ebnn_engine_set_flash(engine *e, uint32_t address, uint32_t bytes, uint32_t line_bytes,
                          uint32_t wait_states, uint32_t prefetch, uint32_t instruction_lines,
                          uint32_t instruction_ways, uint32_t data_lines, uint32_t data_ways) {
    flash *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return 1;
    }
    e->flash = f;
    f->address = address;
    f->end = address + bytes;
    while (1u << f->line_shift < line_bytes) {
        f->line_shift++;
    }
    f->wait_states = wait_states;
    f->prefetch = prefetch;
    f->current = f->prefetched = NO_LINE;
    f->data_cache = data_lines ? &f->data : &f->instruction;
    uint32_t lines = bytes >> f->line_shift;
    if (make_cache(&f->instruction, instruction_lines, instruction_ways, lines)) {
        return 1;
    }
    return data_lines ? make_cache(&f->data, data_lines, data_ways, lines) : 0;
}

/* One more line that `b` is fetched from; nonzero without memory. */
int ebnn_block_add_fetch(block *b, uint32_t line, uint32_t cycles) {
    fetch *grown = realloc(b->fetches, (b->fetch_count + 1u) * sizeof(fetch));
    if (grown == NULL) {
        return 1;
    }
    b->fetches = grown;
    grown[b->fetch_count].line = line;
    grown[b->fetch_count].cycles = cycles;
    b->fetch_count++;
    return 0;
}
