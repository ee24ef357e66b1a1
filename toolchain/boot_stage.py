"""The boot stage that a board's flash starts with: its source, and the checksum at its end.

A boot ROM starts no firmware whose boot stage has another checksum, and does not say why.
"""

from __future__ import annotations

from pathlib import Path

from ebnn.sim.board import Board
from ebnn.sim.elf import Elf
from ebnn.sim.errors import UserError

_FOLDER = Path(__file__).resolve().parent
CHECKSUM_BYTES = 4


def boot_stage_source(board: Board) -> Path | None:
    """The file that the board's boot stage is built from; None where it has none.

    Raises:
        UserError: there is no such file.
    """
    stage = board.boot_stage
    if stage is None:
        return None
    source = _FOLDER / stage.source  # an absolute path stays what it is
    if not source.is_file():
        raise UserError(
            f"{board.name}: [boot_stage] source {stage.source!r} is neither beside the board's "
            f"file nor one of the toolchain's ({', '.join(_own_sources())})"
        )
    return source


def _own_sources() -> list[str]:
    return sorted(path.name for path in _FOLDER.glob("*_boot_stage.S"))


def crc32_mpeg2(data: bytes) -> int:
    """CRC-32/MPEG-2: polynomial 0x04c11db7, from 0xffffffff, most significant bit first, no final
    XOR (RP2040 datasheet 2.8.1.3.1)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)
            crc &= 0xFFFFFFFF
    return crc


def write_checksum(elf_path: Path, board: Board) -> None:
    """Put the checksum, where the board's boot stage has one, into a linked ELF."""
    found = _stage_in(Elf(elf_path), board)
    if found is None:
        return
    offset, stage = found
    data = bytearray(elf_path.read_bytes())
    at = offset + len(stage) - CHECKSUM_BYTES
    data[at : at + CHECKSUM_BYTES] = _checksum(stage)
    elf_path.write_bytes(data)


def check_checksum(elf: Elf, board: Board) -> None:
    """`UserError` where the board's boot ROM would not start this image."""
    found = _stage_in(elf, board)
    if found is not None and not found[1].endswith(_checksum(found[1])):
        raise UserError(
            f"{elf.path}: no boot stage with its checksum at {board.flash.address:#010x}, without "
            f"which the boot ROM of {board.name} starts nothing: build it for this board"
        )


def _checksum(stage: bytes) -> bytes:
    return crc32_mpeg2(stage[:-CHECKSUM_BYTES]).to_bytes(CHECKSUM_BYTES, "little")


def _stage_in(elf: Elf, board: Board) -> tuple[int, bytes] | None:
    """Where in the file the bytes of a boot stage with a checksum are, and which; None where the
    board wants none. An image that has none has its first bytes there, or too few."""
    stage = board.boot_stage
    if stage is None or stage.checksum is None:
        return None
    start = board.flash.address
    for segment in elf.segments:
        at = start - segment.load_address
        if 0 <= at < len(segment.data):
            return segment.file_offset + at, segment.data[at : at + stage.size_bytes]
    return 0, b""
