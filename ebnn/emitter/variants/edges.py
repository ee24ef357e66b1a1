"""How the positions of a convolution hang over its map: those of a class do so alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebnn.emitter.variants.common import conv_of
from ebnn.lowered import HiddenLayer


@dataclass(frozen=True)
class Edges:
    """Of `rows` rows and `columns` columns before pooling, as many as the pooled map needs, the
    first `edge` hang over the map each in a way of its own, then `middle_rows` (`middle_columns`)
    are alike, then each is by itself again. `ebnn_edge_class` of bits.h tells the class."""

    rows: int
    columns: int
    edge: int
    middle_rows: int
    middle_columns: int

    @property
    def row_classes(self) -> int:
        return self.row_class(self.rows - 1) + 1

    @property
    def column_classes(self) -> int:
        return self.column_class(self.columns - 1) + 1

    def row_class(self, row: int) -> int:
        return _class_of(row, self.edge, self.middle_rows)

    def column_class(self, column: int) -> int:
        return _class_of(column, self.edge, self.middle_columns)


def _class_of(position: int, edge: int, middle: int) -> int:
    if position < edge:
        return position
    return edge if position < edge + middle else position - middle + 1


def edges_of(layer: HiddenLayer) -> Edges:
    """The edges of a convolution."""
    block = conv_of(layer)
    _, height, width = layer.in_shape
    rows, columns = ((size - 1) * block.pool_stride + block.pool for size in layer.out_shape[1:])
    edge = -(-block.padding // block.stride)

    def middle(size: int, kernel: int, positions: int) -> int:
        last = min((size + block.padding - kernel) // block.stride, positions - 1)
        return max(1, last - edge + 1)

    return Edges(
        rows,
        columns,
        edge,
        middle(height, block.kernel_height, rows),
        middle(width, block.kernel_width, columns),
    )


def edge_fields(edges: Edges) -> dict[str, object]:
    """The fields of a kernel's struct that tell a position's class."""
    return {
        "edge": edges.edge,
        "middle_rows": edges.middle_rows,
        "middle_columns": edges.middle_columns,
        "column_classes": edges.column_classes,
    }


def outside_of(layer: HiddenLayer) -> NDArray[np.bool_]:
    """[row class][column class][kernel row][kernel column]: where a window is outside the map."""
    block, edges = conv_of(layer), edges_of(layer)
    _, height, width = layer.in_shape

    def outside(positions: int, middle: int, kernel: int, size: int) -> NDArray[np.bool_]:
        at = [p for p in range(positions) if not edges.edge < p < edges.edge + middle]
        first = np.array(at)[:, None] * block.stride - block.padding
        place = first + np.arange(kernel)
        return (place < 0) | (place >= size)

    rows = outside(edges.rows, edges.middle_rows, block.kernel_height, height)
    columns = outside(edges.columns, edges.middle_columns, block.kernel_width, width)
    return rows[:, None, :, None] | columns[None, :, None, :]
