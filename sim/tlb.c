/* Fills Unicorn's TLB; see tlb.py, which mirrors the structure. */
#include "engine.h"

enum { UNICORN_MEM_FETCH = 18, PROT_READ_WRITE = 3, PROT_ALL = 7 }; /* unicorn/unicorn.h */

/* Unicorn's uc_tlb_entry. */
typedef struct {
    uint64_t address;
    uint32_t permissions;
} tlb_entry;

typedef struct {
    uint64_t start;
    uint8_t
        *fetched; /* for each page: whether code was ever fetched from it; NULL outside of RAM */
    reg_write_function reg_write;
} tlb_pages;

/* Unicorn asks where the page at `address` lies, which is there, and what may be done with it. */
int ebnn_fill_tlb(void *uc, uint64_t address, int kind, tlb_entry *entry, void *user) {
    const tlb_pages *pages = user;
    entry->address = address;
    entry->permissions = PROT_ALL;
    if (pages->fetched != NULL) {
        uint8_t *fetched = &pages->fetched[(address - pages->start) / PAGE_BYTES];
        if (kind == UNICORN_MEM_FETCH) {
            *fetched = 1;
        }
        entry->permissions = *fetched ? PROT_ALL : PROT_READ_WRITE;
    }
    if (kind != UNICORN_MEM_FETCH) {
        forget_it(uc, pages->reg_write);
    }
    return 1;
}
