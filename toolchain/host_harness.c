/* A program around an emitted model, for this machine: inputs come on standard input, one behind
 * the other; for each, the maps of the blocks (of a build with EBNN_TRACE), then the class, then
 * the scores go to standard output.
 *
 * Input, output and arena are each allocated by themselves, so that AddressSanitizer sees every
 * access outside of them, and the arena holds no zeros that a kernel could rely on. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int is_good = 1;

static void put(const void *data, size_t bytes) {
    is_good = fwrite(data, 1, bytes, stdout) == bytes && is_good;
}

/* Pairs of offset and bytes in the arena that nothing may access. */
#ifdef EBNN_GUARDS
#include <sanitizer/asan_interface.h>
static void guard(ebnn_arena_t *arena) {
    static const size_t guards[][2] = {EBNN_GUARDS};
    for (size_t i = 0; i < sizeof guards / sizeof *guards; ++i) {
        ASAN_POISON_MEMORY_REGION((char *)arena + guards[i][0], guards[i][1]);
    }
}
static void unguard(ebnn_arena_t *arena) {
    ASAN_UNPOISON_MEMORY_REGION(arena, sizeof *arena);
}
#else
#define guard(arena) ((void)0)
#define unguard(arena) ((void)0)
#endif

#ifdef EBNN_TRACE
void ebnn_trace(int block, const void *map, uint32_t map_bytes) {
    (void)block;
    put(map, map_bytes);
}
#endif

int main(void) {
    ebnn_input_t *const in = malloc(sizeof *in);
    ebnn_output_t *const out = malloc(sizeof *out);
    ebnn_arena_t *const arena = malloc(sizeof *arena);
    is_good = in != NULL && out != NULL && arena != NULL;
    while (is_good && fread(in, sizeof *in, 1, stdin) == 1) {
        memset(arena, 0xA5, sizeof *arena);
        guard(arena);
        const int32_t predicted = ebnn_infer_in(arena, in, out);
        unguard(arena);
        put(&predicted, sizeof predicted);
        put(out, sizeof *out);
    }
    free(arena);
    free(out);
    free(in);
    return is_good && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
