"""The run record as a person reads it."""

from __future__ import annotations

import sys
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from .sizes import format_bytes, format_limit

if TYPE_CHECKING:
    from .machine import Machine
    from .record import RunRecord

_MOST_PARTS = 16  # of the call chain


def render(machine: Machine, record: RunRecord) -> None:
    """Print `record` as a short table on standard output."""
    data = record.data
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("board", board_text(machine, data))
    table.add_row("cycle model", model_text(data["model"]))
    table.add_row(
        "cycles",
        f"{data['cycles']:,} in {data['instructions']:,} instructions, "
        f"{_time(data['cycles'], data['clock_hz'])}",
    )
    stalls = sorted(data["stalls"].items(), key=lambda item: -item[1])
    if stalls:
        table.add_row("stalls", ", ".join(f"{cause} {cycles:,}" for cause, cycles in stalls))
    for name, region in data["regions"].items():
        cycles = region["cycles"]
        spread = f"{cycles['median']:,} cycles"
        if region["count"] > 1:
            spread += f" ({cycles['min']:,} to {cycles['max']:,}), {region['count']:,} times"
        table.add_row(name, f"{spread}, {_time(cycles['median'], data['clock_hz'])}")
    memory = data["memory"]
    table.add_row("flash", f"{format_bytes(memory['flash'])} bytes")
    share = 100 * memory["ram"] / memory["ram_limit"]
    table.add_row(
        "RAM",
        f"{format_bytes(memory['ram'])} of {format_bytes(memory['ram_limit'])} bytes "
        f"({format_limit(memory['ram_limit'])}), {share:.1f} %: "
        f"static {format_bytes(memory['static'])}, heap {format_bytes(memory['heap'])}, "
        f"stack {format_bytes(memory['stack'])}"
        + (f" (deepest in {memory['deepest_function']})" if memory["deepest_function"] else ""),
    )
    if memory["call_chain"]:
        table.add_row("stack", chain_text(memory["call_chain"]))
    if memory["static_stack_bound"] is not None:
        table.add_row("at most", _bound(memory))
    elif memory["static_stack_unknown"]:
        table.add_row("at most", f"no bound: {'; '.join(memory['static_stack_unknown'])}")
    if memory["stack_top_moved_from"] is not None:
        table.add_row(
            "note",
            f"the image's initial SP {memory['stack_top_moved_from']:#010x} lies past the RAM "
            "limit: the stack top was moved to the limit",
        )
    if data.get("firmware_exit"):
        table.add_row("note", f"the firmware exited with status {data['firmware_exit']}")
    if data.get("result") is not None:
        table.add_row("result", f"{data['result']} ({data['result']:#x})")
    # Piped output has no width of its own: lines are as long as they need to be.
    width = None if sys.stdout.isatty() else 400
    # Names come from the image: they are not markup.
    Console(highlight=False, markup=False, emoji=False, width=width).print(table)


def board_text(machine: Machine, data: dict[str, Any]) -> str:
    """The board of a record, its core, clock and wait states."""
    where = f"{data['board']}: {machine.core.title} at {clock_text(data)}"
    return f"{where}, {flash_text(data['model'])}"


def clock_text(data: dict[str, Any]) -> str:
    """`16 MHz (HSI)`: a record's clock, and its source where that is known."""
    source = data.get("clock_source")
    return f"{data['clock_hz'] / 1e6:g} MHz" + (f" ({source})" if source else "")


def model_text(model: dict[str, Any]) -> str:
    """A record's cycle model: its version, and how far it was from boards where it was held against
    some of this core at these wait states."""
    return f"version {model['version']}, {error_text(model['error'])}"


def error_text(error: dict[str, Any] | None) -> str:
    """The stated error of a record's combination of core, board and wait states."""
    if error is None:
        return "not validated for this core, board and wait states"
    return (
        f"error {error['mean_percent']:.2g} % mean, {error['worst_percent']:.2g} % worst of "
        f"{error['measurements']} board measurements"
    )


def chain_text(frames: list[dict[str, Any]]) -> str:
    """`main 32 > deep 112 x 20 > leaf 16`: the call chain at the peak, in bytes of each frame."""
    parts = []
    for (name, frame_bytes), same in groupby((f["function"], f["frame_bytes"]) for f in frames):
        times = len(list(same))
        text = f"{name or 'unknown'} {format_bytes(frame_bytes)}"
        parts.append(f"{text} x {times}" if times > 1 else text)
    if len(parts) > _MOST_PARTS:
        left_out = len(parts) - _MOST_PARTS
        half = _MOST_PARTS // 2
        parts = [*parts[:half], f"... {left_out} more ...", *parts[-half:]]
    return " > ".join(parts)


def flash_text(model: dict[str, Any]) -> str:
    """The wait states of a record's cycle model, and what hides them."""
    waits = model["wait_states"]
    text = f"{waits} flash wait state{'' if waits == 1 else 's'}"
    if model["flash"] and model["flash"]["prefetch"]:
        text += ", prefetch"
    if model["flash"] and model["flash"]["instruction_cache_lines"] > 1:
        kept = model["flash"]["instruction_cache_lines"] * model["flash"]["line_bytes"]
        text += f", {format_bytes(kept)} bytes of cache"
    return text


def _bound(memory: dict[str, Any]) -> str:
    """The static bound of the stack, with its chain; frames not from the compiler are marked."""
    chain = memory["static_stack_chain"]
    text = f"{format_bytes(memory['static_stack_bound'])} bytes of stack without exceptions, "
    text += f"by the compiler: {chain_text(chain)}"
    read = list(dict.fromkeys(f["function"] for f in chain if f["source"] == "code"))
    return text + (f" (from their code: {', '.join(read)})" if read else "")


def _time(cycles: int, clock_hz: int) -> str:
    seconds = cycles / clock_hz
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"
