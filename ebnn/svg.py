"""The few shapes that this package's pictures are made of, as an SVG without a plotting library."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

# Okabe and Ito's colours, which people with colour blindness tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_NO_XML = (*range(32), 0xFFFE, 0xFFFF, *range(0xD800, 0xE000))  # XML 1.0, section 2.2
_XML_TEXT = dict.fromkeys(_NO_XML, "\ufffd")


def picture(title: str, width: int, height: int) -> ElementTree.Element:
    """An empty white picture of so many pixels."""
    svg = ElementTree.Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=str(width),
        height=str(height),
        attrib={"font-family": "sans-serif", "font-size": "12"},
    )
    add(svg, "title", title)
    add(svg, "rect", width=width, height=height, fill="white")
    return svg


def scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """From values low..high to pixels start..end."""
    return lambda value: round(start + (value - low) / (high - low) * (end - start), 2)


def line(
    svg: ElementTree.Element,
    x: tuple[float, float],
    y: tuple[float, float],
    colour: str = "#cccccc",
) -> None:
    add(svg, "line", x1=x[0], x2=x[1], y1=y[0], y2=y[1], stroke=colour)


def add(
    parent: ElementTree.Element, tag: str, text: str | None = None, **attributes: object
) -> ElementTree.Element:
    """Add an element; `text_anchor` becomes `text-anchor`."""
    names = {name.replace("_", "-"): str(value) for name, value in attributes.items()}
    element = ElementTree.SubElement(parent, tag, names)
    element.text = text.translate(_XML_TEXT) if text is not None else None
    return element
