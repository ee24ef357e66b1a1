"""A board behind a GDB server: OpenOCD, J-Link's, QEMU's. GDB flashes, and takes the lines.

Lines are taken where the harness hands them over: at a breakpoint on `output_line` GDB prints the
string and returns for it. So any server will do, whatever semihosting or RTT it knows, and a
harness of any output. No breakpoint is between the readings of the cycle counter.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ebnn.board.harness_elf import HarnessElf
from ebnn.board.process_link import ProcessLink
from ebnn.sim.errors import UserError

PROGRAMS = ("arm-none-eabi-gdb", "gdb-multiarch")
HOW_TO_GET = "apt-get install gdb-multiarch"
DEFAULT_SERVER = "localhost:3333"  # OpenOCD's; J-Link's is localhost:2331
_CONNECT_SECONDS = 10


class GdbLink(ProcessLink):
    """GDB with a script of its own."""

    def __init__(self, command: Sequence[str], script: str, facts: dict[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ebnn-gdb-")
        path = Path(self._folder.name) / "run.gdb"
        path.write_text(script, encoding="utf-8")
        try:
            super().__init__([*command, str(path)], facts)
        except UserError:
            self._folder.cleanup()
            raise

    def close(self) -> None:
        super().close()
        self._folder.cleanup()


def open_gdb(
    harness: HarnessElf, server: str = DEFAULT_SERVER, reset: Sequence[str] = (), load: bool = True
) -> GdbLink:
    """Connect GDB to `server` (host:port), flash the harness unless told not to, and run it.

    `reset` are the server's own commands that reset and halt the board, before and after flashing:
    "monitor reset halt" with OpenOCD, "monitor reset" with J-Link; none are needed with QEMU.

    Raises:
        UserError: GDB is missing, or `server` is no host:port.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise UserError(f"neither {' nor '.join(PROGRAMS)} is installed: {HOW_TO_GET}")
    if not re.fullmatch(r"[\w.:\[\]-]*:\d{1,5}", server):
        raise UserError(f"--gdb-server {server!r}: write HOST:PORT, as in {DEFAULT_SERVER}")
    script = gdb_script(harness, server, reset, load)
    # -nx: no set-up of the user's. The ELF comes by name, quoted nowhere else.
    command = [program, "-nx", "-batch", "-q", str(harness.path.resolve()), "-x"]
    return GdbLink(command, script, {"via": "gdb", "at": server})


def gdb_script(harness: HarnessElf, server: str, reset: Sequence[str], load: bool) -> str:
    """What GDB does: the comment at the top of this module.

    A server that does not reset is helped to the harness's start; but where a boot stage must run
    first, only the board's own reset leads there.
    """
    line, again, stop, start = (
        harness.elf.symbol(name).address & ~1
        for name in ("output_line", "output_again", "output_stop", "Reset_Handler")
    )
    commands = "\n".join(reset)
    go_to_start = f"set $sp = *(unsigned int *) &vector_table\nset $pc = {start:#x}"
    if "_boot_stage_end" in harness.elf.symbols:
        go_to_start = ""
    return f"""set confirm off
set pagination off
set width 0
set style enabled off
set tcp connect-timeout {_CONNECT_SECONDS}
target extended-remote {server}
{commands}
{"load" if load else ""}
{commands}
{go_to_start}
delete
{"".join(_silent_breakpoint(at) for at in (line, again, stop))}while 1
  continue
  if $pc == {again:#x} || $pc == {stop:#x}
    delete
    detach
    quit 0
  end
  if $pc != {line:#x}
    printf "ebnn: stopped at 0x%08x\\n", $pc
    quit 3
  end
  printf "%s", (char *) $r0
  set $pc = $lr & ~1
end
"""


def _silent_breakpoint(address: int) -> str:
    return f"hbreak *{address:#x}\ncommands\nsilent\nend\n"
