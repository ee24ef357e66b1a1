"""What a failure's message adds to one line: who called, what takes memory, the last output."""

from __future__ import annotations

from itertools import groupby

from ebnn.sim.errors import UserError, printable
from ebnn.sim.faults import BudgetExceeded, RamExceeded
from ebnn.sim.machine import Machine

_OUTPUT_LINES = 10
_MOST_CALLS = 16
_LONGEST_FLAGS = 400
_MOST_FLAG_SETS = 4


def add_notes(error: UserError, machine: Machine, output: str) -> None:
    """Add to `error` what helps to find its cause; pytest shows notes below the message."""
    if isinstance(error, RamExceeded):
        for line in (*symbol_lines(machine, "ram"), *stack_lines(machine)):
            error.add_note(line)
    else:
        calls = [frame.function or "unknown" for frame in machine.backtrace()]
        if len(calls) > 1:
            error.add_note(f"called through: {_calls(calls)}")
    if isinstance(error, BudgetExceeded):
        for line in flag_lines(machine):
            error.add_note(line)
    add_output(error, output)


def add_output(error: BaseException, output: str) -> None:
    """The last lines that the firmware wrote."""
    lines = output.splitlines()
    if lines:
        shown = [f"    {printable(line)}" for line in lines[-_OUTPUT_LINES:]]
        left_out = len(lines) - len(shown)
        title = f"its last {len(shown)} of {len(lines)} lines" if left_out else "its output"
        error.add_note("\n".join([f"{title}:", *shown]))


def symbol_lines(machine: Machine, kind: str) -> list[str]:
    """The largest symbols of the board's first RAM or flash."""
    from ebnn.sim.memory_picture import memory_pictures

    for picture in memory_pictures(machine):
        if picture.kind == kind and picture.symbols:
            named = [f"{printable(one.name)} {one.size_bytes:,}" for one in picture.symbols]
            return [f"largest symbols in {kind}: {', '.join(named)}"]
    return []


def stack_lines(machine: Machine) -> list[str]:
    """The call chain at the stack's peak, with the bytes of each frame."""
    from dataclasses import asdict

    from ebnn.sim.render import chain_text

    chain = [asdict(frame) for frame in machine.deepest_stack.chain()]
    return [f"stack at its peak: {printable(chain_text(chain))}"] if chain else []


def flag_lines(machine: Machine) -> list[str]:
    """The flags of the image's compiler."""
    from ebnn.sim.producers import compile_flags

    found = compile_flags(machine.elf)
    lines = [f"compiled with: {flags[:_LONGEST_FLAGS]}" for flags in found[:_MOST_FLAG_SETS]]
    if len(found) > _MOST_FLAG_SETS:
        lines.append(f"    and with {len(found) - _MOST_FLAG_SETS} other sets of flags")
    return lines


def _calls(names: list[str]) -> str:
    parts = []
    for name, same in groupby(names):
        times = len(list(same))
        parts.append(printable(name) + (f" x {times}" if times > 1 else ""))
    if len(parts) > _MOST_CALLS:
        half = _MOST_CALLS // 2
        parts = [*parts[:half], f"... {len(parts) - 2 * half} more ...", *parts[-half:]]
    return " > ".join(parts)
