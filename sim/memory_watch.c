/* Follows every load and store, a byte of flags for each byte of memory: which were read, which
 * written, and which hold something that the firmware put there. Only when asked for: an access
 * that is followed takes many times as long as one that is not.
 *
 * The flags belong to Python (memory_watch.py), which also mirrors the structures.
 */
#include "engine.h"

enum { FLAG_READ = 1, FLAG_WRITTEN = 2, FLAG_KNOWN = 4 };

enum { UNICORN_MEM_READ = 16 }; /* unicorn/unicorn.h: UC_MEM_READ; a write otherwise */

/* An access at `address` of `size` bytes. */
typedef void (*access_callback)(uint32_t address, uint32_t size);

typedef struct {
    uint32_t start;
    uint32_t size; /* bytes */
    uint8_t *flags;
} watched_memory;

typedef struct {
    uint32_t checks;    /* nonzero: call `unknown` for loads of bytes that nobody stored */
    uint32_t listening; /* nonzero: call `stored` behind each store */
    uint32_t memory_count;
    uint32_t unused;
    watched_memory *memories;
    access_callback unknown, stored;
    reg_write_function reg_write;
} memory_watch;

void ebnn_on_access(void *uc, int type, uint64_t address64, int size, int64_t value, void *user);

void ebnn_on_access(void *uc, int type, uint64_t address64, int size, int64_t value, void *user) {
    const memory_watch *watch = user;
    uint32_t address = (uint32_t)address64;
    uint32_t count = (uint32_t)size; /* 1 to 8 */
    (void)value;
    forget_it(uc, watch->reg_write);
    for (uint32_t index = 0; index < watch->memory_count; index++) {
        const watched_memory *memory = &watch->memories[index];
        uint32_t offset = address - memory->start;
        if (offset >= memory->size) {
            continue;
        }
        if (count > memory->size - offset) {
            count = memory->size - offset;
        }
        uint8_t *flags = memory->flags + offset;
        if (type == UNICORN_MEM_READ) {
            uint8_t known = FLAG_KNOWN;
            for (uint32_t byte = 0; byte < count; byte++) {
                known &= flags[byte];
                flags[byte] |= FLAG_READ;
            }
            if (UNLIKELY(!known && watch->checks)) {
                watch->unknown(address, count);
            }
        } else {
            for (uint32_t byte = 0; byte < count; byte++) {
                flags[byte] |= FLAG_WRITTEN | FLAG_KNOWN;
            }
            if (UNLIKELY(watch->listening)) {
                watch->stored(address, count);
            }
        }
        return;
    }
}
