"""A library as a folder: headers and sources side by side, and a CMakeLists.txt."""

from __future__ import annotations

from pathlib import Path

from ebnn.c_kernels import KERNEL_DIR
from ebnn.emitter.cmake import cmake_text
from ebnn.emitter.fast import fast_program
from ebnn.emitter.floats import reference_program, unfused_program
from ebnn.emitter.goal import Goal
from ebnn.emitter.library import Library
from ebnn.emitter.model import DEFAULT_NAME, GENERATED, Model
from ebnn.emitter.program import Program
from ebnn.files import write_whole
from ebnn.lowered import LoweredNetwork
from ebnn.sim.errors import UserError

LOWERINGS = ("fast", "reference", "unfused")
_CMAKE = "CMakeLists.txt"


def program_of(network: LoweredNetwork, lowering: str, goal: Goal | None = None) -> Program:
    """The calls of kernels that `emit` writes down.

    The fast lowering chooses its kernels for `goal`, the fewest cycles on a Cortex-M4 where none is
    given; what is written runs on every core.
    """
    if lowering not in LOWERINGS:
        raise UserError(f"lowering {lowering!r}: give one of {', '.join(LOWERINGS)}")
    if lowering == "fast":
        return fast_program(network, goal)
    return (reference_program if lowering == "reference" else unfused_program)(network)


def emit(
    network: LoweredNetwork,
    folder: Path,
    lowering: str = "fast",
    goal: Goal | None = None,
    name: str = DEFAULT_NAME,
) -> Program:
    """`write_folder` of one network."""
    program = program_of(network, lowering, goal)
    write_folder(Library((Model(network, program, name),)), folder)
    return program


def write_folder(library: Library, folder: Path) -> None:
    """Write the C to `folder` (made if missing); the same models, the same bytes.

    Compile every .c file of the folder with any C99 or C++17 compiler (`-ffp-contract=off` where
    that is not the default: `reference` and `unfused` round each float operation by itself).

    Raises `UserError` where the folder holds another model, or files of these names that are not
    generated: nothing is written then.
    """
    texts = {**library.headers(), **library.sources()}
    texts[_CMAKE] = cmake_text(library, texts)
    _check_folder(folder, library)
    folder.mkdir(parents=True, exist_ok=True)
    # Sources of an earlier lowering must not be compiled along.
    for stale in {path.name for path in KERNEL_DIR.glob("*.[ch]")} - texts.keys():
        (folder / stale).unlink(missing_ok=True)
    for name, text in texts.items():
        write_whole(folder / name, text.encode())


def _check_folder(folder: Path, library: Library) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: give a folder to write the C sources to")
    ours = {name for model in library.models for name in (model.header, model.source)} | {_CMAKE}
    for path in sorted([*folder.glob("*.[ch]"), *folder.glob(_CMAKE)]):
        with path.open(errors="replace") as file:
            is_generated = GENERATED in file.readline()
        if path.name in ours and not is_generated:
            raise UserError(f"{path} was not generated: give a folder for generated files alone")
        if path.name not in ours and is_generated:
            raise UserError(
                f"{path} is another model: remove it, or emit both at once to share the kernels"
                " (ebnn emit A B --name a --name b)"
            )
