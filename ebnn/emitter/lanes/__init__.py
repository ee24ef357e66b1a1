"""Convolutions of bits whose lanes, the bits of a word, are positions of the map.

Every operation on a word serves up to 32 positions. What to do is decided by the weights, which are
compiled into C: no weight is read, nothing depends on the input, and so neither does the time.

    geometry   which positions are which bits of which word
    sums       sub-sums of a few products, which all filters share
    borders    windows that reach over the map's edge
    circuit    one filter: which planes of the sub-sums it adds up, compared with its threshold
    packing    pooled words to the map that the next block reads
    plan       all of these for one layer, in batches that keep the scratch small
    *_c        their C
"""
