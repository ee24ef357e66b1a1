"""From an integer network to C99 that compiles by itself, with any compiler.

`emit(network, folder, "fast")` writes `model.h`, `model.c` and the kernels they use. Lowerings:

    fast       integers only after training (the default)
    reference  the paper's: fused blocks, one float temporary, all else in bits
    unfused    every layer's result as floats, only to be measured against

Several models share one copy of the kernels in a `Library`.
"""

from ebnn.emitter.folder import LOWERINGS, emit, program_of, write_folder
from ebnn.emitter.library import Library
from ebnn.emitter.model import DEFAULT_NAME, Model, arena_bytes

__all__ = [
    "DEFAULT_NAME",
    "LOWERINGS",
    "Library",
    "Model",
    "arena_bytes",
    "emit",
    "program_of",
    "write_folder",
]
