"""Which bits of a map are looked up together, and in which order: for head_lookup.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

PART_INPUTS = 63  # that a field of 6 bits counts
_WRITTEN_OUT_MAX = 96  # lookups: more of them run in loops


@dataclass(frozen=True)
class Lookup:
    """Bits `shift`, `shift` + 1... of a block's word `word` lead to an entry of a table. `used`
    tells which of these bits stand for inputs, from its lowest bit on; the others are 0."""

    word: int
    shift: int
    used: int

    @property
    def width(self) -> int:
        return self.used.bit_length()

    @property
    def entries(self) -> int:
        return 1 << self.width

    @property
    def inputs(self) -> int:
        return self.used.bit_count()

    def is_followed_by(self, other: Lookup) -> bool:
        """Whether `other` takes as many bits, right behind these."""
        ends_at = self.word, self.shift + self.width, self.width
        return ends_at == (other.word, other.shift, other.width)


@dataclass(frozen=True)
class Run:
    """A loop over `repeat` blocks of `words` words, from `first_word` of the map on. `parts`: a
    block's lookups in order, by what is added up together: at most 63 inputs."""

    first_word: int
    repeat: int
    words: int
    parts: tuple[tuple[Lookup, ...], ...]

    @property
    def lookups(self) -> list[Lookup]:
        """Those of one block."""
        return [lookup for part in self.parts for lookup in part]


def runs_of(used_words: Sequence[int], bits: int) -> list[Run]:
    """Lookups by up to `bits` bits for a map whose words have the bits `used_words` in use: written
    out where they are few, else in loops over words that have the same ones in use."""
    if len(_lookups(used_words, bits)) <= _WRITTEN_OUT_MAX:
        return [_run(0, 1, used_words, bits)]
    runs = []
    first = 0
    for used, group in groupby(used_words):
        count = len(list(group))
        if used:
            at_once = min(count, max(1, PART_INPUTS // used.bit_count()))
            repeat, rest = divmod(count, at_once)
            runs.append(_run(first, repeat, [used] * at_once, bits))
            if rest:
                runs.append(_run(first + repeat * at_once, 1, [used] * rest, bits))
        first += count
    return runs


def grouped(part: Sequence[Lookup], most: int) -> Iterator[list[Lookup]]:
    """Up to `most` lookups that follow each other."""
    group: list[Lookup] = []
    for lookup in part:
        if group and (len(group) == most or not group[-1].is_followed_by(lookup)):
            yield group
            group = []
        group.append(lookup)
    yield group


def _lookups(used_words: Sequence[int], bits: int) -> list[Lookup]:
    lookups = []
    for word, used in enumerate(used_words):
        shift = 0
        while used >> shift:
            chunk = used >> shift & ((1 << bits) - 1)
            if chunk & 1:
                lookups.append(Lookup(word, shift, chunk))
                shift += bits
            else:
                shift += 1
    return lookups


def _run(first_word: int, repeat: int, used_words: Sequence[int], bits: int) -> Run:
    parts: list[list[Lookup]] = []
    room = 0
    for lookup in _lookups(used_words, bits):
        if lookup.inputs > room:
            parts.append([])
            room = PART_INPUTS
        parts[-1].append(lookup)
        room -= lookup.inputs
    return Run(first_word, repeat, len(used_words), tuple(map(tuple, parts)))
