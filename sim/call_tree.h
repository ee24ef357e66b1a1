/* The calling-context tree of a profiled run; call_tree.py mirrors the first two structures. */
#ifndef EBNN_SIM_CALL_TREE_H
#define EBNN_SIM_CALL_TREE_H

#include "engine.h"

#define MAX_NODES (1u << 14)
#define MAX_NODE_DEPTH 128u
#define MAX_OPEN_CALLS (1u << 20)
#define NO_FUNCTION 0u /* code that no symbol names */
#define NO_CODE UINT32_MAX

/* A function as called through one chain of callers; the root stands for "from outside". */
typedef struct call_node {
    uint32_t index; /* in order of creation: a parent comes before its children */
    uint32_t parent;
    uint32_t function; /* number in the table of functions, or NO_FUNCTION */
    uint32_t address;  /* where it was entered */
    uint64_t calls;
    uint64_t cycles; /* its own, without those of what it calls */
    uint32_t depth;
    struct call_node *up, *children, *next;
} call_node;

typedef struct {
    uint32_t start, end; /* addresses; sorted, not overlapping */
} code_range;

typedef struct {
    call_node *node;
    uint32_t function;
    uint32_t return_address;
    uint32_t sp;   /* at entry */
    uint32_t base; /* entered from outside: what lies below is not returned to from here */
} open_call;

typedef struct {
    uint32_t function; /* NO_CODE: not looked up yet */
    uint32_t is_call;
} block_facts;

typedef struct {
    engine *engine;
    void (*on_block)(void *uc, uint64_t address, uint32_t size, void *engine);
    uint64_t mark;           /* cycles up to here are charged to a node */
    uint32_t function;       /* that runs */
    uint32_t return_address; /* of the innermost call, or NEVER */
    uint32_t attention;      /* the block before called, or it is unknown how this one is reached */
    uint32_t nowhere;        /* the latter */
    uint32_t depth;          /* open calls */
    uint32_t call_capacity;
    uint32_t node_count;
    uint32_t node_capacity;
    uint32_t range_count;
    uint32_t facts_capacity;
    block *last; /* the block that was counted last */
    open_call *calls;
    call_node **nodes;
    call_node *overflow; /* parent of what has too long a chain of callers to keep it */
    code_range *ranges;
    block_facts *facts; /* by the index of a block */
} call_tree;

#endif
