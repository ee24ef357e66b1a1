"""The text of CMakeLists.txt: the folder as a static library."""

from __future__ import annotations

from collections.abc import Iterable

from ebnn import __version__
from ebnn.emitter.library import Library
from ebnn.emitter.model import GENERATED

_GCC_LIKE = "$<C_COMPILER_ID:GNU,Clang,AppleClang,ARMClang>"


def cmake_text(library: Library, files: Iterable[str]) -> str:
    """A target of `files`, for this machine and, with a toolchain file, for any core."""
    name = library.name
    listed = "\n".join(f"    {file}" for file in sorted(files))
    headers = ", ".join(model.header for model in library.models)
    return f"""# {GENERATED} {__version__}; do not edit. To be used so:
#     add_subdirectory(THIS_FOLDER)
#     target_link_libraries(firmware PRIVATE {name})  # and #include {headers}
# Flags for core and speed are the project's: cycles are measured with -O3.
cmake_minimum_required(VERSION 3.15)
project({name} LANGUAGES C)

add_library({name} STATIC
{listed}
)
target_include_directories({name} PUBLIC "${{CMAKE_CURRENT_SOURCE_DIR}}")
target_compile_features({name} PRIVATE c_std_99)
# Sections, so that a linker with --gc-sections drops what nothing uses, and one rounding for each
# float operation.
target_compile_options({name} PRIVATE
    $<{_GCC_LIKE}:-ffunction-sections>
    $<{_GCC_LIKE}:-fdata-sections>
    $<{_GCC_LIKE}:-ffp-contract=off>
)
"""
