"""A board that QEMU emulates: every byte and every prediction, but no cycles."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ebnn.board.harness_elf import HarnessElf
from ebnn.board.process_link import ProcessLink
from ebnn.sim.board import Board
from ebnn.sim.core import core_named
from ebnn.sim.elf import Elf
from ebnn.sim.errors import UserError

PROGRAM = "qemu-system-arm"
HOW_TO_GET = "apt-get install qemu-system-arm"


@dataclass(frozen=True)
class QemuMachine:
    """Where a machine of QEMU 7.2 has memory, and its serial ports by their data registers.

    Source: hw/arm/mps2.c, nrf51_soc.c, stm32f100_soc.h, stm32f405_soc.h of QEMU.
    """

    name: str
    core: str
    flash: range
    ram: range
    uarts: tuple[int, ...] = ()


_KIB = 1 << 10


def _memory(start: int, kib: int) -> range:
    return range(start, start + kib * _KIB)


MACHINES = (
    QemuMachine("microbit", "cortex-m0", _memory(0, 256), _memory(0x2000_0000, 16), (0x4000_251C,)),
    QemuMachine(
        "stm32vldiscovery", "cortex-m3", _memory(0x0800_0000, 128), _memory(0x2000_0000, 8)
    ),
    QemuMachine(
        "netduinoplus2",
        "cortex-m4f",
        _memory(0x0800_0000, 1024),
        _memory(0x2000_0000, 128),
        (0x4001_1004, 0x4000_4404),
    ),
    QemuMachine("mps2-an385", "cortex-m3", _memory(0, 4096), _memory(0x2000_0000, 4096)),
    QemuMachine("mps2-an386", "cortex-m4f", _memory(0, 4096), _memory(0x2000_0000, 4096)),
    QemuMachine("mps2-an500", "cortex-m7", _memory(0, 4096), _memory(0x2000_0000, 4096)),
)
# What runs the code of a core: ARMv6-M's runs on every one, ARMv7-M's on those of more.
_RUNS = {
    "cortex-m0": ("cortex-m0", "cortex-m0plus"),
    "cortex-m3": ("cortex-m0", "cortex-m0plus", "cortex-m3"),
    "cortex-m4f": ("cortex-m0", "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m4f"),
    "cortex-m7": ("cortex-m7",),
}


def machine_for(elf: Elf, core: str, name: str | None = None) -> QemuMachine:
    """The machine `name`, or the first whose core and memories fit the ELF.

    Raises:
        UserError: none does.
    """
    stack_top = elf.symbol("_stack_top").address
    for machine in MACHINES:
        if name is not None and machine.name != name:
            continue
        fits = stack_top - 1 in machine.ram and all(
            segment.load_address in machine.flash for segment in elf.segments if segment.data
        )
        if fits and core in _RUNS[machine.core]:
            return machine
    title = core_named(core).title
    asked = f"QEMU's {name} is no machine for it" if name else "no machine of QEMU fits"
    raise UserError(
        f"{elf.path}: {asked}: {title}, code at {min(s.load_address for s in elf.segments):#x},"
        f" stack from {stack_top:#x}; known are {', '.join(m.name for m in MACHINES)};"
        " a smaller RAM may help: ebnn build --ram 16k"
    )


def open_qemu(harness: HarnessElf, board: Board, machine_name: str | None = None) -> ProcessLink:
    """Start QEMU with the harness's ELF.

    Raises:
        UserError: QEMU is missing, or has no machine for this ELF. `LinkFailed`: it does not run.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise UserError(f"{PROGRAM} is not installed: {HOW_TO_GET}")
    machine = machine_for(harness.elf, board.core, machine_name)
    command = [program, "-M", machine.name, "-display", "none", "-monitor", "none"]
    command += ["-chardev", "stdio,id=lines,signal=off", "-kernel", str(Path(harness.path))]
    if harness.output == "semihosting":
        command += ["-semihosting-config", "enable=on,target=native,chardev=lines"]
    elif harness.output == "uart":
        data = harness.elf.symbol("uart_data")
        address = int.from_bytes(harness.bytes_at(data.address, 4), "little")
        if address not in machine.uarts:
            raise UserError(
                f"{harness.path}: QEMU's {machine.name} has no UART at {address:#x}:"
                " build with --output semihosting"
            )
        command += ["-serial", "null"] * machine.uarts.index(address) + ["-serial", "chardev:lines"]
    else:
        raise UserError(
            f"{harness.path}: QEMU has no probe to read {harness.output} with:"
            " build with --output semihosting, or use --via gdb"
        )
    return ProcessLink(command, {"via": "qemu", "at": machine.name})
