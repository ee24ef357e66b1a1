"""The C interface in firmware: several models in one ELF, reentrant, in memory that it is given."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from random_networks import random_checkpoint, random_samples

from ebnn import reference
from ebnn.architecture import InputSpec, parse
from ebnn.emitter import LOWERINGS, Library, Model, arena_bytes, program_of, write_folder
from ebnn.firmware import build_model
from ebnn.inputs import encode_input
from ebnn.lowered import LoweredNetwork, lower
from ebnn.sim import Machine
from ebnn.sim.board import load_board
from ebnn.sim.elf import Elf
from ebnn.sim.errors import UserError
from ebnn.toolchain.firmware import build_firmware
from ebnn.toolchain.gcc import core_flags, find_gcc
from ebnn.toolchain.host import build_program

M4F = load_board("generic-m4f")
SPECS = {"keyword": InputSpec(2, 10, 9), "wake": InputSpec(1, 12, 16, "float")}
ARCHITECTURES = {"keyword": "conv3x3-20 pool2, fc-5", "wake": "conv3x3-17, conv2x2-33 pool2, fc-7"}


def network(name: str) -> LoweredNetwork:
    return lower(random_checkpoint(parse(ARCHITECTURES[name], SPECS[name]), seed=len(name)))


def model(name: str, lowering: str = "fast") -> Model:
    found = network(name)
    return Model(found, program_of(found, lowering), name)


def firmware(text: str, folder: Path, names: list[str], optimize: str = "-O2") -> Path:
    """An ELF of `text` and the models with these names."""
    write_folder(Library(tuple(model(name) for name in names)), folder / "c")
    main = folder / "main.c"
    main.write_text(text)
    sources = [main, *sorted((folder / "c").glob("*.c"))]
    return build_firmware(sources, M4F, folder / "a.elf", [folder / "c"], optimize)


TWO_MODELS = """
#include "keyword.h"
#include "wake.h"
keyword_input_t keyword_in;
keyword_output_t keyword_out;
wake_input_t wake_in;
wake_output_t wake_out;
int main(void) {
    return keyword_infer(&keyword_in, &keyword_out) + wake_infer(&wake_in, &wake_out);
}
"""


def test_two_models_in_one_firmware_give_both_references_predictions(tmp_path: Path) -> None:
    machine = Machine(firmware(TWO_MODELS, tmp_path, ["keyword", "wake"]), board=M4F)
    machine.run_until("main")
    expected, inputs = {}, {}
    for name, spec in SPECS.items():
        samples = random_samples(spec, 6, seed=3)
        expected[name] = reference.run(network(name), samples)
        inputs[name] = encode_input(samples, spec)
    for index in range(6):
        for name in SPECS:
            source, output = machine.symbol(f"{name}_in"), machine.symbol(f"{name}_out")
            machine.write(source.address, inputs[name][index].tobytes())
            found = machine.call(f"{name}_infer", source.address, output.address)
            scores = np.frombuffer(machine.read(output.address, output.size_bytes), "<i4")
            assert scores.tolist() == expected[name].scores[index].tolist(), (name, index)
            assert found == expected[name].predictions[index]
            assert machine.call(f"{name}_infer", source.address, 0) == found


INTERRUPTED = """
#include "wake.h"
#include <stdint.h>
#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)
#define ICSR (*(volatile uint32_t *)0xE000ED04u)
wake_input_t inputs[2];
wake_output_t outputs[2];
int32_t classes[2];
volatile uint32_t interrupts;
static wake_arena_t arenas[2];
void SysTick_Handler(void);
void SysTick_Handler(void) {
    classes[1] = wake_infer_in(&arenas[1], &inputs[1], &outputs[1]);
    interrupts++;
    SYST_CVR = 0;     /* from here on the whole period again: */
    ICSR = 1u << 25;  /* those that passed meanwhile do not count */
}
int interrupted(void);
int interrupted(void) {
    SYST_RVR = 9000;
    SYST_CVR = 0;
    SYST_CSR = 7;
    classes[0] = wake_infer_in(&arenas[0], &inputs[0], &outputs[0]);
    SYST_CSR = 0;
    return (int)interrupts;
}
int main(void) {
    return interrupted();
}
"""


def test_an_inference_may_interrupt_another_of_the_same_model(tmp_path: Path) -> None:
    machine = Machine(firmware(INTERRUPTED, tmp_path, ["wake"]), board=M4F)
    machine.run_until("main")
    samples = random_samples(SPECS["wake"], 2, seed=4)
    expected = reference.run(network("wake"), samples)
    machine.write(machine.symbol("inputs").address, encode_input(samples, SPECS["wake"]).tobytes())
    assert machine.call("interrupted") > 5
    outputs, classes = machine.symbol("outputs"), machine.symbol("classes")
    scores = np.frombuffer(machine.read(outputs.address, outputs.size_bytes), "<i4")
    assert scores.tolist() == expected.scores.ravel().tolist()
    found = np.frombuffer(machine.read(classes.address, 8), "<i4")
    assert found.tolist() == expected.predictions.tolist()


def test_the_documents_example_compiles_and_takes_the_larger_arena(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "firmware.md").read_text()
    _, example = re.findall(r"```c\n(.*?)```", page, re.DOTALL)
    main = (
        "static wake_input_t sound;\nstatic keyword_input_t word;\n"
        "int main(void) { return heard(&sound, &word); }\n"
    )
    symbols = Elf(firmware(example + main, tmp_path, ["keyword", "wake"])).symbols
    arenas = [arena_bytes(one.network, one.program) for one in map(model, SPECS)]
    assert symbols["arena"].size_bytes == max(arenas)
    assert "static_arena" not in symbols


OWN_ARENA = """
#include "keyword.h"
int main(void) {
    keyword_arena_t arena;
    static const keyword_input_t zeros;
    return keyword_infer_in(&arena, &zeros, 0);
}
"""


def test_firmware_with_an_arena_of_its_own_pays_for_no_other(tmp_path: Path) -> None:
    own = Elf(firmware(OWN_ARENA, tmp_path / "own", ["keyword"]))
    shared = Elf(firmware(TWO_MODELS, tmp_path / "both", ["keyword", "wake"]))
    assert "static_arena" not in own.symbols
    assert "static_arena" in shared.symbols


def test_without_sections_a_macro_leaves_out_the_static_arena(tmp_path: Path) -> None:
    found = model("keyword")
    write_folder(Library((found,)), tmp_path)
    bss = []
    for define in ([], ["-DKEYWORD_NO_STATIC_ARENA"]):
        command = ["cc", "-std=c99", *define, "-c", "keyword.c", "-o", "keyword.o"]
        subprocess.run(command, cwd=tmp_path, check=True)
        done = subprocess.run(
            ["size", "keyword.o"], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        bss.append(int(done.stdout.splitlines()[1].split()[2]))
    assert bss == [arena_bytes(found.network, found.program), 0]


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_the_arenas_type_is_as_large_as_its_macro_says(lowering: str, tmp_path: Path) -> None:
    models = [model(name, lowering) for name in SPECS]
    write_folder(Library(tuple(models)), tmp_path)
    checks = "".join(
        f'#include "{one.header}"\n'
        f"typedef char {one.name}_as_said[sizeof({one.name}_arena_t) =="
        f" {one.name.upper()}_MODEL_ARENA_BYTES ? 1 : -1];\n"
        for one in models
    )
    subprocess.run(["cc", "-fsyntax-only", "-x", "c", "-I", tmp_path, "-"], input=checks, text=True,
                   check=True)  # fmt: skip


def test_a_model_without_memory_takes_a_null_arena(tmp_path: Path) -> None:
    spec = InputSpec(1, 4, 4)
    tiny = lower(random_checkpoint(parse("fc-3", spec), seed=1))
    program = program_of(tiny, "fast")
    write_folder(Library((Model(tiny, program, "tiny"),)), tmp_path / "c")
    main = tmp_path / "main.c"
    main.write_text(
        '#include "tiny.h"\n#include <stdio.h>\nint main(void) {\n    tiny_input_t in;\n'
        "    if (fread(&in, sizeof in, 1, stdin) != 1) {\n        return 9;\n    }\n"
        "    return TINY_MODEL_ARENA_BYTES == 0 ? tiny_infer_in(0, &in, 0) : 8;\n}\n"
    )
    sources = [main, *(tmp_path / "c").glob("*.c")]
    run = build_program(sources, tmp_path / "main", [tmp_path / "c"])
    samples = random_samples(spec, 5, seed=2)
    predictions = [
        subprocess.run([run], input=sample.tobytes(), check=False).returncode
        for sample in encode_input(samples, spec)
    ]
    assert predictions == reference.run(tiny, samples).predictions.tolist()


@pytest.mark.parametrize("lowering", ["fast", "reference"])
def test_no_recursion_no_pointer_to_a_function_and_no_variable_array(
    lowering: str, tmp_path: Path
) -> None:
    """Any of them would leave the stack without a static bound."""
    build_model(network("wake"), M4F, tmp_path / "a.elf", tmp_path / "c", lowering)
    bound = Machine(tmp_path / "a.elf", board=M4F).stack_bound
    assert bound is not None
    assert bound.unknown == ()


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_nothing_is_allocated(lowering: str, tmp_path: Path) -> None:
    """What the C calls beside the compiler's own helpers: nothing, or what copies memory."""
    write_folder(Library((model("wake", lowering),)), tmp_path)
    gcc = find_gcc().path
    sources = [source.name for source in tmp_path.glob("*.c")]
    flags = ["-O2", "-ffreestanding", "-r", "-nostdlib", "-o", "all.o"]
    command = [str(gcc), *core_flags("cortex-m0plus"), *flags, *sources]
    subprocess.run(command, cwd=tmp_path, check=True)
    nm = gcc.with_name("arm-none-eabi-nm")
    done = subprocess.run(
        [nm, "-u", "all.o"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    called = {line.split()[1] for line in done.stdout.splitlines()}
    others = {name for name in called if not name.startswith(("__aeabi_", "__gnu_thumb1_case"))}
    assert others <= {"memcpy", "memset", "memmove"}


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Key", "a letter first"),
        ("2nd", "a letter first"),
        ("key-word", "a letter first"),
        ("", "a letter first"),
        ("string", "string.h is a header already"),
        ("bits", "bits.h is a header already"),
    ],
)
def test_a_name_that_c_or_the_kernels_cannot_take_is_refused(name: str, complaint: str) -> None:
    found = network("keyword")
    with pytest.raises(UserError, match=complaint):
        Model(found, program_of(found, "fast"), name)


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match=r"two models would both be keyword\.h"):
        Library((model("keyword"), model("keyword")))
