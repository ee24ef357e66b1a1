"""The linker script of a board: flash, RAM, vector table, initialised data, heap and stack.

    flash   vectors | code, constants, constructors | initial values of .data
    RAM     .data | .bss | heap ->            <- stack

The flash of some chips begins with a boot stage, in front of the vectors (boot_stage.py).

The symbols that it defines (`_data_start`, `_end`, `_stack_top`, ...) are what startup.c and
syscalls.c work with.
"""

from __future__ import annotations

from ebnn.sim.board import Board, Memory
from ebnn.sim.errors import UserError
from ebnn.toolchain.boot_stage import CHECKSUM_BYTES

FLASH_REGION = "FLASH"
RAM_REGION = "RAM"

STACK_ALIGNMENT_BYTES = 8
"""AAPCS 6.2.1.2: the stack pointer is a multiple of 8 at every public interface."""

# Input sections are sorted so that the layout, and with it cycle counts, does not depend on the
# order in which the sources were given; in RAM by alignment first, which leaves the least padding.
_SECTIONS = """\
    .vectors :
    {
        KEEP(*(.vectors))
        KEEP(*(.vectors.external))
        . = ALIGN(4);
    } > FLASH

    .text :
    {
        *(SORT_BY_NAME(.text) SORT_BY_NAME(.text.*))
        *(SORT_BY_ALIGNMENT(SORT_BY_NAME(.rodata)) SORT_BY_ALIGNMENT(SORT_BY_NAME(.rodata.*)))
        . = ALIGN(4);
        _init_array_start = .;
        KEEP(*(SORT_BY_INIT_PRIORITY(.init_array.*)))
        KEEP(*(.init_array))
        _init_array_end = .;
    } > FLASH

    /* Only with --build-id. */
    .build_id :
    {
        _build_id = .;
        KEEP(*(.note.gnu.build-id))
    } > FLASH

    .data :
    {
        . = ALIGN(4);
        _data_start = .;
        *(SORT_BY_ALIGNMENT(SORT_BY_NAME(.data)) SORT_BY_ALIGNMENT(SORT_BY_NAME(.data.*)))
        . = ALIGN(4);
        _data_end = .;
    } > RAM AT > FLASH
    _data_load = LOADADDR(.data);

    .bss (NOLOAD) :
    {
        . = ALIGN(4);
        _bss_start = .;
        *(SORT_BY_ALIGNMENT(SORT_BY_NAME(.bss)) SORT_BY_ALIGNMENT(SORT_BY_NAME(.bss.*)))
        *(COMMON)
        . = ALIGN(4);
        _bss_end = .;
    } > RAM
    _end = .;
    end = .;

    /* Nothing here unwinds the stack: C without exceptions, and frames are in .debug_frame. */
    /DISCARD/ :
    {
        *(.ARM.exidx*) *(.ARM.extab*) *(.eh_frame*)
        *(.note.GNU-stack) *(.comment)
    }
}
"""


# The chip wants exactly so many bytes, of which the last may be a checksum (boot_stage.py).
_BOOT_STAGE = """\
    .boot_stage :
    {{
        KEEP(*(.boot_stage))
        _boot_stage_end = .;
        . = MAX(. + {checksum_bytes}, {size_bytes});
    }} > FLASH
    ASSERT(_boot_stage_end != ADDR(.boot_stage), "nothing is in .boot_stage")
    ASSERT(SIZEOF(.boot_stage) == {size_bytes}, "the boot stage needs more than {size_bytes} bytes")
    _vectors = ADDR(.vectors);

"""


def stack_top(board: Board, ram_bytes: int | None = None) -> int:
    """The address that the stack grows down from: the end of the usable RAM, rounded down to 8."""
    end = board.ram.address + usable_ram_bytes(board, ram_bytes)
    return end - end % STACK_ALIGNMENT_BYTES


def usable_ram_bytes(board: Board, ram_bytes: int | None = None) -> int:
    """The board's first RAM, or only its first `ram_bytes` bytes where that is given."""
    if ram_bytes is None:
        return board.ram.size_bytes
    if ram_bytes <= 0:
        raise UserError(f"RAM of {ram_bytes} bytes: give a positive number")
    if ram_bytes > board.ram.size_bytes:
        raise UserError(
            f"RAM of {ram_bytes:,} bytes asked for, but {board.name} has {board.ram.size_bytes:,}:"
            " give less, or choose another board"
        )
    return ram_bytes


def linker_script(board: Board, ram_bytes: int | None = None) -> str:
    """The GNU ld script for the board's first flash and first RAM.

    `ram_bytes` limits the RAM to its first bytes, to see that firmware fits a smaller part.
    """
    ram = usable_ram_bytes(board, ram_bytes)
    memory = (
        "MEMORY\n{\n"
        + _region(FLASH_REGION, "rx", board.flash, board.flash.size_bytes)
        + _region(RAM_REGION, "rw", board.ram, ram)
        + "}\n\n"
    )
    top = f"_stack_top = {stack_top(board, ram_bytes):#010x};\n\n"
    return (
        f"/* Generated for the board {board.name} ({board.core}). */\n{memory}{top}"
        f"ENTRY(Reset_Handler)\n\nSECTIONS\n{{\n{_boot_stage(board)}{_SECTIONS}"
    )


def _boot_stage(board: Board) -> str:
    stage = board.boot_stage
    if stage is None:
        return ""
    return _BOOT_STAGE.format(
        size_bytes=stage.size_bytes, checksum_bytes=CHECKSUM_BYTES if stage.checksum else 0
    )


def _region(name: str, attributes: str, memory: Memory, size_bytes: int) -> str:
    return (
        f"    {name} ({attributes}) : ORIGIN = {memory.address:#010x}, LENGTH = {size_bytes:#x}\n"
    )
