"""Which bytes of memory were read and written, and which hold what the firmware put there.

The native engine follows accesses in C (memory_watch.c), the Python engine line by line alike.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from .board import Board, Memory
from .unicorn_library import HOOK_MEM_READ, HOOK_MEM_WRITE, MEM_READ, MEMORY_CALLBACK, Cpu

# Mirrored in memory_watch.c; EXECUTED is added after the run.
READ, WRITTEN, KNOWN, EXECUTED = 1, 2, 4, 8

Access = Callable[[int, int], None]
_ACCESS = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32)


class _Memory(ctypes.Structure):
    _fields_ = (
        ("start", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("flags", ctypes.c_void_p),
    )


class _Watch(ctypes.Structure):
    _fields_ = (
        ("checks", ctypes.c_uint32),
        ("listening", ctypes.c_uint32),
        ("memory_count", ctypes.c_uint32),
        ("unused", ctypes.c_uint32),
        ("memories", ctypes.POINTER(_Memory)),
        ("unknown", _ACCESS),
        ("stored", _ACCESS),
        ("reg_write", ctypes.c_void_p),
    )


class MemoryWatch:
    """Hooks every access of `cpu`; `library` is the native engine's, None to follow in Python.

    `unknown(address, size)` hears of loads with bytes that nothing was stored to since reset, if
    any: constants in flash, and what the host wrote, are known. `stored` hears of stores while
    `listen(True)`. What either raises goes to `failed`.
    """

    def __init__(
        self,
        cpu: Cpu,
        board: Board,
        library: Any,
        failed: Callable[[BaseException], None],
        unknown: Access | None = None,
        stored: Access | None = None,
    ) -> None:
        self._cpu = cpu
        self._memories = board.memories
        self._flags = [(ctypes.c_uint8 * memory.size_bytes)() for memory in self._memories]
        for memory, flags in zip(self._memories, self._flags, strict=True):
            if memory.kind == "flash":
                ctypes.memset(flags, KNOWN, memory.size_bytes)
        self._table = (_Memory * len(self._memories))(
            *(
                _Memory(memory.address, memory.size_bytes, ctypes.addressof(flags))
                for memory, flags in zip(self._memories, self._flags, strict=True)
            )
        )

        def guarded(call: Access | None) -> Any:
            def heard(address: int, size_bytes: int) -> None:
                try:
                    if call is not None:
                        call(address, size_bytes)
                except BaseException as error:  # nothing may pass through Unicorn's frames
                    failed(error)

            return _ACCESS(heard)

        self._watch = _Watch(
            unknown is not None, 0, len(self._memories), 0, self._table,
            guarded(unknown), guarded(stored), cpu.address_of("uc_reg_write"),
        )  # fmt: skip
        if library is None:
            callback: Any = MEMORY_CALLBACK(self._on_access)
            user = None
        else:
            callback, user = library.ebnn_on_access, ctypes.addressof(self._watch)
        cpu.hook(HOOK_MEM_READ | HOOK_MEM_WRITE, callback, user)

    def listen(self, wanted: bool) -> None:
        self._watch.listening = wanted

    def _on_access(
        self, _uc: Any, kind: int, address: int, size_bytes: int, _value: int, _user: Any
    ) -> bool:
        self._cpu.forget_it()
        self.access(kind == MEM_READ, address, size_bytes)
        return True

    def access(self, is_load: bool, address: int, size_bytes: int) -> None:
        """A load or store of the firmware's that Unicorn did not see."""
        found = self._find(address)
        if found is None:
            return
        memory, flags = found
        offset = address - memory.address
        places = range(offset, min(offset + size_bytes, memory.size_bytes))
        known = all(flags[at] & KNOWN for at in places)
        for at in places:
            flags[at] |= READ if is_load else WRITTEN | KNOWN
        if is_load and not known and self._watch.checks:
            self._watch.unknown(address, len(places))
        elif not is_load and self._watch.listening:
            self._watch.stored(address, len(places))

    def _find(self, address: int) -> tuple[Memory, Any] | None:
        for memory, flags in zip(self._memories, self._flags, strict=True):
            if memory.address <= address < memory.end:
                return memory, flags
        return None

    def flags(self, address: int, size_bytes: int) -> bytes:
        """The flags of each byte from `address` on, as far as one memory reaches."""
        found = self._find(address)
        if found is None:
            return b""
        memory, flags = found
        offset = address - memory.address
        count = min(size_bytes, memory.size_bytes - offset)
        return ctypes.string_at(ctypes.addressof(flags) + offset, count)

    def mark(self, address: int, size_bytes: int, flag: int, is_set: bool = True) -> None:
        """Set or clear one flag of some bytes."""
        found = self._find(address)
        if found is None:
            return
        memory, flags = found
        offset = address - memory.address
        before = self.flags(address, size_bytes)
        table = bytes(one | flag if is_set else one & ~flag for one in range(256))
        ctypes.memmove(ctypes.addressof(flags) + offset, before.translate(table), len(before))

    def save_known(self) -> list[bytes]:
        """Which bytes of each memory are known, for `restore_known`."""
        return [bytes(flags) for flags in self._flags]

    def restore_known(self, saved: list[bytes]) -> None:
        """Back to what was known then; what was read and written since stays."""
        for flags, before in zip(self._flags, saved, strict=True):
            now = int.from_bytes(bytes(flags), "little")
            was = int.from_bytes(before, "little")
            mask = int.from_bytes(bytes([KNOWN]) * len(before), "little")
            merged = (now & ~mask | was & mask).to_bytes(len(before), "little")
            ctypes.memmove(flags, merged, len(merged))
