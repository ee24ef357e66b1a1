"""C that computes the shared sums."""

from __future__ import annotations

from ebnn.emitter.lanes.c_blocks import braces, function, shifted
from ebnn.emitter.lanes.circuit import Circuit, Signal
from ebnn.emitter.lanes.geometry import WORD_BITS
from ebnn.emitter.lanes.plan import Plan


def sums_c(plan: Plan) -> str:
    """The function."""
    pitch, step = plan.sums.pitch, plan.sums.pitch * plan.lanes.row_step
    lines = braces(f"for (uint32_t *p = planes; p != rows_end; p += {pitch}, ++rows)", _row(plan))
    window = _window(plan)
    if window:
        lines += braces(f"for (uint32_t *p = planes; p != end; p += {step})", window)
    else:
        lines.append("(void)end;")
    classes = ["const uint8_t *classes"] if plan.borders.any else []
    ends = ["const uint32_t *rows_end", "const uint32_t *end"]
    return function(
        "Sums that all filters share: of the taps of each row, then of the windows' low bits.",
        f"{plan.name}_sums",
        ["const uint32_t *rows", *classes, "uint32_t *planes", *ends],
        lines,
    )


def sums_call(plan: Plan, strip: int, first: str, count: int) -> str:
    """Statement for `count` pooled words from `first`, a C expression, on."""
    lanes = plan.lanes
    arguments = ["rows"]
    if plan.borders.any:
        start = strip * lanes.conv_words(lanes.band_rows)
        classes = f"{plan.name}_classes + {start}"
        arguments.append(classes + (f" + {first} * {lanes.block.pool_stride}u" if first else ""))
    rows = plan.sums.pitch * lanes.map_words(count)
    windows = plan.sums.pitch * lanes.row_step * lanes.conv_words(count)
    arguments += ["planes", f"planes + {rows}", f"planes + {windows}"]
    return f"{plan.name}_sums({', '.join(arguments)});"


def sums_operations(plan: Plan) -> tuple[int, int]:
    """Instructions of a row of the map, and of a window."""
    inputs = len(plan.sums.low_inputs())
    return len(_row(plan)) + plan.rows_read, len(_window(plan)) + inputs


def _row(plan: Plan) -> list[str]:
    """The sub-sums of one row's taps, to the planes at `p`."""
    lanes, sums = plan.lanes, plan.sums
    channels = range(lanes.in_shape[0])
    lines = [line for channel in channels for line in _columns(plan, channel)]
    if not sums.tabulated:
        words = [_word(channel, phase) for channel in channels for phase in lanes.phases]
        return [*lines, *(f"p[{at}] = {word};" for at, word in enumerate(words))]
    taps = []
    for channel in channels:
        for column in range(lanes.block.kernel_width):
            phase, right = lanes.column_shift(column)
            taps.append(Signal(f"{_word(channel, phase)}_{column}"))
            text = shifted(_word(channel, phase), right)
            lines.append(f"const uint32_t {taps[-1].text} = {text};")
    circuit, results = Circuit(), {}
    for run, adder in enumerate(sums.row_adders):
        planes = taps[3 * run : 3 * run + adder.inputs]
        low, carries = (planes[0], []) if adder.inputs == 1 else adder.emit(circuit, planes)
        results.update({adder.first + at: plane for at, plane in enumerate(carries)})
        results[sums.row_lows[run]] = low
    return [*lines, *circuit.lines(*results.values()), *_stores(results)]


def _word(channel: int, phase: int) -> str:
    return f"c{channel}p{phase}"


def _window(plan: Plan) -> list[str]:
    """The sub-sums of one window's low bits, to the planes at `p`."""
    sums = plan.sums
    circuit, results = Circuit(), {}
    lows = [Signal(f"p[{plane}]") for plane in sums.low_inputs()]
    for adder in sums.window_adders:
        low, carries = adder.emit(circuit, lows[: adder.inputs])
        lows[: adder.inputs] = [low]
        for at, plane in enumerate(carries):
            results[sums.window_plane(adder.first + at)] = plane
    if sums.window_adders:
        results[sums.low_plane] = lows[0]
    lines = [*circuit.lines(*results.values()), *_stores(results)]
    if plan.borders.any:
        lines.append(f"p[{sums.first_extra}] = *classes++ * {plan.borders.words.shape[1]}u;")
    return lines


def _stores(results: dict[int, Signal]) -> list[str]:
    # Not in order: an M4 takes longer for one STRD than for two STR.
    order = sorted(results)
    return [f"p[{at}] = {results[at].text};" for at in (*order[::2], *order[1::2])]


def _columns(plan: Plan, channel: int) -> list[str]:
    """The bands' rows of a channel in one word, or in one for each phase of their columns."""
    lanes = plan.lanes
    rows = []
    for between in range(lanes.interleaved):
        parts = []
        for slot in range(between, lanes.slots, lanes.interleaved):
            row = f"rows[{channel * plan.channel_words + slot * plan.band_words}]"
            parts.append(shifted(row, -(slot // lanes.interleaved * lanes.pitch)))
        rows.append(" | ".join(parts))
    if lanes.interleaved == 1:
        return [f"const uint32_t {_word(channel, 0)} = {rows[0]};"]
    row = f"c{channel}r"
    lines = [f"const uint32_t {row}{between} = {text};" for between, text in enumerate(rows)]
    stride, phases = lanes.block.stride, lanes.phases
    every = sum(1 << lane for lane in range(0, WORD_BITS, stride))
    if stride == 2 and phases == [0, 1]:
        # There are two rows as well: exchange one's odd columns with the other's even ones.
        lines.append(f"const uint32_t {row} = ({row}0 >> 1 ^ {row}1) & 0x{every:08x}u;")
        lines.append(f"const uint32_t {_word(channel, 0)} = {row}0 ^ {row} << 1;")
        lines.append(f"const uint32_t {_word(channel, 1)} = {row}1 ^ {row};")
        return lines
    for phase in phases:
        parts = []
        for between in range(lanes.interleaved):
            text = shifted(f"{row}{between}", phase - between)
            parts.append(f"(({text}) & 0x{every << between & 0xFFFFFFFF:08x}u)")
        lines.append(f"const uint32_t {_word(channel, phase)} = {' | '.join(parts)};")
    return lines
