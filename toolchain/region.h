/* Marks a stretch of code for `python -m ebnn.sim run --region NAME`, at no cost: two labels.
 *
 *     EBNN_REGION_BEGIN(first_layer);
 *     ...
 *     EBNN_REGION_END(first_layer);
 *
 * Each name once in the whole firmware: in a function that is inlined or unrolled the assembler
 * refuses the second label (keep such a function out of line). The compiler moves no access to
 * memory across a marker; what it may move across is arithmetic on registers. */
#ifndef EBNN_REGION_H
#define EBNN_REGION_H

#define EBNN_REGION_BEGIN(name)                                                                    \
    __asm__ volatile(".global " #name "_begin\n" #name "_begin:" ::: "memory")
#define EBNN_REGION_END(name) __asm__ volatile(".global " #name "_end\n" #name "_end:" ::: "memory")

#endif
