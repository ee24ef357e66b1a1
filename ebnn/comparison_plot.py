"""Predicted against measured cycles as a picture: an SVG of its own, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree

from ebnn.comparison import Comparison
from ebnn.svg import COLOURS, add, line, picture, scale

_WIDTH = 800
_LEFT, _RIGHT = 80, 540  # of both panels, in pixels
_TOP, _BOTTOM = 30, 490  # of the panel of cycles
_ERROR_TOP, _ERROR_BOTTOM = 550, 710  # of the panel of errors below it
_LEGEND_STEP = 50
_BAND = {"fill": "#dddddd"}


def to_svg(found: Sequence[Comparison]) -> str:
    """A point for each region: measured cycles to the right; above, simulated cycles (both
    logarithmic), and below, the error in percent.

    Points on the diagonal agree; the bands are the widest tolerance of the comparisons.
    """
    height = max(_ERROR_BOTTOM + 60, _TOP + _LEGEND_STEP * (len(found) + 1))
    svg = picture("Cycles: simulated against measured", _WIDTH, height)
    regions = [region for one in found for region in one.regions]
    cycles = [region.measured_cycles for region in regions]
    cycles += [region.simulated_cycles for region in regions if region.simulated_cycles > 0]
    cycles = cycles or [1.0]
    low, high = math.floor(math.log10(min(cycles))), math.ceil(math.log10(max(cycles)))
    high = max(high, low + 1)
    tolerance = max((one.tolerance_percent or 0 for one in found), default=0)
    worst = max(tolerance, *(one.worst_percent or 0 for one in found)) * 1.1 or 1.0
    x = scale(low, high, _LEFT, _RIGHT)
    y = scale(low, high, _BOTTOM, _TOP)
    error_y = scale(-worst, worst, _ERROR_BOTTOM, _ERROR_TOP)

    if 0 < tolerance < 100:
        up, down = math.log10(1 + tolerance / 100), -math.log10(1 - tolerance / 100)
        corners = [(low, low + up), (high - up, high), (high, high), (high, high - down)]
        corners += [(low + down, low), (low, low)]
        points = " ".join(f"{x(a)},{y(b)}" for a, b in corners)
        add(svg, "polygon", points=points, **_BAND)
        top = error_y(tolerance)
        band = round(error_y(-tolerance) - top, 2)
        add(svg, "rect", x=_LEFT, y=top, width=_RIGHT - _LEFT, height=band, **_BAND)
    for exponent in range(low, high + 1):
        label = f"{10**exponent:,}" if exponent < 6 else f"1e{exponent}"
        at_x, at_y = x(exponent), y(exponent)
        for panel in ((_TOP, _BOTTOM), (_ERROR_TOP, _ERROR_BOTTOM)):
            line(svg, (at_x, at_x), panel)
            add(svg, "text", label, x=at_x, y=panel[1] + 18, text_anchor="middle")
        line(svg, (_LEFT, _RIGHT), (at_y, at_y))
        add(svg, "text", label, x=_LEFT - 8, y=at_y + 4, text_anchor="end")
    for percent in sorted({-tolerance, 0.0, tolerance} if tolerance else {0.0}):
        at_y = error_y(percent)
        line(svg, (_LEFT, _RIGHT), (at_y, at_y), "#666666" if percent == 0 else "#cccccc")
        add(svg, "text", f"{percent:+g} %", x=_LEFT - 8, y=at_y + 4, text_anchor="end")
    line(svg, (x(low), x(high)), (y(low), y(high)), "#666666")
    middle = (_LEFT + _RIGHT) / 2
    add(svg, "text", "measured, cycles", x=middle, y=_ERROR_BOTTOM + 42, text_anchor="middle")
    for text, panel in (
        ("simulated, cycles", (_TOP, _BOTTOM)),
        ("error", (_ERROR_TOP, _ERROR_BOTTOM)),
    ):
        turned = f"translate(20 {sum(panel) / 2}) rotate(-90)"
        add(svg, "text", text, transform=turned, text_anchor="middle")
    for index, one in enumerate(found):
        colour = COLOURS[index % len(COLOURS)]
        for region in one.regions:
            at_x = x(math.log10(region.measured_cycles))
            heights = [error_y(region.error_percent)]
            if region.simulated_cycles > 0:
                heights.append(y(math.log10(region.simulated_cycles)))
            for at_y in heights:
                point = add(svg, "circle", cx=at_x, cy=at_y, r=4, fill=colour, fill_opacity="0.7")
                add(point, "title", f"{region.name}: {region.error_percent:+.2f} %")
        at = _TOP + 12 + _LEGEND_STEP * index
        add(svg, "circle", cx=_RIGHT + 22, cy=at - 4, r=4, fill=colour)
        group = f", {one.measured.group}" if one.measured.group else ""
        names = (one.measured.core + group, *_wrapped(one.measured.board))
        for row, text in enumerate(names):
            add(svg, "text", text, x=_RIGHT + 32, y=at + 14 * row)
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def _wrapped(text: str, width: int = 30) -> list[str]:
    """At most two lines of the name."""
    if len(text) <= width:
        return [text]
    cut = text.rfind(" ", 0, width)
    cut = cut if cut > 0 else width
    rest = text[cut:].strip()
    return [text[:cut], rest if len(rest) <= width else rest[: width - 1] + "\u2026"]
