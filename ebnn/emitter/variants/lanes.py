"""How conv_planes.c lays the positions of a convolution out in lanes, 32 a word."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ebnn.architecture import fan_in
from ebnn.emitter.variants.common import conv_of, group_channels, group_filters
from ebnn.emitter.variants.edges import Edges, edges_of
from ebnn.lowered import HiddenLayer

COUNT_PLANES = 11  # EBNN_COUNT_PLANES
LANES = 32


@dataclass(frozen=True)
class Lanes:
    """The positions lie in one row of lanes, `pitch` lanes from one of the map's rows to the next.
    A window is `shifts` lanes wide, and `phases` of a stride's columns are used."""

    edges: Edges
    pitch: int
    shifts: int
    phases: int

    @property
    def spans(self) -> list[tuple[int, int]]:
        """(row, column) where each span of 32 lanes starts: its first 33 - shifts positions are
        computed at once."""
        starts, row, column = [], 0, 0
        while row < self.edges.rows:
            starts.append((row, column))
            ahead = column + LANES + 1 - self.shifts
            row, column = row + ahead // self.pitch, ahead % self.pitch
            if column >= self.edges.columns:
                row, column = row + 1, 0
        return starts

    def last_row(self, row: int, column: int) -> int:
        """The last row of positions in the span that starts there."""
        return min(row + (column + LANES - self.shifts) // self.pitch, self.edges.rows - 1)

    def classes(self, row: int, column: int) -> int:
        """Classes of positions in the span that starts there."""
        edges = self.edges
        lanes = column + np.arange(LANES + 1 - self.shifts)
        places = zip(row + lanes // self.pitch, lanes % self.pitch, strict=True)
        found = {
            (edges.row_class(int(y)), edges.column_class(int(x)))
            for y, x in places
            if y < edges.rows and x < edges.columns
        }
        return len(found)


def lanes_of(layer: HiddenLayer) -> Lanes | None:
    """The lanes for a convolution, None where conv_planes.c does not serve."""
    block = conv_of(layer)
    if fan_in(block, layer.in_shape) + 3 >= 1 << COUNT_PLANES:
        return None
    edges = edges_of(layer)
    shifts = -(-block.kernel_width // block.stride)
    phases = min(block.stride, block.kernel_width)
    # Lanes outside the map at the right of a row can be those at the left of the next.
    seen = edges.columns + shifts - 1
    left = max(0, -(-(block.padding - phases + 1) // block.stride))
    inside = -(-(layer.in_shape[2] + block.padding) // block.stride)
    pitch = seen - min(left, max(0, seen - inside), shifts - 1)
    return Lanes(edges, pitch, shifts, phases)


def plane_runs(layer: HiddenLayer) -> int:
    """Runs of 32 planes of a span and group: [phase][kernel row][channel], each phase in whole
    runs."""
    block = conv_of(layer)
    of_phase = -(-block.kernel_height * group_channels(layer) // LANES)
    return min(block.stride, block.kernel_width) * of_phase


def filter_sets(layer: HiddenLayer, at_once: int) -> list[range]:
    """Filters that are computed at once: those of a group, cut where `at_once` of all are full."""
    filters = len(layer.weight)
    ends = {*range(at_once, filters, at_once), filters}
    ends |= set(range(0, filters, group_filters(layer))) - {0}
    return [range(first, end) for first, end in pairwise([0, *sorted(ends)])]


def plane_halves(layer: HiddenLayer) -> int:
    """The same in halves: the last run can be one."""
    last = conv_of(layer).kernel_height * group_channels(layer) % LANES
    return 2 * plane_runs(layer) - (0 < last <= LANES // 2)
