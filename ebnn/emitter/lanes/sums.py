"""Sub-sums of a few products, which all filters share.

A filter's products are the taps' planes, complemented where its weight is -1. Three of them add up
to low + 2 carry, and what the signs of the weights change is little: `low`, the xor, is
complemented or not, and of `carry`, the majority, there are four variants, each complemented or
not. So each row of the map is cut into runs of three taps, whose low planes and carries serve every
filter and every row of a kernel that passes over it; and the low planes of a window's runs are
added up the same way, once for all filters. That leaves one low plane, and a carry for each two
taps, for each filter to choose from and to count.

The planes take about 2.3 words a product, more than there is scratch for large kernels: then
nothing is shared but the rows, and a filter reads its taps' planes from these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ebnn.emitter.lanes.c_blocks import shifted
from ebnn.emitter.lanes.circuit import Circuit, Signal
from ebnn.emitter.lanes.geometry import Lanes

# Variants of the carry of three products, by the signs of their weights (1 is -1).
_UNLIKE: list[tuple[int, ...]] = [(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1)]


@dataclass
class Adder:
    """Of two or three planes. The carries in `used` are kept, in planes from `first` on."""

    inputs: int
    used: set[int] = field(default_factory=set)
    first: int = 0

    def carry(self, signs: tuple[int, ...]) -> tuple[int, bool]:
        """Variant of the carry of products with these signs, and whether it is complemented."""
        if self.inputs == 2:
            return signs[0] + 2 * signs[1], signs == (1, 1)
        inverted = sum(signs) > 1
        return _UNLIKE.index(tuple(int(sign != inverted) for sign in signs)), inverted

    def plane(self, variant: int) -> int:
        return self.first + sorted(self.used).index(variant)

    def emit(self, circuit: Circuit, planes: Sequence[Signal]) -> tuple[Signal, list[Signal]]:
        """The low plane, and the carries that are used, in their order."""
        a, b = planes[:2]
        differ = circuit.xor(a, b)
        if self.inputs == 2:
            low = differ
            carries = [
                circuit.both(a, b),
                circuit.both(~a, b),
                circuit.both(a, ~b),
                circuit.either(a, b),
            ]
        else:
            c = planes[2]
            change = circuit.both(differ, circuit.xor(a, c))
            alike = circuit.xor(a, change)  # the majority of a, b and c
            unlike_b = circuit.xor(c, change)  # that of a, ~b and c
            carries = [alike, unlike_b, circuit.xor(unlike_b, differ), circuit.xor(alike, differ)]
            low = circuit.xor(differ, c)
        return low, [carries[variant] for variant in sorted(self.used)]


class SharedSums:
    """The sub-sums of a layer, and where their planes lie.

    Planes are numbered from the window's first row on: `pitch` for each row of the map, the first
    `row_planes` of them that row's own. What belongs to a window, `extra` words for others
    included, is in what is left of its first rows, those that are new to it. `weight` int8
    (filters, channels, kernel height, kernel width); `tabulated`: False where nothing is added up.
    Then the map's rows may be the planes, those of a channel `rows_apart` words behind another's.
    """

    def __init__(
        self,
        weight: NDArray[np.int8],
        lanes: Lanes,
        extra: int = 0,
        tabulated: bool = True,
        rows_apart: int = 0,
    ) -> None:
        filters, self._channels, self._rows, self._columns = weight.shape
        self._lanes = lanes
        self.tabulated = tabulated
        self._rows_apart = rows_apart
        # [filter][row][tap of the row]: 1 where the weight is -1
        signs = (weight < 0).astype(int).transpose(0, 2, 1, 3)
        self._signs = signs.reshape(filters, self._rows, self._channels * self._columns)
        taps = self._channels * self._columns
        runs = [min(3, taps - first) for first in range(0, taps, 3)]
        lows = self._rows * len(runs)
        self.row_adders = [Adder(run) for run in runs]
        self.window_adders = [Adder(3) for _ in range((lows - 1) // 2)]
        self.window_adders += [Adder(2)] * (lows % 2 == 0)
        if not tabulated:
            self.row_adders, self.window_adders = [], []
        for filter_ in range(filters):
            for adder, variant, _, _ in self._carries(filter_):
                adder.used.add(variant)
        self._place(extra)

    def _place(self, extra: int) -> None:
        plane = 0
        self.row_lows = []
        for adder in self.row_adders:
            adder.first = plane
            plane += len(adder.used)
            self.row_lows.append(plane)
            plane += 1
        self.row_planes = plane if self.tabulated else self._channels * len(self._lanes.phases)
        carries = 0
        for adder in self.window_adders:
            adder.first = carries
            carries += len(adder.used)
        lows = min(1, len(self.window_adders))
        self._each = -(-(carries + lows + extra) // self._lanes.row_step)
        self.pitch = 1 if self.are_rows else self.row_planes + self._each
        self.low_plane = self.window_plane(carries) if lows else self.row_planes - 1
        self.first_extra = self.window_plane(carries + lows) if extra else 0

    @property
    def are_rows(self) -> bool:
        """Whether the planes are the rows of the map."""
        return self._rows_apart > 0

    def window_plane(self, index: int) -> int:
        """Number of the plane that is the `index`-th of a window's own."""
        row, within = divmod(index, self._each)
        return row * self.pitch + self.row_planes + within

    def low_inputs(self) -> list[int]:
        """Numbers of the planes that the window's adders add up."""
        return [row * self.pitch + low for row in range(self._rows) for low in self.row_lows]

    def terms(self, filter_: int) -> list[list[Signal]]:
        """A filter's products, added up as far as that is shared: [weight][signal], worth
        2^weight."""
        if not self.tabulated:
            return [list(self._taps(filter_))]
        carries = []
        for adder, variant, inverted, row in self._carries(filter_):
            plane = adder.plane(variant)
            at = self.window_plane(plane) if row is None else row * self.pitch + plane
            carries.append(Signal(f"p[{at}]", inverted))
        inverted = int(self._signs[filter_].sum()) % 2 == 1
        return [[Signal(f"p[{self.low_plane}]", inverted)], carries]

    def reads(self, filter_: int) -> int:
        """Planes that a filter reads."""
        return sum(map(len, self.terms(filter_)))

    def _taps(self, filter_: int) -> Iterator[Signal]:
        phases = self._lanes.phases
        for row, signs in enumerate(self._signs[filter_].tolist()):
            for tap, sign in enumerate(signs):
                channel, column = divmod(tap, self._columns)
                phase, right = self._lanes.column_shift(column)
                apart = self._rows_apart or len(phases)
                plane = row * self.pitch + channel * apart + phases.index(phase)
                text = shifted(f"p[{plane}]", right)
                yield Signal(f"({text})" if right else text, sign == 1)

    def _carries(self, filter_: int) -> Iterator[tuple[Adder, int, bool, int | None]]:
        """(adder, variant, whether it is complemented, row of the kernel or None: the window's)"""
        if not self.tabulated:
            return
        lows = []
        for row, signs in enumerate(self._signs[filter_].tolist()):
            for run, adder in enumerate(self.row_adders):
                taps = tuple(signs[3 * run : 3 * run + adder.inputs])
                if adder.inputs > 1:
                    yield adder, *adder.carry(taps), row
                lows.append(sum(taps) % 2)
        for adder in self.window_adders:
            taps = tuple(lows[: adder.inputs])
            yield adder, *adder.carry(taps), None
            lows[: adder.inputs] = [sum(taps) % 2]
