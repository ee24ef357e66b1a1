"""Which pages Unicorn may take for pages without code, so that stores to them are fast.

A store to a page that may be executed goes through Unicorn's slow path, which looks for code that
was translated from there: in the demo's network that is two thirds of the time. By itself Unicorn
takes all RAM to be executable. Here a page of RAM becomes executable when code is first fetched
from it. Everywhere an address is its own translation.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from .unicorn_library import (
    HOOK_TLB_FILL,
    MEM_FETCH,
    PAGE_BYTES,
    PROT_ALL,
    PROT_READ,
    PROT_WRITE,
    TLB_CALLBACK,
    Cpu,
)


class _Pages(ctypes.Structure):
    """tlb.c's `tlb_pages`."""

    _fields_ = (
        ("start", ctypes.c_uint64),
        ("fetched", ctypes.c_void_p),
        ("reg_write", ctypes.c_void_p),
    )


class Tlb:
    """Takes over the TLB of `cpu`, which lasts no longer than this.

    Args:
        rams: address and size in bytes of each RAM. No other hook of Unicorn's on memory may reach
            into one, or its stores are slow after all.
        library: the native engine's, for a callback in C; None for one in Python.
    """

    def __init__(self, cpu: Cpu, rams: Sequence[tuple[int, int]], library: Any) -> None:
        self._cpu = cpu
        self._library = library
        self._kept: list[Any] = []
        cpu.use_virtual_tlb()
        for address, size_bytes in rams:
            fetched = (ctypes.c_uint8 * (size_bytes // PAGE_BYTES))()
            self._hook(address, fetched, address, address + size_bytes - 1)
        self._hook(0, None)  # hooks are asked in turn: this one hears of the rest

    def _hook(self, start: int, fetched: Any, *bounds: int) -> None:
        where = ctypes.addressof(fetched) if fetched else None
        pages = _Pages(start, where, self._cpu.address_of("uc_reg_write"))
        self._kept += [fetched, pages]
        callback = self._callback(start, fetched)
        if self._library is not None:
            callback = self._library.ebnn_fill_tlb
        self._cpu.hook(HOOK_TLB_FILL, callback, ctypes.addressof(pages), *bounds)

    def _callback(self, start: int, fetched: Any) -> Any:
        """tlb.c line by line."""

        def fill(_uc: Any, address: int, kind: int, entry: Any, _user: Any) -> bool:
            entry.contents.address = address
            entry.contents.permissions = PROT_ALL
            if fetched is not None:
                page = (address - start) // PAGE_BYTES
                if kind == MEM_FETCH:
                    fetched[page] = 1
                if not fetched[page]:
                    entry.contents.permissions = PROT_READ | PROT_WRITE
            if kind != MEM_FETCH:
                self._cpu.forget_it()
            return True

        return TLB_CALLBACK(fill)
