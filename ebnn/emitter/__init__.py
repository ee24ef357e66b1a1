"""From an integer network to a folder of C99 that compiles by itself.

`emit(network, folder, "fast")` writes `model.h`, `model.c` and the kernels they use. Lowerings:

    fast       integers only after training (the default)
    reference  the paper's: fused blocks, one float temporary, all else in bits
    unfused    every layer's result as floats, only to be measured against
"""

from ebnn.emitter.folder import LOWERINGS, emit, program_of

__all__ = ["LOWERINGS", "emit", "program_of"]
