"""The filters of conv_columns as sums of table entries, in an order in which they share terms."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from ebnn.emitter.variants.columns import Columns
from ebnn.lowered import HiddenLayer


@dataclass(frozen=True)
class Term:
    """An entry of the tables, counted from where a window's bits are, a row in front of its tables;
    it is added (sign 1) or subtracted (-1)."""

    entry: int
    sign: int


@dataclass(frozen=True)
class Filter:
    """Constant and terms add up to what is negative where filter `index` is below its threshold."""

    index: int
    constant: int
    terms: tuple[Term, ...]


def filters_of(columns: Columns, layer: HiddenLayer) -> list[Filter]:
    """Every filter, its terms by row, channel and chunk."""
    return [_filter(columns, layer, index) for index in range(columns.out_shape[0])]


def _filter(columns: Columns, layer: HiddenLayer, index: int) -> Filter:
    threshold = int(layer.threshold[index])
    # c_kernels/columns.h has both forms: at scale 1 the sum is subtracted.
    if columns.scale == 2:
        constant, sign = 1 - 2 * threshold, 1
    else:
        constant, sign = (1 << (columns.group_filters - 1)) + threshold - 1, -1
    terms = []
    for row in range(columns.block.kernel_height):
        for channel in range(columns.in_shape[0]):
            table = (1 + row) * columns.row_words + channel * columns.channel_sums
            for first, taps in columns.chunks:
                weights = [int(w) for w in layer.weight[index, channel, row, first : first + taps]]
                pattern = sum(1 << tap for tap in range(taps - 1) if weights[tap] == weights[-1])
                terms.append(Term(table + pattern, sign * weights[-1]))
                table += 1 << (taps - 1)
    return Filter(index, constant, tuple(terms))


def runs_of(columns: Columns, filters: list[Filter]) -> list[list[list[Filter]]]:
    """For each group of filters, runs of those whose first two terms are the same up to their sign.

    Where the window's first row is one term (`has_lead`), it stays the first, and runs are in its
    order.
    """
    starts = range(0, len(filters), columns.group_filters)
    return [_runs(columns, filters[start : start + columns.group_filters]) for start in starts]


def _runs(columns: Columns, group: list[Filter]) -> list[list[Filter]]:
    if columns.terms == 1:
        return [[one] for one in sorted(group, key=lambda one: one.terms[0].entry)]
    firsts = 1 if columns.has_lead else columns.terms
    pairs = [pair for pair in combinations(range(columns.terms), 2) if pair[0] < firsts]
    # The pair of terms that gives the fewest runs.
    first, second = min(pairs, key=lambda pair: len({_key(one, *pair) for one in group}))
    runs: dict[tuple[int, int, int], list[Filter]] = {}
    for one in sorted(group, key=lambda one: (_key(one, first, second), one.index)):
        rest = [term for place, term in enumerate(one.terms) if place not in (first, second)]
        terms = (one.terms[first], one.terms[second], *rest)
        runs.setdefault(_key(one, first, second), []).append(Filter(one.index, one.constant, terms))
    return list(runs.values())


def _key(one: Filter, first: int, second: int) -> tuple[int, int, int]:
    a, b = one.terms[first], one.terms[second]
    return a.entry, b.entry, a.sign * b.sign
