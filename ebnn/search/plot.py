"""The picture of a search: accuracy against memory, coloured by latency, with the budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from ebnn.svg import add, line, picture, scale

_WIDTH, _HEIGHT = 800, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 640, 40, 450
_BAR = (680, 700)  # left and right of the colours' scale
# Of matplotlib's "viridis" at 0, 1/4 ... 1: light to dark for fast to slow.
_COLOURS = ((253, 231, 37), (94, 201, 98), (33, 145, 140), (59, 82, 139), (68, 1, 84))
_ACCURACIES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
_TITLES = {"ram_bytes": "RAM, bytes", "paper_bytes": "parameters and temporaries, bytes"}
_LEAST_ERROR = 1e-4

Line = Mapping[str, Any]


def to_svg(found: Mapping[str, Any]) -> str:
    """`found` is what `ebnn.search.results.results` gives.

    Small points are candidates by validation, rings those of them that were trained in full, by
    their test accuracy; the pale ones are not on the front. The line is the best accuracy within
    so much memory, whatever the cycles. Accuracy is spaced by the logarithm of the error.
    """
    svg = picture(f"Search on {found['dataset']} for {found['board']}", _WIDTH, _HEIGHT)
    memory, limit = found["memory"], found["limits"][found["memory"]]
    points = [one for one in found["candidates"] if one["validation"] is not None]
    bytes_max = max([one[memory] for one in points] + ([limit] if limit else []), default=1)
    x = scale(0, 1.05 * bytes_max, _LEFT, _RIGHT)
    y = _accuracies(svg, points)
    for tick in _ticks(bytes_max):
        line(svg, (x(tick), x(tick)), (_TOP, _BOTTOM))
        add(svg, "text", f"{tick:,}", x=x(tick), y=_BOTTOM + 18, text_anchor="middle")
    middle = (_LEFT + _RIGHT) / 2
    add(svg, "text", _TITLES[memory], x=middle, y=_BOTTOM + 42, text_anchor="middle")
    if limit:
        line(svg, (x(limit), x(limit)), (_TOP, _BOTTOM), "#d55e00")
        text = add(svg, "text", f"budget {limit:,}", x=x(limit) - 4, y=_TOP + 12, fill="#d55e00")
        text.set("text-anchor", "end")
    colour = _latencies(svg, [one["latency_ms"] for one in points])
    steps = _steps([(one[memory], _accuracy(one)) for one in points])
    joined = " ".join(f"{x(size)},{y(accuracy)}" for size, accuracy in steps)
    add(svg, "polyline", points=joined, fill="none", stroke="#999999")
    front = {one["number"] for one in found["front"]}
    for one in points:
        ring = one["network"] is not None
        circle = add(
            svg,
            "circle",
            cx=x(one[memory]),
            cy=y(_accuracy(one)),
            r=7 if ring else 4,
            fill=colour(one["latency_ms"]),
            fill_opacity=1 if one["number"] in front else 0.45,
            stroke="#000000" if ring else "none",
        )
        add(circle, "title", _words(one, memory))
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def _accuracy(one: Line) -> float:
    found = one["validation"] if one["network"] is None else one["network"]["test"]
    return float(found["accuracy"])


def _steps(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Corners of the line of the most accurate within each memory."""
    corners: list[tuple[int, float]] = []
    for size, accuracy in sorted(points):
        if not corners or accuracy > corners[-1][1]:
            if corners:
                corners.append((size, corners[-1][1]))
            corners.append((size, accuracy))
    return corners


def _words(one: Line, memory: str) -> str:
    return (
        f"{one['number']}: {one['architecture']} (input {one['input']}): {_accuracy(one):.2%},"
        f" {one[memory]:,} bytes, {one['latency_ms']:.3g} ms"
    )


def _accuracies(svg: ElementTree.Element, points: Sequence[Line]) -> Callable[[float], float]:
    """Draw that axis; returns each accuracy's pixel."""

    def height(accuracy: float) -> float:
        return -math.log10(max(1 - accuracy, _LEAST_ERROR))

    heights = [height(_accuracy(one)) for one in points] or [0.0]
    low, high = min(heights) - 0.1, max(heights) + 0.1
    to_pixel = scale(low, high, _BOTTOM, _TOP)
    for tick in _ACCURACIES:
        if low <= height(tick) <= high:
            at = to_pixel(height(tick))
            line(svg, (_LEFT, _RIGHT), (at, at))
            add(svg, "text", f"{100 * tick:g} %", x=_LEFT - 8, y=at + 4, text_anchor="end")
    turned = f"translate(20 {(_TOP + _BOTTOM) / 2}) rotate(-90)"
    add(svg, "text", "accuracy", transform=turned, text_anchor="middle")
    return lambda accuracy: to_pixel(height(accuracy))


def _latencies(svg: ElementTree.Element, values: Sequence[float]) -> Callable[[float], str]:
    """Draw the scale of colours; returns each latency's."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    high = high if high > low else low + 1
    steps = 40
    for step in range(steps):
        share = step / (steps - 1)
        tall = (_BOTTOM - _TOP) / steps
        top = _BOTTOM - (step + 1) * tall
        add(
            svg,
            "rect",
            x=_BAR[0],
            y=round(top, 2),
            width=_BAR[1] - _BAR[0],
            height=round(tall + 0.5, 2),
            fill=_colour(share),
        )
    for value, at in ((low, _BOTTOM), ((low + high) / 2, (_TOP + _BOTTOM) / 2), (high, _TOP)):
        add(svg, "text", f"{value:.3g} ms", x=_BAR[1] + 6, y=at + 4)
    return lambda value: _colour((value - low) / (high - low))


def _colour(share: float) -> str:
    position = share * (len(_COLOURS) - 1)
    index = min(int(position), len(_COLOURS) - 2)
    part = position - index
    mixed = [
        round(a + part * (b - a)) for a, b in zip(_COLOURS[index], _COLOURS[index + 1], strict=True)
    ]
    return "#" + "".join(f"{value:02x}" for value in mixed)


def _ticks(high: int) -> list[int]:
    """Up to about six round numbers of bytes."""
    step = 10 ** math.floor(math.log10(max(high, 10)))
    for part in (1, 2, 5, 10):
        if high / (step / part) >= 4:
            step = max(1, step // part)
            break
    return list(range(0, high + 1, step))
