"""head_lookup.c and generated lookups: how many inputs match the weights of 10 classes, from tables
that the bits of a few inputs lead into. Serves heads on bits, for many times the weights' flash."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ebnn.emitter.c_text import array, struct
from ebnn.emitter.layout import WORD_BITS
from ebnn.emitter.program import Head
from ebnn.emitter.variants.common import total_bytes
from ebnn.emitter.variants.lookups import PART_INPUTS, Run, grouped, runs_of
from ebnn.emitter.variants.site import Site, Variant
from ebnn.lowered import HeadLayer

_OUTPUTS_AT_ONCE = 10  # fields of an entry
_FIELD_BITS = 3
_CLASSES_MAX = 64  # that a key tells apart
_PARTS_MAX = 64  # on the stack
_AT_ONCE_MAX = 3  # lookups
_PART_BYTES = 8
_NO_KEY = -(2**30)


def head_lookup(bits: int) -> Variant[HeadLayer, Head]:
    """The variant that looks up to `bits` inputs up at a time, 1 to 7."""
    return Variant(
        f"head_lookup{bits}",
        lambda site: _serves(site, bits),
        lambda site: _call(site, bits),
        lambda site: _work(site, bits),
        more_stack_bytes=lambda site: _PART_BYTES * _part_count(_runs(site, bits)),
    )


def table_bytes(site: Site[HeadLayer], bits: int) -> int:
    """Flash that the tables take."""
    return 4 * _groups(site) * _entries(_runs(site, bits))


def _groups(site: Site[HeadLayer]) -> int:
    return -(-len(site.layer.weight) // _OUTPUTS_AT_ONCE)


def _runs(site: Site[HeadLayer], bits: int) -> list[Run]:
    used = site.layout.pack(np.ones(site.layer.in_shape, np.int8))
    return runs_of(used.tolist(), bits)


def _entries(runs: list[Run]) -> int:
    return sum(run.repeat * lookup.entries for run in runs for lookup in run.lookups)


def _part_count(runs: list[Run]) -> int:
    return sum(run.repeat * len(run.parts) for run in runs)


def _serves(site: Site[HeadLayer], bits: int) -> bool:
    if site.layout.bit_of is None or site.layer.weight.shape[0] > _CLASSES_MAX:
        return False
    return _part_count(_runs(site, bits)) <= _PARTS_MAX


def _call(site: Site[HeadLayer], bits: int) -> Head:
    layer, name = site.layer, site.name
    runs = _runs(site, bits)
    tables, scales = _tables(site, runs), _scales(layer)
    declarations = (
        '#include "head_lookup.h"\n\n'
        + array(f"{name}_tables", tables, "matches: groups of 10 classes, then tables in turn")
        + array(f"{name}_scales", scales, "multiplier and offset of each class's key")
        + struct(
            "ebnn_lookup_t",
            name,
            {
                "outputs": layer.weight.shape[0],
                "parts": _part_count(runs),
                "scales": f"{name}_scales",
            },
        )
        + _functions(site, runs)
    )
    return Head(
        title=f"{layer.block}, argmax",
        declarations=declarations,
        call=f"{name}_head({{input}}, scores)",
        kernels=("head_lookup.c", "head_lookup.h"),
        region=f"{name}_head",
        parameter_bytes=total_bytes(tables, scales),
    )


def _tables(site: Site[HeadLayer], runs: list[Run]) -> NDArray[np.uint32]:
    """All entries, (groups of 10 outputs, entries)."""
    layout, weight, groups = site.layout, site.layer.weight, _groups(site)
    assert layout.bit_of is not None
    positive = np.zeros((groups * _OUTPUTS_AT_ONCE, layout.words * WORD_BITS), np.bool_)
    positive[: len(weight), layout.bit_of.ravel()] = weight > 0
    fields = np.uint32(1) << (_FIELD_BITS * np.arange(_OUTPUTS_AT_ONCE, dtype=np.uint32))
    tables = []
    for run in runs:
        for block in range(run.repeat):
            for lookup in run.lookups:
                word = run.first_word + block * run.words + lookup.word
                bits = np.flatnonzero(lookup.used >> np.arange(WORD_BITS) & 1)
                values = np.arange(lookup.entries)[:, None] >> bits & 1 == 1
                weights = positive[:, word * WORD_BITS + lookup.shift + bits]
                matches = (values[:, None] == weights).sum(axis=2).astype(np.uint32)
                by_group = matches.reshape(lookup.entries, groups, _OUTPUTS_AT_ONCE)
                tables.append((by_group * fields).sum(axis=2, dtype=np.uint32))
    return np.ascontiguousarray(np.concatenate(tables).T)


def _scales(layer: HeadLayer) -> NDArray[np.int32]:
    """Multiplier and offset of each class's key, (classes to whole tens, 2)."""
    outputs, inputs = layer.weight.shape
    multiplier, offset = layer.multiplier.astype(np.int64), layer.offset.astype(np.int64)
    scales = np.zeros((-(-outputs // _OUTPUTS_AT_ONCE) * _OUTPUTS_AT_ONCE, 2), np.int64)
    scales[:, 1] = _NO_KEY
    # The sum is 2 * matches - inputs.
    scales[:outputs, 0] = _CLASSES_MAX * 2 * multiplier
    scales[:outputs, 1] = _CLASSES_MAX * (offset - inputs * multiplier)
    scales[:outputs, 1] += _CLASSES_MAX - 1 - np.arange(outputs)
    return scales.astype(np.int32)


def _functions(site: Site[HeadLayer], runs: list[Run]) -> str:
    name = site.name
    lookups = ""
    place = 0
    for run in runs:
        if run.first_word != place:
            lookups += f"    in += {run.first_word - place};\n"
        lookups += _run_text(run)
        place = run.first_word + (run.repeat * run.words if run.repeat > 1 else 0)
    return (
        f"\n/* Look up how many inputs match, {PART_INPUTS} inputs a part at most. */\n"
        f"static void {name}_look_up(const uint32_t *in, const uint32_t *table,\n"
        f"                    ebnn_part_t *parts)\n{{\n"
        f"    uint32_t x;\n    ebnn_part_t part;\n{lookups}}}\n\n"
        f"EBNN_NOINLINE int {name}_head(const uint32_t *in, int32_t *scores)\n{{\n"
        f"    ebnn_part_t parts[{_part_count(runs)}];\n"
        f"    const uint32_t *table = {name}_tables;\n"
        f"    int32_t key = EBNN_NO_KEY;\n"
        f"    for (uint32_t first = 0; first < {site.layer.weight.shape[0]}u;"
        f" first += EBNN_LOOKUP_OUTPUTS) {{\n"
        f"        {name}_look_up(in, table, parts);\n"
        f"        key = ebnn_lookup_best(&{name}, first, parts, scores, key);\n"
        f"        table += {_entries(runs)};\n"
        f"    }}\n    return ebnn_lookup_class(key);\n}}\n"
    )


def _run_text(run: Run) -> str:
    """C of a run: `in`, `table` and `parts` move along."""
    lines = []
    loaded = None
    for part in run.parts:
        lines.append("part.all = part.odd = 0;")
        for group in grouped(part, _AT_ONCE_MAX):
            first = group[0]
            if first.word != loaded:
                loaded = first.word
                lines.append(f"x = in[{loaded}];")
            place = f"{first.shift}, {first.width}, {len(group)}"
            lines.append(f"EBNN_LOOK_UP(part, table, x, {place});")
        lines.append("*parts++ = part;")
    if run.repeat == 1:
        return "    " + "\n    ".join(lines) + "\n"
    lines.append(f"in += {run.words};")
    body = "\n        ".join(lines)
    return f"    for (uint32_t i = 0; i < {run.repeat}u; ++i) {{\n        {body}\n    }}\n"


def _work(site: Site[HeadLayer], bits: int) -> Mapping[str, float]:
    groups, runs = _groups(site), _runs(site, bits)
    return {
        "lookups": groups * sum(run.repeat * len(run.lookups) for run in runs),
        "words": groups * sum(run.repeat * run.words for run in runs),
        "parts": groups * _part_count(runs),
        "groups": groups,
    }
