/* Follows calls and returns: which function runs, called through whom, and for how many cycles.
 *
 * `ebnn_call_tree_on_block` wraps the engine's own hook. Most blocks go on in the function that
 * runs and cost one comparison. What a transition is, is decided by what is seen and not by the
 * instruction that did it, so that hand-written code, tail calls and longjmp come out right:
 *
 * - behind a block that ends in BL or BLX: a call; it returns to the address behind that block;
 *   but not into the middle of the function that runs: so GCC jumps far on an ARMv6-M;
 * - at the return address of the innermost call, with SP no lower than at its entry: a return;
 * - in another function otherwise: calls whose SP at entry lies below SP now have been left; of
 *   the others the innermost one of that function goes on, or else it is called from here.
 *
 * Cycles are differences of the engine's counter, so those of every cause are in them.
 */
#include <stdlib.h>
#include <string.h>

#include "call_tree.h"

static call_node *new_node(call_tree *t, call_node *up, uint32_t function, uint32_t address) {
    if (t->node_count == t->node_capacity) {
        uint32_t capacity = t->node_capacity ? 2 * t->node_capacity : 256;
        call_node **grown = realloc(t->nodes, capacity * sizeof(call_node *));
        if (grown == NULL) {
            return NULL;
        }
        t->nodes = grown;
        t->node_capacity = capacity;
    }
    call_node *made = calloc(1, sizeof(call_node));
    if (made == NULL) {
        return NULL;
    }
    made->index = t->node_count;
    made->function = function;
    made->address = address;
    if (up != NULL) {
        made->parent = up->index;
        made->depth = up->depth + 1;
        made->up = up;
        made->next = up->children;
        up->children = made;
    }
    t->nodes[t->node_count++] = made;
    return made;
}

static int is_of(const call_node *node, uint32_t function, uint32_t address) {
    return node->function == function && (function != NO_FUNCTION || node->address == address);
}

static call_node *existing_child(call_node *node, uint32_t function, uint32_t address) {
    call_node *child = node->children;
    while (child != NULL && !is_of(child, function, address)) {
        child = child->next;
    }
    return child;
}

/* The node of a function called from `node`. Of chains that are too long to keep, recursion is
 * folded into the caller that it repeats; what remains goes to `overflow`. */
static call_node *child_of(call_tree *t, call_node *node, uint32_t function, uint32_t address) {
    call_node *child = existing_child(node, function, address);
    if (child != NULL) {
        return child;
    }
    if (node->depth < MAX_NODE_DEPTH && t->node_count < MAX_NODES) {
        child = new_node(t, node, function, address);
        return child != NULL ? child : t->overflow;
    }
    for (call_node *up = node; up->up != NULL; up = up->up) {
        if (is_of(up, function, address)) {
            return up;
        }
    }
    child = existing_child(t->overflow, function, address);
    if (child == NULL && t->node_count < 2 * MAX_NODES) {
        child = new_node(t, t->overflow, function, address);
    }
    return child != NULL ? child : t->overflow;
}

static call_node *running(const call_tree *t) {
    return t->depth ? t->calls[t->depth - 1].node : t->nodes[0];
}

static void charge(call_tree *t, uint64_t now) {
    running(t)->cycles += now - t->mark;
    t->mark = now;
}

static void settle(call_tree *t) {
    const open_call *top = t->depth ? &t->calls[t->depth - 1] : NULL;
    t->function = top != NULL && !top->base ? top->function : NO_CODE;
    t->return_address = top != NULL ? top->return_address : NEVER;
}

static void push(call_tree *t, call_node *node, open_call made) {
    if (t->depth == t->call_capacity) {
        uint32_t capacity = t->call_capacity ? 2 * t->call_capacity : 64;
        open_call *grown =
            capacity > MAX_OPEN_CALLS ? NULL : realloc(t->calls, capacity * sizeof(open_call));
        if (grown == NULL) {
            return; /* charged to the caller */
        }
        t->calls = grown;
        t->call_capacity = capacity;
    }
    made.node = node;
    t->calls[t->depth++] = made;
}

/* Index of the lowest call that code running now may return to. */
static uint32_t lowest_call(const call_tree *t) {
    uint32_t index = t->depth;
    while (index > 0 && !t->calls[index - 1].base) {
        index--;
    }
    return index;
}

static uint32_t function_at(const call_tree *t, uint32_t address) {
    uint32_t low = 0;
    uint32_t high = t->range_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (address < t->ranges[middle].start) {
            high = middle;
        } else if (address >= t->ranges[middle].end) {
            low = middle + 1;
        } else {
            return middle + 1;
        }
    }
    return NO_FUNCTION;
}

static const block_facts *facts_of(call_tree *t, const block *b) {
    if (b->index >= t->facts_capacity) {
        uint32_t capacity = 2 * b->index + 1024;
        block_facts *grown = realloc(t->facts, capacity * sizeof(block_facts));
        if (grown == NULL) {
            return NULL;
        }
        memset(grown + t->facts_capacity, 0xFF,
               (capacity - t->facts_capacity) * sizeof(block_facts));
        t->facts = grown;
        t->facts_capacity = capacity;
    }
    block_facts *facts = &t->facts[b->index];
    if (facts->function == NO_CODE) {
        facts->function = function_at(t, b->address);
        facts->is_call = (b->flags & FLAG_CALL) != 0;
    }
    return facts;
}

/* Of calls that are still open, the one that goes on at `address`; the depth there, or 0. */
static uint32_t find_resumed(const call_tree *t, uint32_t lowest, uint32_t function, int is_entry,
                             uint32_t sp) {
    for (uint32_t depth = t->depth; depth > lowest; depth--) {
        const open_call *call = &t->calls[depth - 1];
        /* At its first instruction only a chain of tail calls comes back to a function. */
        if (is_entry && (call->sp != sp || call->return_address != t->return_address)) {
            return 0;
        }
        if (call->function == function) {
            return depth;
        }
        if (call->sp > sp) {
            return 0; /* this one has not been left */
        }
    }
    return 0;
}

static void move(call_tree *t, uint32_t address, uint32_t function, uint32_t sp) {
    uint32_t lowest = lowest_call(t);
    uint32_t before = t->depth;
    if (!t->nowhere) {
        while (t->depth > lowest && t->calls[t->depth - 1].return_address == address &&
               sp >= t->calls[t->depth - 1].sp) {
            t->depth--;
        }
        settle(t);
        if (t->depth < before && t->function == function) {
            return;
        }
    }
    if (t->function == function && t->depth > lowest) {
        return; /* a loop back to the address behind a call, or still in code without a name */
    }
    while (t->depth > lowest && t->calls[t->depth - 1].sp < sp) {
        t->depth--;
    }
    settle(t);
    int is_entry = function != NO_FUNCTION && address == t->ranges[function - 1].start;
    uint32_t resumed = find_resumed(t, lowest, function, is_entry, sp);
    if (resumed) {
        t->depth = resumed;
        t->calls[resumed - 1].node->calls += (uint32_t)is_entry;
    } else {
        call_node *node = child_of(t, running(t), function, address);
        open_call made = {NULL, function, t->return_address, sp, 0};
        made.return_address = t->nowhere ? NEVER : t->return_address;
        node->calls += (uint32_t)(is_entry || function == NO_FUNCTION);
        push(t, node, made);
    }
    settle(t);
}

static int is_far_jump(const call_tree *t, const block_facts *from, uint32_t address,
                       uint32_t function) {
    return function != NO_FUNCTION && function == from->function &&
           address != t->ranges[function - 1].start;
}

static void arrive(call_tree *t, uint32_t address, uint32_t function, uint64_t now) {
    uint32_t sp = 0;
    t->engine->reg_read(t->engine->uc, REGISTER_SP, &sp);
    charge(t, now);
    const block *last = t->last;
    if (!t->nowhere && last != NULL && address != last->end && t->facts[last->index].is_call &&
        !is_far_jump(t, &t->facts[last->index], address, function)) {
        call_node *node = child_of(t, running(t), function, address);
        open_call made = {NULL, function, last->address + last->size, sp, 0};
        node->calls++;
        push(t, node, made);
        settle(t);
        return;
    }
    move(t, address, function, sp);
}

void ebnn_call_tree_on_block(void *uc, uint64_t address64, uint32_t size, void *user) {
    call_tree *t = user;
    engine *e = t->engine;
    uint32_t address = (uint32_t)address64;
    const block *before = e->previous;
    uint64_t now = e->cycles;
    if (UNLIKELY(e->pending == &e->resumed)) { /* in the middle of a block counted already */
        t->nowhere = t->attention = 1;
    }
    t->on_block(uc, address64, size, e);
    if (UNLIKELY(e->stop != STOP_NONE)) {
        return; /* it arrives again */
    }
    block *b = e->previous;
    const block_facts *facts = b->index < t->facts_capacity ? &t->facts[b->index] : NULL;
    if (UNLIKELY(facts == NULL || facts->function == NO_CODE)) {
        facts = facts_of(t, b);
        if (facts == NULL) {
            return; /* no memory: it is charged to the function before */
        }
    }
    if (UNLIKELY((facts->function ^ t->function) | t->attention |
                 (uint32_t)(address == t->return_address))) {
        /* The way here belongs to the block before, fetching this one to this one. */
        arrive(t, address, facts->function,
               now + (address != before->end ? before->taken_cycles : 0));
        t->nowhere = 0;
    }
    t->attention = facts->is_call;
    t->last = b;
}

/* Where the run goes on has nothing to do with the block that ran last. */
void ebnn_call_tree_jump(call_tree *t) {
    t->nowhere = t->attention = 1;
    t->last = NULL;
}

/* Code is entered from outside: a call by Python, or (`interrupts`) an exception. Returns how many
 * calls are open, for `ebnn_call_tree_leave`. */
uint32_t ebnn_call_tree_enter(call_tree *t, uint32_t interrupts) {
    uint32_t depth = t->depth;
    open_call made = {NULL, NO_FUNCTION, NEVER, 0, 1};
    charge(t, t->engine->cycles);
    push(t, interrupts ? running(t) : t->nodes[0], made);
    settle(t);
    ebnn_call_tree_jump(t);
    return depth;
}

/* It has ended: what was open before goes on. */
void ebnn_call_tree_leave(call_tree *t, uint32_t depth) {
    charge(t, t->engine->cycles);
    t->depth = depth < t->depth ? depth : t->depth;
    settle(t);
    ebnn_call_tree_jump(t);
}

/* Charge what has run until the engine's counter stood at `now`. */
void ebnn_call_tree_settle(call_tree *t, uint64_t now) {
    charge(t, now);
}

const call_node *ebnn_call_tree_node(const call_tree *t, uint32_t index) {
    return index < t->node_count ? t->nodes[index] : NULL;
}

void ebnn_call_tree_free(call_tree *t) {
    for (uint32_t index = 0; index < t->node_count; index++) {
        free(t->nodes[index]);
    }
    free(t->nodes);
    free(t->calls);
    free(t->ranges);
    free(t->facts);
    free(t);
}

/* `on_block` is the engine's hook that `ebnn_call_tree_on_block` calls. */
void ebnn_call_tree_wrap(call_tree *t, void *on_block) {
    memcpy(&t->on_block, &on_block, sizeof on_block);
}

/* `ranges` are start and end of each function in turn. */
call_tree *ebnn_call_tree_new(engine *e, const uint32_t *ranges, uint32_t count) {
    call_tree *t = calloc(1, sizeof(call_tree));
    if (t == NULL) {
        return NULL;
    }
    t->engine = e;
    t->ranges = calloc(count + 1u, sizeof(code_range));
    if (t->ranges == NULL || new_node(t, NULL, NO_FUNCTION, 0) == NULL) {
        ebnn_call_tree_free(t);
        return NULL;
    }
    t->overflow = new_node(t, t->nodes[0], NO_FUNCTION, NEVER);
    if (t->overflow == NULL) {
        ebnn_call_tree_free(t);
        return NULL;
    }
    for (uint32_t index = 0; index < count; index++) {
        t->ranges[index].start = ranges[2 * index];
        t->ranges[index].end = ranges[2 * index + 1];
    }
    t->range_count = count;
    settle(t);
    ebnn_call_tree_jump(t);
    return t;
}
