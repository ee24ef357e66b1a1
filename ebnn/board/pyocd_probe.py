"""A debug probe through pyOCD: CMSIS-DAP (Pico probe, DAPLink, MCU-Link), ST-LINK, J-Link."""

from __future__ import annotations

import logging
from typing import Any

from ebnn.board.harness_elf import HarnessElf
from ebnn.board.link import LinkFailed
from ebnn.sim.errors import UserError

_RTT_ID_BYTES = 16
_FOR_TARGET = "give --target (pyocd list --targets; pyocd pack install CHIP for more)"


class PyocdLink:
    """A board whose harness is flashed and held at reset; the first `read` lets it go."""

    def __init__(self, session: Any, harness: HarnessElf, load: bool) -> None:
        self._session = session
        self._taken = bytearray()  # by semihosting
        self._rtt: Any = None
        self._runs = False
        try:
            session.open()
            self._target = session.target
            self.facts: dict[str, Any] = {
                "via": "pyocd",
                "at": session.probe.unique_id,
                "probe": session.probe.description,
                "target": session.board.target_type,
            }
            self._prepare(harness, load)
        except LinkFailed:
            self.close()
            raise
        except _errors() as error:
            self.close()
            raise LinkFailed(f"pyocd: {_reason(error)}: {_FOR_TARGET}") from error

    def _prepare(self, harness: HarnessElf, load: bool) -> None:
        from pyocd.debug.rtt import RTTControlBlock
        from pyocd.debug.semihost import SemihostAgent
        from pyocd.flash.file_programmer import FileProgrammer

        chip = self.facts["target"]
        for segment in harness.elf.segments:  # pyOCD itself would pass over what has no place
            at = segment.load_address
            if segment.data and self._target.memory_map.get_region_for_address(at) is None:
                raise LinkFailed(f"pyocd: {chip} has no memory at {at:#010x}: {_FOR_TARGET}")
        if load:
            programmer = FileProgrammer(self._session, progress=lambda _: None, no_reset=True)
            programmer.program(str(harness.path), file_format="elf")
        self._target.reset_and_halt()
        if harness.output == "rtt":
            address = harness.elf.symbol("_SEGGER_RTT").address
            # An earlier run's block would pass for this one's.
            self._target.write_memory_block8(address, bytes(_RTT_ID_BYTES))
            self._rtt = RTTControlBlock.from_target(self._target, address, _RTT_ID_BYTES)
        else:
            context = self._target.get_target_context()
            self._agent = SemihostAgent(context, io_handler=_Lines(self._taken))

    def read(self) -> bytes:
        try:
            if not self._runs:
                self._runs = True
                self._target.resume()
            return self._from_rtt() if self._rtt is not None else self._from_semihosting()
        except _errors() as error:
            raise LinkFailed(f"pyocd {self.facts['at']}: lost ({_reason(error)})") from error

    def _from_rtt(self) -> bytes:
        from pyocd.core.exceptions import RTTError

        if not getattr(self._rtt, "up_channels", None):
            try:
                self._rtt.start()
            except RTTError:
                return b""  # not yet there
        return bytes(self._rtt.up_channels[0].read())

    def _from_semihosting(self) -> bytes:
        if self._target.is_halted():
            if not self._agent.check_and_handle_semihost_request():
                pc = self._target.read_core_register("pc")
                raise LinkFailed(f"pyocd {self.facts['at']}: the core halted at {pc:#010x}")
            self._target.resume()
        data = bytes(self._taken)
        self._taken.clear()
        return data

    def close(self) -> None:
        try:
            self._session.close()
        except _errors():
            logging.getLogger(__name__).debug("pyocd: closing failed", exc_info=True)


class _Lines:
    """What pyOCD's agent for semihosting hands output to: its SemihostIOHandler, for a console."""

    agent: Any = None

    def __init__(self, taken: bytearray) -> None:
        self._taken = taken

    def write(self, _descriptor: int, address: int, size_bytes: int) -> int:
        self._taken += self.agent.get_data(address, size_bytes)
        return 0  # bytes that were not written

    def cleanup(self) -> None:
        """There is nothing to let go of."""


def _errors() -> tuple[type[Exception], ...]:
    from pyocd.core.exceptions import Error

    return Error, OSError


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def open_pyocd(
    harness: HarnessElf, probe_id: str | None = None, target: str | None = None, load: bool = True
) -> PyocdLink:
    """Connect, flash the harness unless told not to, and hold it at reset.

    Raises:
        UserError: pyOCD or a probe is missing, or the harness speaks by UART.
    """
    if harness.output not in ("semihosting", "rtt"):
        raise UserError(
            f"{harness.path}: its lines leave by {harness.output}: build with --output rtt"
            " or semihosting, or listen with --via serial"
        )
    try:
        from pyocd.core.helpers import ConnectHelper
    except ImportError as error:
        raise UserError(
            "a debug probe needs pyOCD: pip install 'ebnn[board]' (or: pip install pyocd)"
        ) from error
    logging.getLogger("pyocd").setLevel(logging.CRITICAL)  # one error, and ours
    probes = ConnectHelper.get_all_connected_probes(blocking=False, unique_id=probe_id)
    if len(probes) != 1:
        found = ", ".join(f"{one.unique_id} ({one.description})" for one in probes)
        which = f"several probes: {found}: choose with --probe" if probes else "no debug probe"
        asked = f" called {probe_id}" if probe_id and not probes else ""
        raise UserError(f"pyocd: {which}{asked}{'' if probes else ' is connected'}")
    options = {"target_override": target} if target else {}
    return PyocdLink(_session(probes[0], options), harness, load)


def _session(probe: Any, options: dict[str, Any]) -> Any:
    from pyocd.core.session import Session

    try:
        return Session(probe, auto_open=False, no_config=True, options=options)
    except _errors() as error:
        raise LinkFailed(f"pyocd: {_reason(error)}: {_FOR_TARGET}") from error
