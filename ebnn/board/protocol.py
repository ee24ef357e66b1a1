"""The harness's lines (docs/harness.md), out of whatever bytes arrive.

A line is `@`, words, ` *`, the CRC-32 of the words, newline. What stands before the first `@` of a
line, and every line without one, is foreign: a boot loader's greeting, noise.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field

from ebnn.sim.errors import UserError

VERSION = 1
MAX_SAMPLES = 1 << 20
# Looked for at every `@`: noise may hold one, and so may the name of a board.
_LINE = re.compile(rb"(?=@([ -)+-~]{1,200}) \*([0-9a-f]{8})\r?\Z)")
_LONGEST_LINE_BYTES = 4096
COUNTERS = ("dwt", "systick", "none")
_U32 = 1 << 32


class GarbledLine(UserError):
    """What arrived is not what a harness sends, or not all of it."""


@dataclass(frozen=True)
class Start:
    """The first line: which build runs, on how many samples, and how it counts cycles."""

    build_id: str
    samples: int
    counter: str
    cost_cycles: int  # of reading the counter, in every sample's cycles
    output: str
    board: str


@dataclass(frozen=True)
class Sample:
    """One inference. `cycles` still holds the counter's cost."""

    index: int
    predicted: int
    expected: int
    label: int
    cycles: int
    stack_bytes: int


@dataclass(frozen=True)
class End:
    """The last line of a pass over the samples."""

    samples: int


@dataclass(frozen=True)
class FirmwareFault:
    """The core took a HardFault at `pc`; the harness ended."""

    pc: int


Line = Start | Sample | End | FirmwareFault


@dataclass
class Report:
    """What one pass of the harness said, so far."""

    start: Start | None = None
    samples: list[Sample] = field(default_factory=list)
    fault: FirmwareFault | None = None
    is_complete: bool = False


class ReportReader:
    """Takes bytes as they come and fills a `Report`.

    A listener may come late: everything up to the first intact first line is skipped. A sample's
    line that is missing or damaged drops the pass; a harness that repeats itself (UART) gets
    another chance, and for the others `why_incomplete` says what was wrong.
    """

    def __init__(self) -> None:
        self.report = Report()
        self.foreign_lines = 0
        self.damaged_lines = 0
        self._pending = b""
        self._gap: str | None = None

    def feed(self, data: bytes) -> None:
        """Take more bytes.

        Raises:
            GarbledLine: an intact line that no harness of this protocol's version sends.
        """
        *lines, self._pending = (self._pending + data).split(b"\n")
        # No newline for so long: not ours. The end may be the beginning of one that is.
        self._pending = self._pending[-_LONGEST_LINE_BYTES:]
        for line in lines:
            if self.is_over:
                return
            self._take(line)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.report.is_complete or self.report.fault is not None

    def why_incomplete(self) -> str:
        """What is wrong with what came so far."""
        report, damaged = self.report, self.damaged_lines
        spoiled = f"; {damaged} damaged line{'s' * (damaged != 1)} on the way" if damaged else ""
        if self._gap is not None:
            return self._gap + spoiled
        if report.start is None:
            if self.foreign_lines or damaged or self._pending:
                return f"no harness's first line was among what came{spoiled}"
            return f"nothing came{spoiled}"
        return f"{len(report.samples)} of {report.start.samples} samples came{spoiled}"

    def _take(self, raw: bytes) -> None:
        if b"@" not in raw:
            self.foreign_lines += bool(raw.strip())
            return
        line = decode_line(raw)
        if line is None:
            self.damaged_lines += 1
            return
        report = self.report
        if isinstance(line, Start):
            self.report = Report(start=line)
            return
        if isinstance(line, FirmwareFault):
            report.fault = line
            return
        if report.start is None:
            return  # in the middle of a pass
        expected = len(report.samples)
        if isinstance(line, Sample) and line.index == expected < report.start.samples:
            report.samples.append(line)
        elif isinstance(line, End) and line.samples == expected == report.start.samples:
            report.is_complete = True
        else:
            came = f"sample {line.index}" if isinstance(line, Sample) else "the end"
            self._gap = f"{came} came where sample {expected} was due: lines were lost"
            self.report = Report()


def decode_line(raw: bytes) -> Line | None:
    """What a line without its newline says; None where it is damaged.

    Raises:
        GarbledLine: it is intact, but of another version or not as docs/harness.md has it.
    """
    intact = (found[1] for found in _LINE.finditer(raw) if _crc_fits(found[1], found[2]))
    words = next(intact, None)
    if words is None:
        return None
    text = words.decode("ascii")
    word, *fields = text.split(" ")
    try:
        if word == "ebnn-harness":
            return _start(fields)
        if word == "sample":
            return Sample(*(_number(one) for one in _exactly(6, fields)))
        if word == "end":
            return End(*(_number(one) for one in _exactly(1, fields)))
        if word == "fault":
            (pc,) = fields
            return FirmwareFault(_number(pc, base=16))
    except ValueError:
        pass
    raise GarbledLine(f"the board's line {text!r} is none of harness protocol {VERSION}")


def _crc_fits(words: bytes, crc: bytes) -> bool:
    return zlib.crc32(words) == int(crc, 16)


def _start(fields: list[str]) -> Start:
    if fields and fields[0] != str(VERSION):
        raise GarbledLine(
            f"the board's harness speaks protocol {fields[0]}, this is for {VERSION}: "
            "build and flash it again"
        )
    build_id, samples, counter, cost, output, board = fields[1:]
    if not re.fullmatch(r"[0-9a-f]{16}", build_id) or counter not in COUNTERS:
        raise ValueError(fields)
    if not 0 < _number(samples) <= MAX_SAMPLES:
        raise ValueError(samples)
    return Start(build_id, int(samples), counter, _number(cost), output, board)


def _exactly(count: int, fields: list[str]) -> list[str]:
    if len(fields) != count:
        raise ValueError(fields)
    return fields


def _number(text: str, base: int = 10) -> int:
    value = int(text, base)
    if not text.replace("x", "").isalnum() or not 0 <= value < _U32:
        raise ValueError(text)
    return value


def encode_line(words: str) -> bytes:
    """`words` as the harness sends them."""
    return b"@%s *%08x\n" % (words.encode("ascii"), zlib.crc32(words.encode("ascii")))
