/* Bit-sliced counters: bit i of every word belongs to lane i, and 32 lanes are added at once.
 *
 * A full adder takes acc + x + y = 2 high + acc in each lane. Given z = x ^ y instead of y it takes
 * four operations, each in place of an operand that is not needed any more:
 *     x ^= acc;  x &= ~z;  x ^= acc (now high);  acc ^= z
 * and two full adders in a row can give their carries a and b as b and a ^ b, which is what the
 * next counter wants: 4.5 operations an input in all (the MDFA of Demenkov, Kojevnikov, Kulikov and
 * Yaroslavtsev, "New upper bounds on the Boolean circuit complexity of symmetric functions",
 * Information Processing Letters 110, 2010). */
#ifndef EBNN_COUNTERS_H
#define EBNN_COUNTERS_H

#include <stdint.h>

/* The first full adder of two: x and z = x ^ y come in; x waits for the second. */
#define EBNN_ADD_FIRST(acc, x, z)                                                                  \
    do {                                                                                           \
        (x) ^= (acc);                                                                              \
        (x) |= (z);                                                                                \
        (acc) ^= (z);                                                                              \
    } while (0)

/* The second: of the two carries a and b, `x` becomes b and `waiting` a ^ b. */
#define EBNN_ADD_SECOND(acc, waiting, x, z)                                                        \
    do {                                                                                           \
        (x) ^= (acc);                                                                              \
        (x) &= ~(z);                                                                               \
        (waiting) ^= (x);                                                                          \
        (x) ^= (acc);                                                                              \
        (acc) ^= (z);                                                                              \
    } while (0)

/* A full adder by itself: x becomes the carry. */
#define EBNN_ADD(acc, x, z)                                                                        \
    do {                                                                                           \
        (x) ^= (acc);                                                                              \
        (x) &= ~(z);                                                                               \
        (x) ^= (acc);                                                                              \
        (acc) ^= (z);                                                                              \
    } while (0)

/* acc + x1 + y1 + x2 + y2: x2 becomes one carry, x1 the exclusive or of both; the rest is lost. */
#define EBNN_ADD_FOUR(acc, x1, y1, x2, y2)                                                         \
    do {                                                                                           \
        (y1) ^= (x1);                                                                              \
        EBNN_ADD_FIRST(acc, x1, y1);                                                               \
        (y2) ^= (x2);                                                                              \
        EBNN_ADD_SECOND(acc, x1, x2, y2);                                                          \
    } while (0)

/* acc + x = 2 x + acc. */
#define EBNN_ADD_HALF(acc, x)                                                                      \
    do {                                                                                           \
        (acc) ^= (x);                                                                              \
        (x) &= ~(acc);                                                                             \
    } while (0)

#endif
