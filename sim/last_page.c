/* The page that the RAM limit cuts: Unicorn maps whole pages, so this one is made of callbacks, and
 * each access to it is checked against the limit first. */
#include "engine.h"

/* Mirrored in memory_map.py. */
typedef struct {
    uint32_t address;
    uint32_t end; /* the RAM limit: first address that does not exist */
    uint8_t bytes[PAGE_BYTES];
    reg_write_function reg_write;
} last_page;

/* Unicorn asks: may an access go ahead that the page's permissions, none at all, refuse? */
int ebnn_last_page_allows(void *uc, int kind, uint64_t address, int size, int64_t value,
                          void *user) {
    const last_page *page = user;
    (void)kind;
    (void)value;
    forget_it(uc, page->reg_write);
    return address >= page->address && address + (uint32_t)size <= page->end;
}

/* `offset` + `size` <= PAGE_BYTES, size 1, 2, 4 or 8: Unicorn's. */
uint64_t ebnn_last_page_read(void *uc, uint64_t offset, unsigned size, void *user) {
    const last_page *page = user;
    uint64_t value = 0;
    (void)uc;
    for (unsigned byte = 0; byte < size; byte++) {
        value |= (uint64_t)page->bytes[offset + byte] << 8 * byte;
    }
    return value;
}

void ebnn_last_page_write(void *uc, uint64_t offset, unsigned size, uint64_t value, void *user) {
    last_page *page = user;
    (void)uc;
    for (unsigned byte = 0; byte < size; byte++) {
        page->bytes[offset + byte] = (uint8_t)(value >> 8 * byte);
    }
}
