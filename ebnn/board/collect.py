"""From a link's bytes to a complete report, or to one error that keeps what came."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ebnn.board.harness_elf import HarnessElf
from ebnn.board.link import Link
from ebnn.board.protocol import Report, ReportReader
from ebnn.sim.errors import UserError

_MOST_RECEIVED_BYTES = 16 << 20


class NotCollected(UserError):
    """No complete report came. `received` is every byte that did."""

    def __init__(self, message: str, received: bytes) -> None:
        super().__init__(message)
        self.received = received


@dataclass(frozen=True)
class Collected:
    """A report of every sample, or of those before the firmware's fault."""

    report: Report
    received: bytes
    foreign_lines: int
    damaged_lines: int


def collect(
    link: Link,
    harness: HarnessElf,
    silence_seconds: float,
    now: Callable[[], float] = time.monotonic,
) -> Collected:
    """Read `link` until the harness has reported everything.

    Raises:
        NotCollected: it stayed silent for too long, the link ended or failed, another build runs
            there, or lines were lost or damaged.
    """
    reader, received = ReportReader(), bytearray()
    heard_at = now()
    try:
        while not reader.is_over:
            data = link.read()
            if data is None:
                raise UserError(f"{_name(link)}: the connection ended: {reader.why_incomplete()}")
            if data:
                received += data
                heard_at = now()
                reader.feed(data)
                _check_build(link, harness, reader)
            elif now() - heard_at > silence_seconds:
                raise UserError(
                    f"{_name(link)}: silent for {silence_seconds:g} s:"
                    f" {reader.why_incomplete()}; {_next_step(reader)}"
                )
            if len(received) > _MOST_RECEIVED_BYTES:
                raise UserError(
                    f"{_name(link)}: {len(received) >> 20} MiB came without a report:"
                    f" {reader.why_incomplete()}"
                )
    except UserError as error:
        raise NotCollected(str(error), bytes(received)) from error
    return Collected(reader.report, bytes(received), reader.foreign_lines, reader.damaged_lines)


def _check_build(link: Link, harness: HarnessElf, reader: ReportReader) -> None:
    start = reader.report.start
    if start is not None and start.build_id != harness.build_id:
        raise UserError(
            f"{_name(link)}: runs another build: {start.build_id} for {start.board};"
            f" {harness.path} is {harness.build_id} for {harness.board_name}: flash it"
        )


def _name(link: Link) -> str:
    return f"{link.facts['via']} {link.facts['at']}"


def _next_step(reader: ReportReader) -> str:
    if reader.report.start is not None:
        return "it hangs, or needs a longer --timeout"
    return "is it powered, flashed and connected, and the speed right?"
