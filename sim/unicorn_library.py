"""The part of Unicorn's C interface that the machine uses, through ctypes.

Unicorn's own Python package is only located, not imported: loading its shared library alone takes
a quarter of the time, and the native engine needs the functions' addresses anyway.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from .errors import UserError

# unicorn/unicorn.h and unicorn/arm.h of Unicorn 2.1
ARCH_ARM = 1
MODE_THUMB = 16
CPU_MODELS = {
    "cortex-m0": 7,
    "cortex-m0plus": 7,
    "cortex-m3": 8,
    "cortex-m4": 9,
    "cortex-m4f": 9,
    "cortex-m7": 10,
    "cortex-m33": 11,
}
PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXEC, PROT_ALL = 0, 1, 2, 4, 7
PAGE_BYTES = 1024
HOOK_INTR, HOOK_CODE, HOOK_BLOCK = 1, 4, 8
HOOK_TLB_FILL = 1 << 17
HOOK_MEM_DATA_PROT = 1 << 7 | 1 << 8
HOOK_MEM_INVALID, HOOK_MEM_READ, HOOK_MEM_WRITE = 0x3F0, 1 << 10, 1 << 11
MEM_READ, MEM_FETCH = 16, 18
MEM_READ_UNMAPPED, MEM_WRITE_UNMAPPED, MEM_FETCH_UNMAPPED = 19, 20, 21
MEM_WRITE_PROT, MEM_READ_PROT, MEM_FETCH_PROT = 22, 23, 24
ERR_OK, ERR_INSN_INVALID, ERR_EXCEPTION = 0, 10, 21

REG_APSR, REG_CPSR, REG_LR, REG_PC, REG_SP = 1, 3, 10, 11, 12
REG_R0, REG_S0, REG_D0, REG_FPSCR = 66, 79, 14, 6
REG_IPSR, REG_MSP, REG_PSP, REG_CONTROL = 114, 115, 116, 117
REG_XPSR, REG_EPSR, REG_PRIMASK = 120, 121, 123
REG_XPSR_ALL = 138  # to write flags, IT state and exception number at once
CORE_REGISTERS = (*range(REG_R0, REG_R0 + 13), REG_SP, REG_LR, REG_PC)

_BUFFER_BYTES = 4096
_EPSR_THUMB = 1 << 24
_CTL_WRITE = 1 << 30
_CTL_CPU_MODEL, _CTL_TB_REMOVE_CACHE, _CTL_TB_FLUSH = 7, 9, 10
_CTL_TLB_TYPE, _CTL_TCG_BUFFER_SIZE = 12, 13
_TLB_VIRTUAL = 1
# For translated code, which is thrown away when it is full. Unicorn's own choice is 1 GiB, for each
# core, and it ends the process where that much address space is not to be had.
_TRANSLATED_BYTES = 64 << 20

BLOCK_CALLBACK = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p
)
INTERRUPT_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)
MEMORY_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_bool,
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_uint64,
    ctypes.c_int,
    ctypes.c_int64,
    ctypes.c_void_p,
)
MEMORY_READ_CALLBACK = ctypes.CFUNCTYPE(
    None,
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_uint64,
    ctypes.c_int,
    ctypes.c_int64,
    ctypes.c_void_p,
)


class TlbEntry(ctypes.Structure):
    """unicorn/unicorn.h's `uc_tlb_entry`: `address` is where the page lies."""

    _fields_ = (("address", ctypes.c_uint64), ("permissions", ctypes.c_uint32))


TLB_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_bool,
    ctypes.c_void_p,
    ctypes.c_uint64,
    ctypes.c_int,
    ctypes.POINTER(TlbEntry),
    ctypes.c_void_p,
)
MMIO_READ_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint, ctypes.c_void_p
)
MMIO_WRITE_CALLBACK = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint, ctypes.c_uint64, ctypes.c_void_p
)

# env->features of the models below (enum arm_features in Unicorn's target/arm/cpu.h), and the bit
# that says "Armv7-M main profile", without which every unaligned access traps as it does on M0.
_MAIN_PROFILE_FEATURES = {
    "cortex-m3": 0x500102C2E8,
    "cortex-m4": 0x540102C2E8,
    "cortex-m4f": 0x540102C2E8,
    "cortex-m7": 0x540102C2E8,
    "cortex-m33": 0x740902C2E8,
}
_FEATURE_M_MAIN = 1 << 38


@cache
def load_library() -> Any:
    """Unicorn's shared library, from the installed `unicorn` package."""
    package = importlib.util.find_spec("unicorn")
    if package is None or package.origin is None:
        raise UserError("the package unicorn is not installed: pip install 'unicorn>=2.1.3,<2.2'")
    folder = Path(package.origin).parent / "lib"
    name = {"darwin": "libunicorn.2.dylib", "win32": "unicorn.dll"}.get(
        sys.platform, "libunicorn.so.2"
    )
    try:
        library = ctypes.CDLL(str(folder / name))
    except OSError as error:
        raise UserError(f"{folder / name}: cannot load Unicorn ({error})") from error
    pointer, u64, i32 = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int
    for function, arguments in {
        "uc_open": [i32, i32, pointer],
        "uc_close": [pointer],
        "uc_mem_map": [pointer, u64, u64, ctypes.c_uint32],
        "uc_mem_protect": [pointer, u64, u64, ctypes.c_uint32],
        "uc_mem_read": [pointer, u64, pointer, u64],
        "uc_mem_write": [pointer, u64, pointer, u64],
        "uc_mmio_map": [pointer, u64, u64, pointer, pointer, pointer, pointer],
        "uc_reg_read": [pointer, i32, pointer],
        "uc_reg_write": [pointer, i32, pointer],
        "uc_reg_read_batch": [pointer, pointer, pointer, i32],
        "uc_reg_write_batch": [pointer, pointer, pointer, i32],
        "uc_emu_start": [pointer, u64, u64, u64, ctypes.c_size_t],
        "uc_emu_stop": [pointer],
        "uc_hook_del": [pointer, ctypes.c_size_t],
        "uc_hook_add": [pointer, pointer, i32, pointer, pointer, u64, u64],
        "uc_context_alloc": [pointer, pointer],
        "uc_context_save": [pointer, pointer],
        "uc_context_restore": [pointer, pointer],
        "uc_context_free": [pointer],
    }.items():
        getattr(library, function).argtypes = arguments
    library.uc_context_size.argtypes = [pointer]
    library.uc_context_size.restype = ctypes.c_size_t
    library.uc_strerror.restype = ctypes.c_char_p
    return library


class UnicornError(Exception):
    """An error code from Unicorn that says the machine used it wrongly."""


class _Closed:
    """Stands for the library once the core is closed: a null handle would crash the process."""

    def __getattr__(self, name: str) -> Any:
        raise UserError("the machine is closed")


class Cpu:
    """One emulated core of Unicorn, with memory maps, registers and hooks."""

    def __init__(self, core: str) -> None:
        self.library: Any = load_library()
        self.handle = ctypes.c_void_p()
        # Without MODE_MCLASS: with it Unicorn 2.1 always takes its Cortex-M33 model, whatever
        # cpu model is asked for (cpu_arm_init), and M0 would run SDIV and unaligned accesses.
        self._check(self.library.uc_open(ARCH_ARM, MODE_THUMB, ctypes.byref(self.handle)))
        self._control(_CTL_CPU_MODEL, 1, ctypes.c_int(CPU_MODELS[core]))
        self._control(_CTL_TCG_BUFFER_SIZE, 1, ctypes.c_uint32(_TRANSLATED_BYTES))
        self._value = ctypes.c_uint32()
        self._buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
        self._value_pointer = ctypes.byref(self._value)
        self.on_host_write: Callable[[int, int], None] | None = None
        """Hears of `write`, as address and size in bytes: no hook of Unicorn's does."""
        self._kept: list[Any] = []  # callbacks that Unicorn holds addresses of
        self.traps_unaligned = core in ("cortex-m0", "cortex-m0plus") or self._trap_unaligned(core)

    def close(self) -> None:
        """Give Unicorn's memory back; what is asked of it later raises `UserError`."""
        if self.handle:
            self.library.uc_close(self.handle)
            self.handle = ctypes.c_void_p()
            self.library = _Closed()

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self.close()

    def _check(self, code: int) -> None:
        if code != ERR_OK:
            raise UnicornError(self.library.uc_strerror(code).decode())

    def address_of(self, function: str) -> int | None:
        """Where that function of Unicorn's lies, for the native engine to call."""
        return ctypes.cast(getattr(self.library, function), ctypes.c_void_p).value

    def _control(self, what: int, count: int, *arguments: Any) -> None:
        command = ctypes.c_int32(what | count << 26 | _CTL_WRITE)
        self._check(self.library.uc_ctl(self.handle, command, *arguments))

    def _trap_unaligned(self, core: str) -> bool:
        """Make every unaligned access raise an exception; False where this Unicorn cannot.

        Unicorn aligns strictly only for cores without the main profile. Its flag lies in the state
        that the context functions save and restore; it decides nothing else but access to
        BASEPRI and FAULTMASK. Only the exact flags expected, found exactly once, are changed.
        """
        context = self.save_context()
        size_bytes = self.library.uc_context_size(self.handle)
        raw = ctypes.string_at(context, size_bytes)
        wanted = _MAIN_PROFILE_FEATURES[core].to_bytes(8, "little")
        places = [at for at in range(0, size_bytes - 7, 8) if raw[at : at + 8] == wanted]
        if len(places) == 1 and context.value is not None:
            flags = ctypes.c_uint64.from_address(context.value + places[0])
            flags.value &= ~_FEATURE_M_MAIN
            self.restore_context(context)
        self.library.uc_context_free(context)
        return len(places) == 1

    def use_virtual_tlb(self) -> None:
        """From now on HOOK_TLB_FILL says what may be done with a page."""
        self._control(_CTL_TLB_TYPE, 1, ctypes.c_int(_TLB_VIRTUAL))

    def forget_it(self) -> None:
        """Clear the IT state that Unicorn leaves behind a hook on memory: engine.h."""
        self.set_register(REG_EPSR, _EPSR_THUMB)

    def map(self, address: int, size_bytes: int, permissions: int) -> None:
        self._check(self.library.uc_mem_map(self.handle, address, size_bytes, permissions))

    def map_callbacks(self, address: int, size_bytes: int, read: Any, write: Any) -> None:
        """Memory that calls Python: `read(offset, bytes) -> int`, `write(offset, bytes, value)`.

        Each access first raises a protection callback, in which PC is exact.
        """
        read_callback = MMIO_READ_CALLBACK(lambda _uc, offset, size, _user: read(offset, size))
        write_callback = MMIO_WRITE_CALLBACK(
            lambda _uc, offset, size, value, _user: write(offset, size, value)
        )
        self.map_native_callbacks(address, size_bytes, read_callback, write_callback)

    def map_native_callbacks(
        self, address: int, size_bytes: int, read: Any, write: Any, user: Any = None
    ) -> None:
        """The same with C functions, which get `user` as their last argument."""
        self._kept += [read, write, user]
        self._check(
            self.library.uc_mmio_map(
                self.handle,
                address,
                size_bytes,
                ctypes.cast(read, ctypes.c_void_p),
                user,
                ctypes.cast(write, ctypes.c_void_p),
                user,
            )
        )
        self._check(self.library.uc_mem_protect(self.handle, address, size_bytes, PROT_NONE))

    def read(self, address: int, size_bytes: int) -> bytes:
        if size_bytes > _BUFFER_BYTES:
            buffer = ctypes.create_string_buffer(size_bytes)
        else:
            buffer = self._buffer  # ctypes makes a type for each size: slow for code's many sizes
        self._check(self.library.uc_mem_read(self.handle, address, buffer, size_bytes))
        return ctypes.string_at(buffer, size_bytes)

    def write(self, address: int, data: bytes) -> None:
        self._check(self.library.uc_mem_write(self.handle, address, data, len(data)))
        if self.on_host_write is not None:
            self.on_host_write(address, len(data))

    def register(self, number: int) -> int:
        self.library.uc_reg_read(self.handle, number, self._value_pointer)
        return self._value.value

    def registers_reader(self, numbers: Sequence[int]) -> Callable[[], list[int]]:
        """What reads these registers at once: a call of the library takes longer than its work."""
        count = len(numbers)
        values = (ctypes.c_uint32 * count)()
        first = ctypes.addressof(values)
        places = (ctypes.c_void_p * count)(*(first + 4 * index for index in range(count)))
        which = (ctypes.c_int * count)(*numbers)
        read_batch, handle = self.library.uc_reg_read_batch, self.handle

        def read() -> list[int]:
            read_batch(handle, which, places, count)
            return values[:]

        return read

    def set_register(self, number: int, value: int) -> None:
        self._value.value = value & 0xFFFFFFFF
        self.library.uc_reg_write(self.handle, number, self._value_pointer)

    def advance_it(self) -> None:
        """Step ITSTATE (CPSR bits 26:25 and 15:10) past an instruction (ARM A7.3.3, ITAdvance)."""
        cpsr = self.register(REG_CPSR)
        state = (cpsr >> 25 & 3) | (cpsr >> 10 & 0x3F) << 2
        if state & 15 == 0:
            return
        state = 0 if state & 7 == 0 else state & 0xE0 | state << 1 & 0x1F
        cpsr &= ~(3 << 25 | 0x3F << 10)
        self.set_register(REG_CPSR, cpsr | (state & 3) << 25 | state >> 2 << 10)

    def hook(
        self, kind: int, callback: Any, user: Any = None, first: int = 1, last: int = 0
    ) -> int:
        """Call `callback` (a C function or its address); for every address unless first <= last.

        Returns what `unhook` takes.
        """
        self._kept.append(callback)
        hook = ctypes.c_size_t()
        self._check(
            self.library.uc_hook_add(
                self.handle,
                ctypes.byref(hook),
                kind,
                ctypes.cast(callback, ctypes.c_void_p),
                user,
                first,
                last,
            )
        )
        return hook.value

    def unhook(self, hook: int) -> None:
        self._check(self.library.uc_hook_del(self.handle, hook))

    def forget_all_translations(self) -> None:
        """Translate all code again when it is next run, with the hooks of then."""
        self._control(_CTL_TB_FLUSH, 0)

    def forget_translation(self, first: int, end: int) -> None:
        """Translate code in [first, end) again when it is next run, with the hooks of then."""
        self._control(_CTL_TB_REMOVE_CACHE, 2, ctypes.c_uint64(first), ctypes.c_uint64(end))

    def run(self, address: int) -> int:
        """Run from `address` until something stops it; Unicorn's error code."""
        # The odd end address is never reached: stopping is the engine's business.
        code: int = self.library.uc_emu_start(self.handle, address | 1, 0xFFFFFFFF, 0, 0)
        return code

    def stop(self) -> None:
        self.library.uc_emu_stop(self.handle)

    def error_text(self, code: int) -> str:
        text: bytes = self.library.uc_strerror(code)
        return text.decode()

    def context_bytes(self) -> bytes:
        """Every register, for `set_context_bytes` of this same core."""
        context = self.save_context()
        raw = ctypes.string_at(context, self.library.uc_context_size(self.handle))
        self.library.uc_context_free(context)
        return raw

    def set_context_bytes(self, raw: bytes) -> None:
        context = self.save_context()
        ctypes.memmove(context, raw, len(raw))
        self.restore_context(context)
        self.library.uc_context_free(context)

    def save_context(self) -> Any:
        context = ctypes.c_void_p()
        self._check(self.library.uc_context_alloc(self.handle, ctypes.byref(context)))
        self._check(self.library.uc_context_save(self.handle, context))
        return context

    def restore_context(self, context: Any) -> None:
        self._check(self.library.uc_context_restore(self.handle, context))


class RegisterSet:
    """Registers of `cpu`, in this order, that are read or written in one go."""

    def __init__(self, cpu: Cpu, numbers: Sequence[int]) -> None:
        self._cpu = cpu
        self._count = len(numbers)
        self._numbers = (ctypes.c_int * self._count)(*numbers)
        self._values = (ctypes.c_uint32 * self._count)()
        first = ctypes.addressof(self._values)
        self._pointers = (ctypes.c_void_p * self._count)(
            *(first + 4 * index for index in range(self._count))
        )

    def read(self) -> list[int]:
        cpu = self._cpu
        cpu.library.uc_reg_read_batch(cpu.handle, self._numbers, self._pointers, self._count)
        return list(self._values)

    def write(self, *values: int) -> None:
        """One after the other, so that a later one finds the earlier ones' effects."""
        self._values[:] = list(values)
        cpu = self._cpu
        cpu.library.uc_reg_write_batch(cpu.handle, self._numbers, self._pointers, self._count)
