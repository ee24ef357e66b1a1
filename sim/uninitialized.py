"""Reports loads of RAM that nothing was stored to since reset, each instruction once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from . import unicorn_library as uc
from .copies import Transfers, store_of_copy, transfers
from .elf import Elf
from .faults import Fault, Place
from .memory_watch import KNOWN, MemoryWatch
from .thumb import SP, Instruction, Kind
from .thumb_decode import decode
from .thumb_targets import Read

MOST_REPORTS = 1000
# Functions of C libraries that read whole words to find a byte, and may pass the end of it.
_WORD_READERS = frozenset(
    {"strlen", "strnlen", "strcmp", "strncmp", "strcpy", "strncpy", "strcat", "strchr", "memchr",
     "memcmp", "stpcpy", "rawmemchr"}
)  # fmt: skip


@dataclass(frozen=True)
class UninitializedRead:
    """A load of `size_bytes` bytes by `place`; the first unknown one is at `address`."""

    place: Place
    address: int
    size_bytes: int
    what: str  # the variable, `stack` or `heap`

    @property
    def message(self) -> str:
        return f"reads {self.address:#010x} ({self.what}), which was never written"

    def fault(self) -> Fault:
        return Fault("uninitialized", self.message, self.place, self.address)

    def record(self) -> dict[str, Any]:
        return {"address": self.address, **asdict(self.place), "what": self.what}


class UninitializedReads:
    """Judges the loads that a `MemoryWatch` finds unknown bytes in; `found` hears of real ones."""

    def __init__(
        self,
        cpu: uc.Cpu,
        elf: Elf,
        read: Read,
        place_of: Callable[[int], Place],
        name_of: Callable[[int], str],
        found: Callable[[UninitializedRead], None],
    ) -> None:
        self._cpu = cpu
        self._elf = elf
        self._read = read
        self._place_of = place_of
        self._name_of = name_of
        self._found = found
        self._pending: dict[tuple[int, int], int] = {}  # store and register -> unknown bytes
        self._decoded: dict[int, tuple[Instruction, Transfers | None]] = {}
        self._stores: dict[tuple[int, int], int | None] = {}
        self.reports: dict[int, UninitializedRead] = {}
        self.watch: MemoryWatch | None = None

    def unknown(self, address: int, size_bytes: int) -> None:
        """A load found bytes that nothing was stored to."""
        pc = self._cpu.register(uc.REG_PC)
        if pc in self.reports or len(self.reports) >= MOST_REPORTS or self.watch is None:
            return
        known = [bool(flag & KNOWN) for flag in self.watch.flags(address, size_bytes)]
        instruction, moved = self._instruction(pc)
        register = moved.register_at(address, self._register) if moved else None
        if register is not None:
            if self._is_discarded(instruction, register):
                return
            store = self._store(instruction, register)
            if store is not None:
                mask = sum(1 << at for at, is_known in enumerate(known) if not is_known)
                self._pending[store, register] = mask
                self.watch.listen(True)
                return
        function = self._elf.function_at(pc)
        if any(known) and function is not None and function.name in _WORD_READERS:
            return
        first = address + known.index(False)
        report = UninitializedRead(self._place_of(pc), first, size_bytes, self._name_of(first))
        self.reports[pc] = report
        self._found(report)

    def stored(self, address: int, size_bytes: int) -> None:
        """A store, while copies are under way: what it stores may be unknown."""
        pc = self._cpu.register(uc.REG_PC)
        _, moved = self._instruction(pc)
        register = moved.register_at(address, self._register) if moved else None
        mask = self._pending.pop((pc, -1 if register is None else register), 0)
        if self.watch is None:
            return
        for at in range(size_bytes):
            if mask >> at & 1:
                self.watch.mark(address + at, 1, KNOWN, is_set=False)
        self.watch.listen(bool(self._pending))

    def _register(self, number: int) -> int:
        return self._cpu.register(uc.CORE_REGISTERS[number])

    def _instruction(self, pc: int) -> tuple[Instruction, Transfers | None]:
        known = self._decoded.get(pc)
        if known is None:
            code = self._read(pc, 4)
            instruction = decode(code, pc)
            known = self._decoded[pc] = instruction, transfers(instruction, code)
        return known

    def _store(self, load: Instruction, register: int) -> int | None:
        key = load.address, register
        if key not in self._stores:
            self._stores[key] = store_of_copy(self._read, load, register)
        return self._stores[key]

    @staticmethod
    def _is_discarded(instruction: Instruction, register: int) -> bool:
        """POP into r0 to r3 is how compilers give a small frame back, not a use of it."""
        pops = instruction.kind in (Kind.LOAD_MULTIPLE, Kind.POP_PC)
        return pops and instruction.address_registers == 1 << SP and register < 4
