"""A debug probe for pyOCD with the simulator behind it: the debug registers of a Cortex-M (ARMv7-M
ARM C1) in front of a `Machine`, as far as flashing, resetting, halting and reading RAM need them.

pyOCD is the real one; its flash algorithms have no part in this: it is told that flash is RAM.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from pyocd.core.memory_interface import MemoryInterface
from pyocd.core.memory_map import MemoryMap, RamRegion
from pyocd.coresight.coresight_target import CoreSightTarget
from pyocd.probe.debug_probe import DebugProbe

from ebnn.board.harness_elf import HarnessElf
from ebnn.sim import Machine
from ebnn.sim import unicorn_library as uc
from ebnn.sim.board import Board

_ROM_TABLE, _SCS = 0xE00FF000, 0xE000E000
_CPUID, _AIRCR, _DFSR = 0xE000ED00, 0xE000ED0C, 0xE000ED30
_DHCSR, _DCRSR, _DCRDR, _DEMCR = 0xE000EDF0, 0xE000EDF4, 0xE000EDF8, 0xE000EDFC
_S_REGRDY, _S_HALT, _S_RESET_ST = 1 << 16, 1 << 17, 1 << 25
_C_DEBUGEN, _C_HALT = 1, 2
_VC_CORERESET, _SYSRESETREQ, _DFSR_BKPT = 1, 1 << 2, 1 << 1
_PROGRAMMABLE_BYTES = 64 << 10
_IDS = {
    # A class-1 ROM table, and the SCS of an ARMv7-M core (PIDR part 0x00c of Arm's).
    _ROM_TABLE: (0x04, 0xC4, 0xB4, 0x0B, 0x00, 0x0D, 0x10, 0x05, 0xB1),
    _SCS: (0x04, 0x0C, 0xB0, 0x0B, 0x00, 0x0D, 0xE0, 0x05, 0xB1),
}
_ID_OFFSETS = (0xFD0, 0xFE0, 0xFE4, 0xFE8, 0xFEC, 0xFF0, 0xFF4, 0xFF8, 0xFFC)


class SimulatedCore(MemoryInterface):  # type: ignore[misc]
    """The memory behind the probe's access port. Time passes when somebody looks."""

    def __init__(self, harness: HarnessElf, board: Board) -> None:
        self._harness, self._board = harness, board
        self._registers: dict[int, int] = {_CPUID: 0x410FC241}
        self._halted = self._was_reset = True
        self._programmed: list[tuple[int, bytes]] = []
        self._steps: list[str] = []
        self.is_lost = False
        for base, ids in _IDS.items():
            self._registers |= {
                base + at: value for at, value in zip(_ID_OFFSETS, ids, strict=True)
            }
        self._registers[_ROM_TABLE] = (_SCS - _ROM_TABLE) & 0xFFFFF000 | 3
        self._machine = self._fresh_machine()

    def _fresh_machine(self) -> Machine:
        """With nothing in its flash but what was programmed through the probe."""
        machine = Machine(self._harness.path, board=self._board, output=io.StringIO())
        machine.write(self._board.flash.address, b"\xff" * _PROGRAMMABLE_BYTES)
        for address, data in self._programmed:
            machine.write(address, data)
        # Where the core stops to be looked at, if its harness does not stop by itself.
        samples = self._harness.samples
        self._steps = ["stack_paint", "infer_between_readings"] * samples + ["output_again"]
        return machine

    def _advance(self) -> None:
        if self._halted:
            return
        if self._harness.output == "semihosting":
            self._machine.run_until("semihosting_call")  # its first instruction is the BKPT
            self._halted = True
            self._registers[_DFSR] = _DFSR_BKPT
        elif self._steps:
            self._machine.run_until(self._steps.pop(0))

    def _core_register(self, number: int) -> tuple[Callable[[], int], Callable[[int], None]]:
        machine, cpu = self._machine, self._machine._cpu
        if number == 15:

            def jump(value: int) -> None:
                machine._execution.pc = value & ~1
                machine._engine.jump()

            return lambda: machine._execution.pc, jump
        if number < 15:
            register = uc.CORE_REGISTERS[number]
            return (
                lambda: int(cpu.register(register)),
                lambda value: cpu.set_register(register, value),
            )
        return lambda: 1 << 24, lambda value: None  # xPSR

    def _read_word(self, address: int) -> int:
        if self.is_lost:
            from pyocd.core.exceptions import ProbeDisconnected

            raise ProbeDisconnected("the probe was unplugged")
        if address == _DHCSR:
            self._advance()
            status = _C_DEBUGEN | _S_REGRDY | (_S_HALT | _C_HALT if self._halted else 0)
            status |= _S_RESET_ST if self._was_reset else 0
            self._was_reset = False
            return status
        if address >= 0xE0000000:
            return self._registers.get(address, 0)
        return int.from_bytes(self._machine.read(address, 4), "little")

    def _write_word(self, address: int, value: int) -> None:
        if address == _AIRCR and value & _SYSRESETREQ:
            self._machine.close()
            self._machine = self._fresh_machine()
            self._was_reset = True
            self._halted = bool(self._registers.get(_DEMCR, 0) & _VC_CORERESET)
        elif address == _DHCSR:
            self._halted = bool(value & _C_HALT)
        elif address == _DCRSR:
            read, write = self._core_register(value & 0x7F)
            if value & 1 << 16:
                write(self._registers[_DCRDR])
            else:
                self._registers[_DCRDR] = read()
        elif address == _DFSR:
            self._registers[_DFSR] = self._registers.get(_DFSR, 0) & ~value
        elif address >= 0xE0000000:
            if address != _CPUID:
                self._registers[address] = value
        else:
            self._store(address, value.to_bytes(4, "little"))

    def _store(self, address: int, data: bytes) -> None:
        self._machine.write(address, data)
        if address < self._board.flash.end and address >= self._board.flash.address:
            self._programmed.append((address, data))

    # --- pyOCD's interface ----------------------------------------------------------------

    def read_memory(self, addr: int, transfer_size: int = 32, now: bool = True, **_: Any) -> Any:
        word = self._read_word(addr & ~3) >> 8 * (addr & 3)
        value = word & ((1 << transfer_size) - 1)
        return value if now else lambda: value

    def write_memory(self, addr: int, data: int, transfer_size: int = 32, **_: Any) -> None:
        if transfer_size == 32:
            self._write_word(addr, data)
        else:
            self._store(addr, data.to_bytes(transfer_size // 8, "little"))

    def read_memory_block32(self, addr: int, size: int, **_: Any) -> list[int]:
        if addr < 0xE0000000:
            self._advance()
        return [self._read_word(addr + 4 * index) for index in range(size)]

    def write_memory_block32(self, addr: int, data: list[int], **_: Any) -> None:
        for index, word in enumerate(data):
            self._write_word(addr + 4 * index, word)

    def read_memory_block8(self, addr: int, size: int, **_: Any) -> list[int]:
        if addr < 0xE0000000:
            self._advance()
            return list(self._machine.read(addr, size))
        return [self.read_memory(addr + index, 8) for index in range(size)]

    def write_memory_block8(self, addr: int, data: list[int], **_: Any) -> None:
        self._store(addr, bytes(data))


class SimulatedProbe(DebugProbe):  # type: ignore[misc]
    """A probe on SWD with one AHB access port."""

    def __init__(self, core: SimulatedCore, unique_id: str = "SIM0") -> None:
        super().__init__()
        self.core = core
        self._unique_id = unique_id
        self._is_open = False

    vendor_name = "ebnn"
    product_name = "simulated probe"
    supported_wire_protocols = (DebugProbe.Protocol.DEFAULT, DebugProbe.Protocol.SWD)
    wire_protocol = DebugProbe.Protocol.SWD
    capabilities = frozenset(
        {DebugProbe.Capability.MANAGED_AP_SELECTION, DebugProbe.Capability.MANAGED_DPBANKSEL}
    )

    @property
    def unique_id(self) -> str:
        return self._unique_id

    @property
    def is_open(self) -> bool:
        return self._is_open

    def open(self) -> None:
        self._is_open = True

    def close(self) -> None:
        self._is_open = False

    def connect(self, protocol: Any = None) -> None:
        pass

    def disconnect(self) -> None:
        pass

    def set_clock(self, frequency: float) -> None:
        pass

    def reset(self) -> None:
        self.core.write_memory(_AIRCR, _SYSRESETREQ)

    def assert_reset(self, asserted: bool) -> None:
        pass

    def is_reset_asserted(self) -> bool:
        return False

    def read_dp(self, addr: int, now: bool = True) -> Any:
        # DPIDR of a DPv1; CTRL/STAT with its power-ups acknowledged; an empty RDBUFF.
        value = {0x0: 0x2BA01477, 0x4: 0xF0000040}.get(addr & 0xF, 0)
        return value if now else lambda: value

    def write_dp(self, addr: int, data: int) -> None:
        pass

    def read_ap(self, addr: int, now: bool = True) -> Any:
        # IDR of an AHB-AP, BASE, CSW with the device enabled; port 0 only.
        values = {0xFC: 0x24770011, 0xF8: _ROM_TABLE | 3, 0x00: 0x23000042}
        value = values.get(addr & 0xFF, 0) if addr >> 24 == 0 else 0
        return value if now else lambda: value

    def write_ap(self, addr: int, data: int) -> None:
        pass

    def get_memory_interface_for_ap(self, ap_address: Any) -> MemoryInterface:
        return self.core


def target_class(board: Board) -> type:
    """What `--target` names: a chip of the board's memories, its flash as RAM."""

    class SimulatedChip(CoreSightTarget):  # type: ignore[misc]
        VENDOR = "ebnn"

        def __init__(self, session: Any) -> None:
            regions = [
                RamRegion(start=memory.address, length=memory.size_bytes)
                for memory in board.memories
            ]
            super().__init__(session, MemoryMap(*regions))

    return SimulatedChip
