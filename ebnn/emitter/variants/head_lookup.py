"""head_lookup.c and generated lookups: how many inputs match 10 classes' weights, from tables in
flash that a few inputs' bits index. Serves heads on bits, for many times the weights' flash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ebnn.emitter.c_text import array, struct
from ebnn.emitter.layout import WORD_BITS
from ebnn.emitter.program import Head
from ebnn.emitter.variants.common import total_bytes
from ebnn.emitter.variants.site import Site, Variant
from ebnn.lowered import HeadLayer

_Item = TypeVar("_Item")

_OUTPUTS_AT_ONCE = 10  # fields of an entry
_CLASSES_MAX = 64  # that a key tells apart
_FIELD_BITS = 3
_FIELD_MAX = 7
_PART_INPUTS = 63  # what a field of 6 bits counts up to
_PARTS_MAX = 64
_LOOKUPS_MAX = 96  # that are written out


@dataclass(frozen=True)
class Lookup:
    """A table that bits `shift`, `shift` + 1... of word `word` of a block index. `used`: which of
    these stand for inputs; the others are 0."""

    word: int
    shift: int
    used: int

    @property
    def entries(self) -> int:
        return 1 << self.used.bit_length()

    @property
    def inputs(self) -> int:
        return self.used.bit_count()


@dataclass(frozen=True)
class Run:
    """`repeat` blocks of `words` words. `parts`: a block's lookups, by sums of at most 63 inputs,
    and these by what is added up before its fields are told apart, at most 7 inputs."""

    first_word: int
    repeat: int
    words: int
    parts: tuple[tuple[tuple[Lookup, ...], ...], ...]

    @property
    def lookups(self) -> list[Lookup]:
        return [lookup for part in self.parts for together in part for lookup in together]


def _lookups(used_words: Sequence[int], bits: int) -> Iterator[Lookup]:
    for word, used in enumerate(used_words):
        shift = 0
        while used >> shift:
            if used >> shift & 1:
                yield Lookup(word, shift, used >> shift & ((1 << bits) - 1))
                shift += bits
            else:
                shift += 1


def _split(items: Iterable[_Item], inputs: Callable[[_Item], int], most: int) -> list[list[_Item]]:
    """Runs of items with at most so many inputs."""
    lists: list[list[_Item]] = []
    room = 0
    for item in items:
        if inputs(item) > room:
            lists.append([])
            room = most
        lists[-1].append(item)
        room -= inputs(item)
    return lists


def _pairs(lookups: Iterable[Lookup]) -> list[list[Lookup]]:
    """Two of a word together where a field holds both their inputs, else one."""
    pairs: list[list[Lookup]] = []
    for lookup in lookups:
        last = pairs[-1] if pairs else []
        if (
            len(last) == 1
            and last[0].word == lookup.word
            and last[0].inputs + lookup.inputs <= _FIELD_MAX
        ):
            last.append(lookup)
        else:
            pairs.append([lookup])
    return pairs


def _run(first_word: int, repeat: int, used_words: Sequence[int], bits: int) -> Run:
    together = _pairs(_lookups(used_words, bits))
    parts = _split(together, lambda sums: sum(lookup.inputs for lookup in sums), _PART_INPUTS)
    return Run(
        first_word, repeat, len(used_words), tuple(tuple(map(tuple, part)) for part in parts)
    )


def _runs(used_words: Sequence[int], bits: int) -> list[Run]:
    """All lookups written out, where they are few; else loops over words with the same bits."""
    if sum(1 for _ in _lookups(used_words, bits)) <= _LOOKUPS_MAX:
        return [_run(0, 1, used_words, bits)]
    runs = []
    first = 0
    for used, group in groupby(used_words):
        count = len(list(group))
        at_once = min(count, max(1, _PART_INPUTS // max(1, used.bit_count())))
        repeat, rest = divmod(count, at_once)
        if used:
            runs.append(_run(first, repeat, [used] * at_once, bits))
        if used and rest:
            runs.append(_run(first + repeat * at_once, 1, [used] * rest, bits))
        first += count
    return runs


def _tables(site: Site[HeadLayer], runs: list[Run]) -> NDArray[np.uint32]:
    """All entries, (groups of 10 outputs, entries)."""
    layout, weight = site.layout, site.layer.weight
    assert layout.bit_of is not None
    groups = -(-len(weight) // _OUTPUTS_AT_ONCE)
    # Of an output past the last one and of a bit not in use nothing is read.
    positive = np.zeros((groups * _OUTPUTS_AT_ONCE, layout.words * WORD_BITS), np.bool_)
    positive[: len(weight), layout.bit_of.ravel()] = weight > 0
    fields = np.uint32(1) << (_FIELD_BITS * np.arange(_OUTPUTS_AT_ONCE, dtype=np.uint32))
    parts = []
    for run in runs:
        for block in range(run.repeat):
            for lookup in run.lookups:
                word = run.first_word + block * run.words + lookup.word
                bits = np.flatnonzero(lookup.used >> np.arange(WORD_BITS) & 1)
                index = np.arange(lookup.entries)[:, None] >> bits & 1 == 1
                weights = positive[:, word * WORD_BITS + lookup.shift + bits]
                matches = (index[:, None] == weights).sum(axis=2).astype(np.uint32)
                by_group = matches.reshape(lookup.entries, groups, _OUTPUTS_AT_ONCE)
                parts.append((by_group * fields).sum(axis=2, dtype=np.uint32))
    return np.ascontiguousarray(np.concatenate(parts).T)


def _part_text(part: Sequence[Sequence[Lookup]], loaded: int | None) -> list[str]:
    """C that adds a part's entries up; word `loaded` of the block is in x."""
    lines = ["part.all = part.odd = 0;"]
    waiting: list[Lookup] = []

    def write(name: str, lookups: Sequence[Lookup]) -> None:
        places = ", ".join(f"{lookup.shift}, {lookup.used.bit_length()}" for lookup in lookups)
        lines.append(f"EBNN_LOOK_UP{name}(part, table, x, {places});")

    def flush() -> None:
        if waiting:
            write(str(len(waiting)), waiting)
            waiting.clear()

    for together in part:
        first = together[0]
        if first.word != loaded or len(together) > 1 or len(waiting) == 3:
            flush()
        if first.word != loaded:
            loaded = first.word
            lines.append(f"x = in[{loaded}];")
        if len(together) > 1:
            write("_PAIR", together)
        else:
            waiting.append(first)
    flush()
    return [*lines, "*parts++ = part;"]


def _run_text(run: Run) -> str:
    """C of a run: `in` and `table` move along, and each part goes to `parts`."""
    lines: list[str] = []
    loaded = None
    for part in run.parts:
        lines += _part_text(part, loaded)
        loaded = part[-1][-1].word
    if run.repeat == 1:
        return "    " + "\n    ".join(lines) + "\n"
    lines.append(f"in += {run.words};")
    body = "\n        ".join(lines)
    return f"    for (uint32_t i = 0; i < {run.repeat}u; ++i) {{\n        {body}\n    }}\n"


def _function(name: str, runs: list[Run], outputs: int) -> str:
    parts = _part_count(runs)
    text = ""
    place = 0
    for run in runs:
        if run.first_word != place:
            text += f"    in += {run.first_word - place};\n"
        text += _run_text(run)
        place = run.first_word + (run.repeat * run.words if run.repeat > 1 else 0)
    return (
        f"/* Look up how many inputs match, up to {_PART_INPUTS} inputs a part. */\n"
        f"static void {name}_look_up(const uint32_t *in, const uint32_t *table,\n"
        f"                    ebnn_part_t *parts)\n{{\n"
        f"    uint32_t x;\n    ebnn_part_t part;\n{text}}}\n\n"
        f"EBNN_NOINLINE int {name}_head(const uint32_t *in, int32_t *scores)\n{{\n"
        f"    ebnn_part_t parts[{parts}];\n"
        f"    int32_t key = EBNN_NO_KEY;\n"
        f"    const uint32_t *table = {name}_tables;\n"
        f"    for (uint32_t first = 0; first < {outputs}u; first += EBNN_LOOKUP_OUTPUTS) {{\n"
        f"        {name}_look_up(in, table, parts);\n"
        f"        key = ebnn_lookup_best(&{name}, first, parts, scores, key);\n"
        f"        table += {_entries(runs)};\n"
        f"    }}\n    return ebnn_lookup_class(key);\n}}\n"
    )


def _part_count(runs: list[Run]) -> int:
    return sum(run.repeat * len(run.parts) for run in runs)


def _entries(runs: list[Run]) -> int:
    return sum(run.repeat * sum(lookup.entries for lookup in run.lookups) for run in runs)


def _site_runs(site: Site[HeadLayer], bits: int) -> list[Run]:
    used = site.layout.pack(np.ones(site.layer.in_shape, np.int8))
    return _runs(used.tolist(), bits)


def _serves(site: Site[HeadLayer], bits: int) -> bool:
    if site.layout.bit_of is None or site.layer.weight.shape[0] > _CLASSES_MAX:
        return False
    runs = _site_runs(site, bits)
    written_out = sum(len(run.lookups) for run in runs)
    return written_out <= _LOOKUPS_MAX and _part_count(runs) <= _PARTS_MAX


def _scales(layer: HeadLayer) -> NDArray[np.int32]:
    """Multiplier and offset of each class's key, (classes to whole tens, 2)."""
    outputs, inputs = layer.weight.shape
    scales = np.zeros((-(-outputs // _OUTPUTS_AT_ONCE) * _OUTPUTS_AT_ONCE, 2), np.int64)
    scales[:, 1] = -(2**30)  # below all keys
    # The sum is 2 * matches - inputs.
    scales[:outputs, 0] = 2 * layer.multiplier.astype(np.int64) * _CLASSES_MAX
    offset = layer.offset.astype(np.int64) - inputs * layer.multiplier.astype(np.int64)
    scales[:outputs, 1] = offset * _CLASSES_MAX + _CLASSES_MAX - 1 - np.arange(outputs)
    return scales.astype(np.int32)


def _call(site: Site[HeadLayer], bits: int) -> Head:
    layer, name = site.layer, site.name
    outputs = layer.weight.shape[0]
    runs = _site_runs(site, bits)
    tables = _tables(site, runs)
    scales = _scales(layer)
    declarations = (
        '#include "head_lookup.h"\n\n'
        + array(f"{name}_tables", tables, "matches: groups of 10 classes, then tables in turn")
        + array(f"{name}_scales", scales, "multiplier and offset of each class's key")
        + struct(
            "ebnn_lookup_t",
            name,
            {
                "outputs": outputs,
                "parts": _part_count(runs),
                "scales": f"{name}_scales",
            },
        )
        + _function(name, runs, outputs)
    )
    return Head(
        title=f"{layer.block}, argmax",
        declarations=declarations,
        call=f"{name}_head({{input}}, scores)",
        kernels=("head_lookup.c", "head_lookup.h"),
        region=f"{name}_head",
        parameter_bytes=total_bytes(tables, scales),
    )


def _work(site: Site[HeadLayer], bits: int) -> Mapping[str, float]:
    outputs = site.layer.weight.shape[0]
    groups = -(-outputs // _OUTPUTS_AT_ONCE)
    runs = _site_runs(site, bits)
    return {
        "lookups": groups * sum(run.repeat * len(run.lookups) for run in runs),
        "sums": groups * sum(run.repeat * len(part) for run in runs for part in run.parts),
        "words": groups * sum(run.repeat * run.words for run in runs),
        "parts": groups * _part_count(runs),
        "outputs": outputs,
    }


def head_lookup(bits: int) -> Variant[HeadLayer, Head]:
    """The variant with tables that up to `bits` inputs index."""
    return Variant(
        f"head_lookup{bits}",
        lambda site: _serves(site, bits),
        lambda site: _call(site, bits),
        lambda site: _work(site, bits),
    )
