"""From an integer network to C99 that compiles by itself, with any compiler.

`emit(network, folder, "fast")` writes `model.h`, `model.c`, the kernels they use and a
`CMakeLists.txt`. Lowerings:

    fast       integers only after training (the default)
    reference  the paper's: fused blocks, one float temporary, all else in bits
    unfused    every layer's result as floats, only to be measured against

Several models share one copy of the kernels in a `Library`, which is also exported as a library
for Arduino's IDE or as a CMSIS-Pack.
"""

from ebnn.emitter.arduino import arduino_library
from ebnn.emitter.cmsis_pack import cmsis_pack, pack_name
from ebnn.emitter.folder import LOWERINGS, emit, program_of, write_folder
from ebnn.emitter.library import Library
from ebnn.emitter.model import DEFAULT_NAME, Model, arena_bytes

__all__ = [
    "DEFAULT_NAME",
    "LOWERINGS",
    "Library",
    "Model",
    "arduino_library",
    "arena_bytes",
    "cmsis_pack",
    "emit",
    "pack_name",
    "program_of",
    "write_folder",
]
