"""Training curves as a picture: loss and accuracies by epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from xml.etree import ElementTree

from ebnn.svg import COLOURS, add, line, picture, scale
from ebnn.training_log import TrainingLog

_WIDTH = 800
_LEFT, _RIGHT = 80, 540  # of both panels, in pixels
_LOSS, _ERROR = (30, 270), (330, 570)  # top and bottom of each panel
_HEIGHT = 630
_LEGEND_STEP = 18
_DASHES = "5 4"  # of the training samples; what is held out has whole lines

Point = tuple[float, float]


def to_svg(logs: Sequence[TrainingLog]) -> str:
    """Above, each log's loss; below, errors in percent of training (dashed) and held-out samples.

    Both axes are logarithmic upwards. A colour a log, named by its file.
    """
    height = max(_HEIGHT, _LOSS[0] + _LEGEND_STEP * (len(logs) + 4))
    svg = picture("Training: loss and error by epoch", _WIDTH, height)
    last = max([len(log.epochs) for log in logs], default=1)
    x = scale(1, max(last, 2), _LEFT, _RIGHT)
    for epoch in sorted({1, *range(5, last + 1, 5), last}):
        for panel in (_LOSS, _ERROR):
            line(svg, (x(epoch), x(epoch)), panel)
            add(svg, "text", str(epoch), x=x(epoch), y=panel[1] + 18, text_anchor="middle")
    add(svg, "text", "epoch", x=(_LEFT + _RIGHT) / 2, y=_ERROR[1] + 42, text_anchor="middle")
    curves = [_curves(log) for log in logs]
    panels = ((_LOSS, "loss", (0,)), (_ERROR, "error, percent", (1, 2)))
    for panel, title, which in panels:
        values = [value for one in curves for index in which for _, value in one[index]]
        y = _axis(svg, values, panel, title)
        for number, one in enumerate(curves):
            for index in which:
                points = " ".join(f"{x(epoch)},{y(value)}" for epoch, value in one[index])
                dashes = {"stroke_dasharray": _DASHES} if index == 1 else {}
                colour = COLOURS[number % len(COLOURS)]
                add(svg, "polyline", points=points, fill="none", stroke=colour, **dashes)
    for number, log in enumerate(logs):
        at = _LOSS[0] + 12 + _LEGEND_STEP * number
        colour = COLOURS[number % len(COLOURS)]
        line(svg, (_RIGHT + 14, _RIGHT + 30), (at - 4, at - 4), colour)
        add(svg, "text", log.path.stem[-30:], x=_RIGHT + 36, y=at)
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def _curves(log: TrainingLog) -> tuple[list[Point], list[Point], list[Point]]:
    """(epoch, value) of the loss, and of the errors in percent in training and validation.

    What is 0 has no place on a logarithmic axis, and none is drawn.
    """
    loss = [(line["epoch"], line["loss"]) for line in log.epochs]
    errors = [
        [
            (line["epoch"], 100 * (1 - line[name]))
            for line in log.epochs
            if line[name] is not None and line[name] < 1
        ]
        for name in ("training_accuracy", "validation_accuracy")
    ]
    return [point for point in loss if point[1] > 0], errors[0], errors[1]


def _axis(
    svg: ElementTree.Element, values: Sequence[float], panel: tuple[int, int], title: str
) -> Callable[[float], float]:
    """Draw the axis of `values`; returns each one's pixel."""
    low, high = min(values, default=1.0), max(values, default=1.0)
    low, high = math.log10(low) - 0.05, math.log10(high) + 0.05
    to_pixel = scale(low, high, panel[1], panel[0])
    ticks = [step * 10.0**power for power in range(-9, 9) for step in (1, 2, 5)]
    for tick in ticks:
        if low <= math.log10(tick) <= high:
            at = to_pixel(math.log10(tick))
            line(svg, (_LEFT, _RIGHT), (at, at))
            add(svg, "text", f"{tick:g}", x=_LEFT - 8, y=at + 4, text_anchor="end")
    turned = f"translate(20 {sum(panel) / 2}) rotate(-90)"
    add(svg, "text", title, transform=turned, text_anchor="middle")
    return lambda value: to_pixel(math.log10(value))
