"""The text of a model's source: its constants, then its functions that call the kernels."""

from __future__ import annotations

from ebnn.emitter.model import Model, arena_bytes, quantized_values


def source_text(model: Model) -> str:
    """Of the source file; valid C99 and C++17."""
    name, program = model.name, model.program
    big = name.upper()
    parts = [model.banner, f'#include "{model.header}"\n\n#include "ebnn_kernels.h"\n']
    parts.append("#include <stddef.h>\n")
    if any(step.block is not None for step in program.steps):
        parts.append(
            f"#ifdef {big}_TRACE\n"
            f"#define TRACE(block, map, map_bytes) {name}_trace(block, map, map_bytes)\n"
            "#else\n#define TRACE(block, map, map_bytes) ((void)0)\n#endif\n"
        )
    parts += [
        f"/* {call.title} */\n{call.declarations}" for call in program.calls if call.declarations
    ]
    parts.append(_functions(model))
    return "\n".join(parts)


def _functions(model: Model) -> str:
    name, big = model.name, model.name.upper()
    has_arena = bool(arena_bytes(model.network, model.program))
    body = "\n    ".join(_body(model))
    static, argument = "", "NULL"
    if has_arena:
        static, argument = f"static {name}_arena_t static_arena;\n\n", "&static_arena"
    return f"""/* Inlined into both, so that the static arena's addresses are constants. */
static inline int infer({name}_arena_t *arena, const {name}_input_t *in, {name}_output_t *out) {{
    {body}
}}

int {name}_infer_in({name}_arena_t *arena, const {name}_input_t *in, {name}_output_t *out) {{
    return infer(arena, in, out);
}}

#ifndef {big}_NO_STATIC_ARENA
{static}int {name}_infer(const {name}_input_t *in, {name}_output_t *out) {{
    return infer({argument}, in, out);
}}
#endif
"""


def _body(model: Model) -> list[str]:
    """The statements of an inference."""
    program, plan = model.program, model.program.plan
    spec = model.network.architecture.input
    source = "in->words" if spec.kind == "bits" else "&in->values[0][0][0]"
    body = ["int32_t *const scores = out == NULL ? NULL : out->scores;"]
    if plan.arena_bytes:
        body.append(f"{program.element} *const maps = arena->maps;")
    count = quantized_values(model.network)
    if count:
        scale = float(2.0**spec.fraction_bits).hex()
        body.append(f"ebnn_quantize({source}, arena->quantized, {count}u, {scale}f);")
        source = "arena->quantized"
    elif not plan.arena_bytes:
        body.append("(void)arena;")
    places = zip(program.steps, plan.map_offsets, plan.scratch_offsets, strict=True)
    for step, map_offset, scratch_offset in places:
        output = f"maps + {map_offset // program.element_bytes}"
        scratch = f"maps + {scratch_offset // program.element_bytes}"
        body.append(step.call.format(input=source, output=output, scratch=scratch))
        if step.block is not None:
            body.append(f"TRACE({step.block}, {output}, {step.output_bytes}u);")
        source = output
    body.append(f"return {program.head.call.format(input=source)};")
    return body
