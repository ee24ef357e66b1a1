"""C text of statements and functions."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

_COLUMNS = 98


def braces(head: str, lines: Iterable[str]) -> list[str]:
    """`lines` in braces behind `head`, which may be empty."""
    indented = [f"    {line}" if line else "" for line in lines]
    return [f"{head} {{" if head else "{", *indented, "}"]


def function(what: str, name: str, parameters: Iterable[str], lines: Iterable[str]) -> str:
    """A static function that stays one, with a comment."""
    comment = textwrap.wrap(f"/* {what} */", _COLUMNS, subsequent_indent=" * ")
    head = f"EBNN_NOINLINE void {name}({', '.join(parameters)})"
    *above, last = textwrap.wrap(head, _COLUMNS, subsequent_indent="        ")
    return "\n".join([*comment, *above, *braces(last, lines)]) + "\n\n"


def shifted(text: str, right: int) -> str:
    """`text` shifted right, or left where `right` is negative."""
    if right == 0:
        return text
    return f"{text} >> {right}" if right > 0 else f"{text} << {-right}"


def plus(base: str, *terms: str) -> str:
    """`base` and the terms that are not zero."""
    return " + ".join([base, *(term for term in terms if term not in ("", "0", "0u"))])
