"""The text of a model's header: its types, its sizes as macros, its two functions."""

from __future__ import annotations

from ebnn.emitter.model import Model, arena_bytes, quantized_values
from ebnn.inputs import input_elements


def header_text(model: Model) -> str:
    """Of the header file; valid C99 and C++17."""
    network, program, name = model.network, model.program, model.name
    big = name.upper()
    spec = network.architecture.input
    arena = arena_bytes(network, program)
    shift = network.head.shift
    return f"""{model.banner}#ifndef {big}_MODEL_H
#define {big}_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {big}_MODEL_INPUT_CHANNELS {spec.channels}
#define {big}_MODEL_INPUT_HEIGHT {spec.height}
#define {big}_MODEL_INPUT_WIDTH {spec.width}
#define {big}_MODEL_CLASSES {network.architecture.classes}
/* A score of 1 is 2 to this power. */
#define {big}_MODEL_SCORE_SHIFT {shift if shift >= 0 else f"({shift})"}
/* Weights and thresholds, in flash. */
#define {big}_MODEL_PARAMETER_BYTES {program.parameter_bytes}
/* What an inference writes besides the scores and the stack. */
#define {big}_MODEL_ARENA_BYTES {arena}

{_input_type(model)}
/* The scores of the classes, of which the highest wins, and of equals the first. */
typedef struct {{
    int32_t scores[{big}_MODEL_CLASSES];
}} {name}_output_t;

{_arena_type(model, arena)}
/* Classify `in`: returns the class, 0 to {big}_MODEL_CLASSES - 1, and writes the scores to `out`
 * unless it is null. All that it writes is in `arena`, `out` and the stack: calls with different
 * arenas may interrupt each other. */
int {name}_infer_in({name}_arena_t *arena, const {name}_input_t *in, {name}_output_t *out);

#ifndef {big}_NO_STATIC_ARENA
/* The same in an arena of the model's own, so one call at a time. Where nothing calls this, a
 * linker that drops unused sections drops the arena too; {big}_NO_STATIC_ARENA leaves out both. */
int {name}_infer(const {name}_input_t *in, {name}_output_t *out);
#endif

#ifdef {big}_TRACE
/* To be defined by whoever wants to see the map that each block wrote. */
void {name}_trace(int block, const void *map, uint32_t map_bytes);
#endif

#ifdef __cplusplus
}}
#endif

#endif
"""


def _input_type(model: Model) -> str:
    spec = model.network.architecture.input
    big = model.name.upper()
    shape = "".join(f"[{big}_MODEL_INPUT_{axis}]" for axis in ("CHANNELS", "HEIGHT", "WIDTH"))
    if spec.kind == "bits":
        what = "Bits [channel][row][column], 32 a word, the first in bit 0; 1 is +1, 0 is -1."
        if len(spec.thresholds) > 1:
            order = ", then ".join(map(str, spec.thresholds))
            what += f"\n * First all channels of the data where at least {order}."
        member = f"uint32_t words[{input_elements(spec)}]"
    elif spec.kind == "float":
        limit = f"{-(2**11 - 1) / 2**spec.fraction_bits:g}"
        what = f"Used in steps of 2^-{spec.fraction_bits}, from {limit} to {limit.lstrip('-')}."
        member = f"float values{shape}"
    else:
        what = "Values 0 to 255."
        member = f"uint8_t values{shape}"
    return f"/* {what} */\ntypedef struct {{\n    {member};\n}} {model.name}_input_t;\n"


def _arena_type(model: Model, arena: int) -> str:
    plan, program = model.program.plan, model.program
    members = []
    if plan.arena_bytes:
        elements = plan.arena_bytes // program.element_bytes
        members.append(f"    {program.element} maps[{elements}];\n")
    quantized = quantized_values(model.network)
    if quantized:
        members.append(f"    int16_t quantized[{quantized}];\n")
    what = (
        "/* Memory for one inference, aligned to 4 bytes; it needs no start values, and keeps\n"
        " * nothing for the next one. */\n"
    )
    if not members:
        members.append("    uint32_t unused;\n")
        what = "/* This model needs no memory: the arena may be a null pointer. */\n"
    return f"{what}typedef struct {{\n{''.join(members)}}} {model.name}_arena_t;\n"
