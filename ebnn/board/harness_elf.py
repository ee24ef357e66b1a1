"""What a harness's ELF says of itself, so that it can be told from whatever else a board runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ebnn.sim.board import Board, load_board
from ebnn.sim.elf import Elf
from ebnn.sim.errors import UserError

_NOTE_HEADER_BYTES = 16
_ID_BYTES = 8


@dataclass(frozen=True)
class HarnessElf:
    """`output` is how its lines leave the board; `board` is as it was built for."""

    elf: Elf
    build_id: str
    output: str
    board_name: str
    samples: int
    inputs_sha256: str

    @property
    def path(self) -> Path:
        return Path(self.elf.path)

    def bytes_at(self, address: int, size_bytes: int) -> bytes:
        """What the file has for an address in flash; `UserError` where it has nothing."""
        return _bytes_at(self.elf, address, size_bytes)

    def board(self, name: str | None) -> Board:
        """The board of that name, or the one it was built for."""
        return load_board(name or self.board_name)


def read_harness(path: Path) -> HarnessElf:
    """Read the ELF that `ebnn build --harness` wrote; `UserError` where it is another."""
    elf = Elf(path)
    needed = ("ebnn_built_for", "_build_id", "ebnn_samples", "ebnn_labels", "ebnn_infer")
    if any(name not in elf.symbols for name in needed):
        raise UserError(f"{path}: not a harness: build one with `ebnn build --harness`")
    samples = elf.symbol("ebnn_samples")
    words = _content(elf, "ebnn_built_for").split(b"\0")[0].decode("ascii", "replace").split(" ")
    start = elf.symbol("_build_id").address + _NOTE_HEADER_BYTES
    if len(words) != 2:
        raise UserError(f"{path}: not a harness of this version: build it again")
    inputs = _bytes_at(elf, samples.address, samples.size_bytes)
    return HarnessElf(
        elf,
        _bytes_at(elf, start, _ID_BYTES).hex(),
        output=words[0],
        board_name=words[1],
        samples=elf.symbol("ebnn_labels").size_bytes // 2,
        inputs_sha256=hashlib.sha256(inputs).hexdigest(),
    )


def _content(elf: Elf, name: str) -> bytes:
    symbol = elf.symbol(name)
    return _bytes_at(elf, symbol.address, symbol.size_bytes)


def _bytes_at(elf: Elf, address: int, size_bytes: int) -> bytes:
    for segment in elf.segments:
        at = address - segment.address
        if at >= 0 and at + size_bytes <= len(segment.data):
            return bytes(segment.data[at : at + size_bytes])
    raise UserError(f"{elf.path}: {size_bytes} bytes at {address:#010x} are not in the file")
