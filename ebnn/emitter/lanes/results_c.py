"""C that pools, and writes the map that the next block reads."""

from __future__ import annotations

from ebnn.emitter.lanes.c_blocks import braces, function, plus, shifted
from ebnn.emitter.lanes.geometry import WORD_BITS, Lanes
from ebnn.emitter.lanes.plan import Plan
from ebnn.emitter.layout import pixel_bytes


def results_c(plan: Plan) -> str:
    """The functions."""
    if plan.packed:
        return "".join(_pack(plan, group) for group in range(len(plan.groups)))
    sizes = sorted({(count, len(group)) for _, _, count in plan.batches for group in plan.groups})
    merges = "".join(_merge(plan, count, filters) for count, filters in sizes)
    return merges + _write(plan)


def results_calls(plan: Plan, group: int, strip: int, first: str, count: int) -> list[str]:
    """Statements for `count` pooled words of a group, from `first`, a C expression, on."""
    filters = plan.groups[group]
    if plan.packed:
        masks = []
        if plan.is_ragged:
            start = strip * plan.lanes.band_rows
            masks = [plus(f"{plan.name}_masks", str(start), first)]
        words = plan.merge.words(len(filters)) * count
        arguments = ", ".join(["reached", *masks, "out", f"out + {words}"])
        return [f"{plan.name}_pool{group}({arguments});", f"out += {words};"]
    merged = plus("merged", str(filters.start % plan.transposed))
    calls = [f"{plan.name}_merge{count}x{len(filters)}(reached, {merged});"]
    if filters.stop % plan.transposed == 0 or filters.stop == plan.filters:
        calls += _write_calls(plan, (filters.stop - 1) // plan.transposed, strip, first, count)
    if filters.stop == plan.filters:
        parts = _pixel_parts(plan)
        for part in range(-(-plan.filters // plan.transposed), parts):
            calls += _write_calls(plan, part, strip, first, count)
    return calls


def _row_step(lanes: Lanes) -> int:
    """Words before pooling from a pooled word to the next, of those that are kept."""
    return lanes.block.pool if lanes.has_gaps else lanes.block.pool_stride


def _pooled(lanes: Lanes, name: str, filters: int, at: int) -> list[str]:
    """Lines that make `name` of a filter's words before pooling, the first one `reached[at]`."""
    block = lanes.block
    parts = [f"reached[{at + word * filters}]" for word in range(block.pool)]
    lines = [f"uint32_t {name} = {' | '.join(parts)};"]
    reach = 1
    while reach < block.pool:
        by = min(reach, block.pool - reach)
        lines.append(f"{name} |= {name} >> {by * block.stride};")
        reach += by
    return lines


def _pack(plan: Plan, group: int) -> str:
    filters, merge = plan.groups[group], plan.merge
    each = len(merge.shifts)
    mask = "mask" if plan.is_ragged else f"0x{plan.mask:x}u"
    lines = ["const uint32_t mask = *masks++;"] if plan.is_ragged else []
    ready: list[str] = []
    done = 0
    for first in range(0, len(filters), each):
        members = range(first, min(len(filters), first + each))
        parts = []
        for at in members:
            lines += _pooled(plan.lanes, f"v{at}", len(filters), at)
            sign = "~" if plan.layer.flip[filters[at]] else ""
            parts.append(shifted(f"({sign}v{at} & {mask})", -merge.shifts[at - first]))
        lines.append(f"const uint32_t w{first} = {' | '.join(parts)};")
        bit = merge.place(first) - merge.shifts[0] - WORD_BITS * done
        ready.append(shifted(f"w{first}", -bit))
        if bit + merge.bits >= WORD_BITS:
            lines.append(f"out[{done}] = {' | '.join(ready)};")
            done += 1
            left = bit + merge.bits - WORD_BITS
            ready = [shifted(f"w{first}", merge.bits - left)] if left else []
    if ready:
        lines.append(f"out[{done}] = {' | '.join(ready)};")
        done += 1
    lines += [f"reached += {_row_step(plan.lanes) * len(filters)};", f"out += {done};"]
    masks = ["const uint32_t *masks"] if plan.is_ragged else []
    return function(
        f"Pool, and pack: {merge.bits} bits of each {each} filters.",
        f"{plan.name}_pool{group}",
        ["const uint32_t *reached", *masks, "uint32_t *out", "const uint32_t *end"],
        braces("while (out != end)", lines),
    )


def _merge(plan: Plan, count: int, filters: int) -> str:
    lines, parts = [], []
    for word in range(count):
        lines += _pooled(plan.lanes, f"v{word}", filters, word * _row_step(plan.lanes) * filters)
        parts.append(shifted(f"(v{word} & 0x{plan.mask:x}u)", -plan.merge.shifts[word]))
    lines += [f"*merged++ = {' | '.join(parts)};", "++reached;"]
    return function(
        f"Pool, and merge {count} pooled words of each of {filters} filters.",
        f"{plan.name}_merge{count}x{filters}",
        ["const uint32_t *reached", "uint32_t *merged"],
        braces(f"for (const uint32_t *const end = merged + {filters}; merged != end;)", lines),
    )


def _write(plan: Plan) -> str:
    block, count = plan.lanes.block, plan.transposed_words
    part = _part(plan)
    value = "words[lane]"
    if count < WORD_BITS:
        run = f"words[lane & {count - 1}u] >> (lane & {WORD_BITS - count}u)"
        value = f"({run} & 0x{(1 << count) - 1:x}u)"
    value = f"{value} ^ flips"
    lines = [
        f"*out = {value};" if part == "uint32_t" else f"*out = ({part})({value});",
        f"lane += {block.stride * block.pool_stride}u;",
        f"out += {_pixel_parts(plan)};",
    ]
    return function(
        "A row of the map, from transposed words: their lanes from `lane` on.",
        f"{plan.name}_write",
        ["const uint32_t *words", "uint32_t lane", "uint32_t flips", f"{part} *out"],
        braces(f"for (uint32_t x = 0; x < {plan.lanes.columns}u; ++x)", lines),
    )


def _part(plan: Plan) -> str:
    """C type of what is written of a pixel at once."""
    return {32: "uint32_t", 16: "ebnn_half_t", 8: "uint8_t"}[plan.transposed]


def _pixel_parts(plan: Plan) -> int:
    """Parts of a pixel."""
    return 8 * pixel_bytes(plan.filters, plan.unit_bytes) // plan.transposed


def _write_calls(plan: Plan, part: int, strip: int, first: str, count: int) -> list[str]:
    """Transpose the words of the filters of part `part` of a pixel, and write it to each."""
    lanes = plan.lanes
    _, height, width = lanes.out_shape
    parts = _pixel_parts(plan)
    filters = range(plan.transposed * part, min(plan.filters, plan.transposed * (part + 1)))
    out = "out" if _part(plan) == "uint32_t" else f"({_part(plan)} *)out"
    flips = sum(1 << bit for bit, f in enumerate(filters) if plan.layer.flip[f])
    calls = []
    if len(filters) < plan.transposed_words:
        head = f"for (uint32_t i = {len(filters)}; i < {plan.transposed_words}u; ++i)"
        calls += braces(head, ["merged[i] = 0;"])
    if filters:
        calls.append(f"ebnn_transpose(merged, {plan.transposed_words}u);")
    for slot, lane in enumerate(lanes.slot_lanes):
        for word, shift in enumerate(plan.merge.shifts[:count]):
            row = slot * lanes.band_rows + word
            start = (row * width + lanes.strips[strip]) * parts + part
            moved = f"{first} * {width * parts}u" if first else ""
            place = plus(out, str(start), moved)
            call = f"{plan.name}_write(merged, {lane + shift}u, 0x{flips:x}u, {place});"
            # The last band may have fewer rows than the others.
            if first and (slot + 1) * lanes.band_rows > height:
                calls += braces(f"if ({row}u + {first} < {height}u)", [call])
            elif first or row < height:
                calls.append(call)
    return calls
