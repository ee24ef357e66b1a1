"""The board's memories in Unicorn's address space, the RAM limit exact to the byte."""

from __future__ import annotations

import ctypes
from typing import Any

from . import unicorn_library as uc
from .board import Board
from .errors import UserError
from .sizes import format_limit
from .tlb import Tlb

_LAST_ADDRESS = 0xFFFFFFFF


class _LastPage(ctypes.Structure):
    """last_page.c's structure of that name."""

    _fields_ = (
        ("address", ctypes.c_uint32),
        ("end", ctypes.c_uint32),
        ("bytes", ctypes.c_uint8 * uc.PAGE_BYTES),
        ("reg_write", ctypes.c_void_p),
    )


class MemoryMap:
    """Maps flash, RAM up to the limit, and nothing else.

    Unicorn maps whole pages. The page that the limit cuts is therefore made of callbacks, and every
    access to it is checked first (`allows_in_last_page`).

    Args:
        ram_bytes: of the board's first RAM, from its start; None for all of it.
        library: the native engine's, for callbacks in C; None for callbacks in Python.

    Raises:
        UserError: more RAM asked for than the board has.
    """

    def __init__(self, cpu: uc.Cpu, board: Board, ram_bytes: int | None, library: Any) -> None:
        ram = board.ram
        if ram_bytes is not None and ram_bytes > ram.size_bytes:
            raise UserError(
                f"--ram {format_limit(ram_bytes)}: {board.name} has only "
                f"{format_limit(ram.size_bytes)}: give less, or another board"
            )
        self._cpu = cpu
        self._board = board
        self.ram_bytes = ram_bytes or ram.size_bytes
        self.ram_end = ram.address + self.ram_bytes
        self._rams: list[tuple[int, int]] = []  # address and size of what is mapped in whole
        for memory in board.memories:
            if memory.kind == "flash":
                cpu.map(memory.address, memory.size_bytes, uc.PROT_READ | uc.PROT_EXEC)
                # Erased flash: run into it, and the core meets an undefined instruction.
                cpu.write(memory.address, b"\xff" * memory.size_bytes)
            elif memory is not ram:
                cpu.map(memory.address, memory.size_bytes, uc.PROT_ALL)
                self._rams.append((memory.address, memory.size_bytes))
        whole_bytes = self.ram_bytes - self.ram_bytes % uc.PAGE_BYTES
        if whole_bytes:
            cpu.map(ram.address, whole_bytes, uc.PROT_ALL)
            self._rams.append((ram.address, whole_bytes))
        self._tlb = Tlb(cpu, self._rams, library)
        self._last_page = _LastPage(
            ram.address + whole_bytes, self.ram_end, reg_write=cpu.address_of("uc_reg_write")
        )
        if whole_bytes < self.ram_bytes:
            self._map_last_page(library)

    def _map_last_page(self, library: Any) -> None:
        cpu, page = self._cpu, self._last_page
        if library is None:
            cpu.map_callbacks(
                page.address, uc.PAGE_BYTES, self._read_last_page, self._write_last_page
            )
            return
        user = ctypes.byref(page)
        read, write = library.ebnn_last_page_read, library.ebnn_last_page_write
        cpu.map_native_callbacks(page.address, uc.PAGE_BYTES, read, write, user)
        last = page.address + uc.PAGE_BYTES - 1
        cpu.hook(uc.HOOK_MEM_DATA_PROT, library.ebnn_last_page_allows, user, page.address, last)

    def hook_invalid(self, callback: Any) -> None:
        """Call `callback` for accesses that Unicorn refuses: no hook reaches into RAM that is
        mapped in whole, where it refuses none, so that stores there stay fast (tlb.py)."""
        first = 0
        for address, size_bytes in sorted(self._rams):
            if first < address:
                self._cpu.hook(uc.HOOK_MEM_INVALID, callback, None, first, address - 1)
            first = address + size_bytes
        self._cpu.hook(uc.HOOK_MEM_INVALID, callback, None, first, _LAST_ADDRESS)

    def _read_last_page(self, offset: int, size: int) -> int:
        return int.from_bytes(self._last_page.bytes[offset : offset + size], "little")

    def _write_last_page(self, offset: int, size: int, value: int) -> None:
        mask = (1 << 8 * size) - 1
        self._last_page.bytes[offset : offset + size] = (value & mask).to_bytes(size, "little")

    def allows_in_last_page(self, address: int, size_bytes: int) -> bool:
        """Whether an access that Unicorn refused lies in the part of the last page that exists."""
        return bool(self._last_page.address <= address and address + size_bytes <= self.ram_end)

    def why_refused(self, address: int, size_bytes: int, is_load: bool) -> int | None:
        """Unicorn's kind of the invalid access that this one would be; None where it is allowed."""
        for memory in self._board.memories:
            end = self.ram_end if memory is self._board.ram else memory.end
            if memory.address <= address and address + size_bytes <= end:
                if memory.kind == "flash" and not is_load:
                    return uc.MEM_WRITE_PROT
                return None
        return uc.MEM_READ_UNMAPPED if is_load else uc.MEM_WRITE_UNMAPPED

    def save_ram(self) -> tuple[tuple[int, bytes], ...]:
        """The contents of every RAM, for `restore_ram`."""
        saved = [(self._last_page.address, bytes(self._last_page.bytes))]
        for memory in self._board.memories:
            end = self._last_page.address if memory is self._board.ram else memory.end
            if memory.kind == "ram" and end > memory.address:
                saved.append((memory.address, self._cpu.read(memory.address, end - memory.address)))
        return tuple(saved)

    def restore_ram(self, saved: tuple[tuple[int, bytes], ...]) -> None:
        (_, self._last_page.bytes[:]), *whole = saved
        for address, data in whole:
            self._cpu.write(address, data)
