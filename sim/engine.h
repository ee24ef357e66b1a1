/* What the files of the native engine share; engine_native.py mirrors the structures. */
#ifndef EBNN_SIM_ENGINE_H
#define EBNN_SIM_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define NEVER_INLINED __attribute__((noinline))
#else
#define UNLIKELY(condition) (condition)
#define NEVER_INLINED
#endif

#define TABLE_BITS 16
#define TABLE_SIZE (1u << TABLE_BITS)
#define INSTRUCTION_BITS 16
#define INSTRUCTION_SIZE (1u << INSTRUCTION_BITS)
#define NEVER 1u /* odd, so it equals no block's address */
#define NO_LINE UINT32_MAX
#define CHUNK_BLOCKS 64u
#define PAGE_BYTES 1024u             /* Unicorn's */
#define CACHE_LINE_BYTES 64u         /* of the host */
#define EXC_RETURN_START 0xFFFFFF00u /* LR in a handler is at least this */
#define MAX_FRAMES 64u
#define MAX_SAMPLES (1u << 20)

/* Unicorn's register numbers (unicorn/arm.h). */
enum { REGISTER_LR = 10, REGISTER_SP = 12, REGISTER_R0 = 66, REGISTER_EPSR = 121 };
#define EPSR_THUMB (1u << 24)

/* Unicorn's functions: Python passes their addresses. */
typedef int (*reg_read_function)(void *uc, int regid, void *value);
typedef int (*reg_write_function)(void *uc, int regid, const void *value);
typedef int (*emu_stop_function)(void *uc);

/* Before Unicorn calls a hook on an access to memory it sets the core's state to that of the
 * instruction, the IT state too, and leaves it so. Translated code takes it to be clear but at the
 * start of a block that begins inside an IT block: the next block that is looked up, behind a
 * branch through a register, would have its first instructions skipped. So each such hook clears
 * it. */
static inline void forget_it(void *uc, reg_write_function reg_write) {
    uint32_t epsr = EPSR_THUMB;
    reg_write(uc, REGISTER_EPSR, &epsr);
}

/* Why a run stopped; mirrored in engine.py. */
enum {
    STOP_NONE = 0,
    STOP_RETURNED,  /* arrived at the return address of the outermost call */
    STOP_DEADLINE,  /* `cycles` reached `deadline` */
    STOP_UNHOOKED,  /* the block holds dynamic instructions that have no hook yet */
    STOP_NO_FPU,    /* the block uses the FPU while it is disabled */
    STOP_STACK,     /* the block would push SP below `stack_floor` */
    STOP_HEAP,      /* _sbrk moved the break past the lowest SP or the RAM limit */
    STOP_DECODE,    /* decoding failed in Python */
    STOP_INTERRUPT, /* an exception: its number is in `interrupt` */
    STOP_ILLEGAL,   /* an instruction that the core lacks is about to run */
    STOP_ARRIVED,   /* arrived at `break_address` */
    STOP_DIVIDE,    /* a division by zero while CCR.DIV_0_TRP is set */
    STOP_SYSTEM     /* an instruction that Python carries out is about to run */
};

/* Block flags; mirrored in engine.py. */
enum {
    FLAG_STACK = 1,       /* may lower SP: by `lowest_sp` at most */
    FLAG_STACK_AFTER = 2, /* changes SP by an unknown amount: look at the next block's entry */
    FLAG_ENTRY = 4,       /* first block of a watched function: `function` says which */
    FLAG_UNHOOKED = 8,
    FLAG_FPU = 16,
    FLAG_CALL = 32 /* ends in BL or BLX */
};

/* What is done when a watched function returns; mirrored in engine.py. */
enum { FUNCTION_REGION = 0, FUNCTION_SBRK = 1, FUNCTION_CALL = 2 };

/* Dynamic instructions; mirrored in engine.py. */
enum {
    KIND_EXECUTED = 0,
    KIND_DIVIDE = 1,
    KIND_LONG_MULTIPLY = 2,
    KIND_ILLEGAL = 3,
    KIND_STACK = 4,
    KIND_SYSTEM = 5,  /* Python carries it out: always where `cycles` is set, or on `trap_system` */
    KIND_SLOW_RAM = 6 /* costs `cycles` where a register lies from least_ to most_cycles */
};

/* One line of flash that a block is fetched from. */
typedef struct {
    uint32_t line;   /* address / line_bytes, from the start of flash */
    uint32_t cycles; /* of the block, without wait states, before it is needed */
} fetch;

typedef struct block {
    /* What every execution touches, in one cache line. */
    uint32_t address;      /* of the first instruction */
    uint32_t size;         /* bytes, as Unicorn translated it */
    uint32_t end;          /* address + size, or NEVER when it always leaves by a branch */
    uint32_t cycles;       /* cost of one execution that falls through at the end */
    uint16_t taken_cycles; /* more when it leaves by a branch instead */
    uint16_t flags;
    uint32_t instructions;
    int32_t lowest_sp; /* lowest SP reached, relative to SP at entry; <= 0 */
    int32_t sp_change; /* of one execution; anything with FLAG_STACK_AFTER */
    uint64_t count;    /* executions */
    uint64_t taken;    /* of these, how many left by a branch */
    /* The last one seen that was fallen into from here, and the last one branched to. */
    struct block *after[2];
    /* The rest is seldom needed. Entering by falling out of another block can cost less than by a
     * branch, because loads pipeline across the border: what is fallen into is a variant of its
     * own, one for each block before it. */
    uint64_t wait_cycles;   /* lost to flash wait states */
    uint32_t index;         /* in order of creation: Python's name for it */
    uint32_t function;      /* with FLAG_ENTRY */
    struct block *variants; /* all that were fallen into from here, chained by next_variant */
    struct block *next_variant;
    struct block *next_in_slot;
    fetch *fetches; /* lines of flash, in order; none where there are no wait states */
    uint32_t fetch_count;
} block;

/* Lines of flash held near the core, the least recently used of a set giving way. */
typedef struct {
    uint32_t ways;
    uint32_t sets;   /* a power of two: the low bits of a line's number choose the set */
    uint32_t *line;  /* [sets * ways], NO_LINE where empty */
    uint64_t *used;  /* [sets * ways], `clock` of the last use */
    uint32_t *where; /* [lines of the flash]: the slot that holds it, or NO_LINE */
    uint64_t clock;
} cache;

/* A flash slower than the core: see flash.c. */
typedef struct {
    uint32_t address, end;  /* of the flash */
    uint32_t line_shift;    /* log2 of the bytes that one read brings */
    uint32_t wait_states;   /* cycles beyond one for each read */
    uint32_t prefetch;      /* the next line is read while this one runs */
    uint32_t current;       /* the line in the read buffer of the code, or NO_LINE */
    uint32_t prefetched;    /* the line being read ahead, or NO_LINE */
    uint64_t prefetched_at; /* cycles when that began */
    cache instruction, data;
    cache *data_cache; /* `data`, or `instruction` where one cache serves both */
} flash;

typedef struct {
    uint32_t return_address;
    uint32_t sp;
    uint32_t function;
    uint32_t argument; /* r0 at entry, for _sbrk */
    uint64_t cycles, instructions;
} frame;

typedef struct {
    uint32_t kind;
    uint32_t open; /* activations on the frame stack: recursion counts once */
    uint64_t count;
    uint64_t last_cycles, last_instructions;
    uint64_t samples, capacity;
    uint64_t *sample; /* cycles and instructions, alternating */
} function;

typedef struct {
    uint32_t address;
    uint32_t kind;
    uint32_t cycles; /* KIND_EXECUTED: cost beyond that of skipping it */
    uint32_t is_signed;
    int32_t dividend, divisor; /* Unicorn register numbers (or the factors of a multiply) */
    uint32_t least_cycles, most_cycles; /* division: bounds; the static cost is least_cycles */
    uint32_t executed_cycles; /* of a conditional division or multiply: beyond being skipped */
    int32_t lowest_sp;        /* KIND_STACK: reached from here to the end of the block; <= 0 */
    uint32_t same_stack;      /* KIND_STACK: SP was computed from SP, as alloca does */
    uint64_t count, extra;
} instruction;

typedef struct engine engine;
typedef int (*decode_callback)(uint32_t address, uint32_t size, block *before, block *into);
/* SP is about to be lower than ever before, in the block that goes on at `address`. */
typedef void (*deeper_callback)(uint32_t address);

struct engine {
    /* What every block touches. */
    uint64_t cycles, instructions;
    uint64_t deadline; /* cycles */
    block *previous;
    uint32_t watched_return; /* return address of the innermost open frame, or NEVER */
    uint32_t alert;          /* block flags that need the slow path now */
    uint32_t attention;      /* nonzero: every block takes the slow path */
    uint32_t lowest_sp;      /* reached so far */
    uint32_t sp;             /* at the next block's entry, unless sp_unknown */
    /* The rest is seldom needed. */
    uint32_t frames;
    uint32_t stop;
    uint32_t interrupt;
    uint32_t stop_address;
    uint32_t stack_floor;       /* SP must not go below; 0 when unlimited */
    uint32_t stack_top;         /* SP at reset */
    uint32_t lowest_sp_address; /* of the block that reached `lowest_sp` */
    uint32_t sp_unknown;        /* the block before changed SP by an unknown amount */
    uint32_t heap_start, heap_break, heap_peak; /* addresses; 0 before the first _sbrk */
    uint32_t ram_end;                           /* first address past the RAM limit */
    uint32_t break_address;                     /* stop on arrival there, or NEVER */
    uint32_t trap_divide;
    uint32_t trap_system; /* an exception waits, or unprivileged code runs */
    uint32_t block_count;
    uint32_t instruction_count;
    uint32_t function_count;
    uint64_t wait_cycles; /* lost to flash wait states */
    /* Up to here mirrored in engine_native.py. */
    block *pending;        /* already arrived at, then stopped before running it */
    block *pending_before; /* what it was fallen into from; NULL for a branch */
    void *uc;
    reg_read_function reg_read;
    reg_write_function reg_write;
    emu_stop_function emu_stop;
    decode_callback decode;
    deeper_callback deeper; /* NULL when nobody wants to know */
    block idle;    /* stands for "arrived from nowhere": leaves by a branch that costs nothing */
    block empty;   /* fills unused table slots */
    block resumed; /* pending while the rest of `resume_block` is about to run */
    block *resume_block;
    function *functions;
    block **blocks;
    uint32_t block_capacity;
    void **chunks; /* the blocks' memory: `chunk_count` pieces of CHUNK_BLOCKS blocks */
    uint32_t chunk_count;
    flash *flash; /* NULL at zero wait states */
    frame frame[MAX_FRAMES];
    instruction *instruction_table[INSTRUCTION_SIZE];
    instruction *instruction_list[INSTRUCTION_SIZE];
    block *table[TABLE_SIZE];
};

uint64_t flash_fetch(flash *f, uint32_t line, uint64_t now);
void flash_free(flash *f);

#endif
