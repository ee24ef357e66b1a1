"""C text of arrays and structs: stable, with the shape beside each array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ebnn.architecture import ConvPool

_TYPES = {
    "uint8": "uint8_t",
    "uint16": "uint16_t",
    "uint32": "uint32_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "float32": "float",
}
_COLUMNS = 96


def array(name: str, values: NDArray[np.generic], what: str) -> str:
    """A constant array with a comment that says what it is and its shape."""
    shape = "".join(f"[{length}]" for length in values.shape)
    flat = values.ravel()
    lines, line = [], ""
    for value in flat:
        word = f"{literal(value)},"
        if len(line) + 1 + len(word) > _COLUMNS:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    lines.append(line)
    body = "\n    ".join(lines)
    kind = _TYPES[values.dtype.name]
    return f"/* {what}: {shape} */\nstatic const {kind} {name}[{flat.size}] = {{\n    {body}\n}};\n"


def literal(value: np.generic) -> str:
    """A C literal that denotes exactly `value`."""
    if isinstance(value, np.floating):
        return f"{float(value).hex()}f"
    if isinstance(value, np.uint32):
        return f"0x{int(value):08x}u"
    if isinstance(value, np.unsignedinteger):
        return str(int(value))
    number = int(value)
    return str(number) if number > -(2**31) else "INT32_MIN"


def struct(kind: str, name: str, fields: Mapping[str, object]) -> str:
    """A constant struct; `fields` in the order of its declaration: C++17 has no designators."""
    body = "".join(f"    /* {field} */ {value},\n" for field, value in fields.items())
    return f"static const {kind} {name} = {{\n{body}}};\n"


def function(comment: str, head: str, body: Sequence[str]) -> str:
    """A function; its body's lines are indented by their braces."""
    depth, lines = 1, []
    for line in body:
        depth -= line.startswith("}")
        lines.append(line if line.startswith("#") else "    " * depth + line)
        depth += line.endswith("{")
    text = "\n".join(lines)
    return f"/* {comment} */\n{head}\n{{\n{text}\n}}\n"


def times(text: str, factor: int) -> str:
    """`text`, a term of unsigned C, times `factor`."""
    return text if factor == 1 else f"{text} * {factor}u"


def shape(values: tuple[int, int, int]) -> str:
    return "{{{}, {}, {}}}".format(*values)


def window(block: ConvPool, in_shape: tuple[int, int, int], out_shape: tuple[int, int, int]) -> str:
    """Initializer of an `ebnn_window_t`."""
    return (
        f"{{/* in */ {shape(in_shape)}, /* out */ {shape(out_shape)},\n"
        f"        /* kernel_height */ {block.kernel_height},"
        f" /* kernel_width */ {block.kernel_width}, /* stride */ {block.stride},\n"
        f"        /* padding */ {block.padding}, /* pool */ {block.pool},"
        f" /* pool_stride */ {block.pool_stride}, /* groups */ {block.groups}}}"
    )
