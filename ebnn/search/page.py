"""The page of a search: one HTML file with the picture and the front, nothing to load."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from ebnn.durations import format_duration
from ebnn.search.plot import to_svg
from ebnn.search.table import cells, columns, summary

_STYLE = """\
body { font-family: sans-serif; margin: 2em; max-width: 80em; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid #ccc; padding: 0.3em 0.8em; text-align: right; }
th:first-child, td:first-child { text-align: left; }
code { white-space: pre-wrap; }
"""


def to_html(found: Mapping[str, Any]) -> str:
    """`found` is what `ebnn.search.results.results` gives."""
    title = f"Search on {found['dataset']} for {found['board']}"
    head = "".join(f"<th>{escape(name)}</th>" for name in columns(found))
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells(line, found)) + "</tr>\n"
        for line in found["front"]
    )
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{escape(title)}</title><style>
{_STYLE}</style></head>
<body>
<h1>{escape(title)}</h1>
<p>{escape(summary(found))}, {format_duration(found["seconds"])}.</p>
<p><code>{escape(found["command"])}</code></p>
{to_svg(found)}
<table>
<tr>{head}</tr>
{rows}</table>
</body>
</html>
"""
