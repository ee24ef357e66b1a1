"""Measuring what the fast kernels cost, for the chooser: random blocks of each variant, built for
each core, run in the simulator at zero wait states, and a linear fit to what they took.

The blocks are drawn from a fixed seed; the error that the table states is of blocks left out of the
fit in turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit
from numpy.typing import NDArray

from ebnn.architecture import ConvPool, InputSpec, Linear, fan_in, parse
from ebnn.benchmarks import random_network
from ebnn.emitter.cost_table import COSTS_FILE, FIXED, MEASURED_CORES
from ebnn.emitter.goal import Goal
from ebnn.emitter.layout import input_layout, words_layout
from ebnn.emitter.program import Program
from ebnn.emitter.variants import HEADS, HIDDEN, NAMES
from ebnn.emitter.variants.site import Site
from ebnn.emulation import INPUT_SYMBOL, REGION, EmulatedModel, Firmware
from ebnn.files import write_whole
from ebnn.firmware import build_model
from ebnn.inputs import encode_input, samples_of
from ebnn.sim import Machine
from ebnn.sim.board import generic_board
from ebnn.sim.core import MODEL_VERSION
from ebnn.sim.errors import UserError
from ebnn.toolchain.gcc import find_gcc

MEASUREMENTS = 20  # blocks for each variant and core
_SEED = 5
_PRODUCTS_MAX = 3_000_000  # of one block: the simulator's time
_DRAWS_MAX = 4000
_PAINTED_BYTES = 4080
_GENERATED_STACK_BYTES = 16  # that generated code may take more than any that was measured
_CALLER_BYTES = 24  # that ebnn_infer takes in networks of several blocks
_HEADER = """\
# What the fast kernels cost: cycles at zero wait states and bytes of code, built with -O3.
# Written by `ebnn costs --update` from measurements in the simulator; not to be edited.
# Errors are of blocks that were left out of the fit in turn.
"""


@dataclass(frozen=True)
class Trial:
    """A network with the block `index` that is measured."""

    architecture: str
    input: InputSpec
    index: int


@dataclass(frozen=True)
class Measurement:
    """Of one block: what its cycles grow with, and what it took."""

    work: Mapping[str, float]
    code: Mapping[str, float]
    cycles: int
    shared_bytes: int  # of its kernel's file
    own_bytes: int  # of its constants and code in the model's file, beyond its parameters
    stack_bytes: int  # from reset on, without what some blocks need besides
    is_generated: bool  # its kernel is code of its own


def measure(
    folder: Path, variant: str, on_progress: Callable[[str], None] = lambda text: None
) -> dict[str, dict[str, Any]]:
    """Costs of a variant by core, as costs.toml has them.

    Builds in `folder`. `on_progress` is told each core when it begins.
    """
    if variant not in NAMES:
        raise UserError(f"no variant is called {variant!r}: choose one of {', '.join(NAMES)}")
    costs: dict[str, dict[str, Any]] = {}
    trials = list(trials_of(variant, MEASUREMENTS))
    for core in MEASURED_CORES:
        on_progress(f"{variant} on {core}")
        measurements = [run_trial(trial, variant, core, folder) for trial in trials]
        costs[core] = {variant: _fitted(measurements)}
    return costs


def update(costs: Mapping[str, Mapping[str, Any]], path: Path = COSTS_FILE) -> None:
    """Put `costs` into costs.toml; what they do not name stays as it is."""
    known = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap() if path.exists() else {}
    merged = {
        core: {**known.get(core, {}), **costs.get(core, {})} for core in sorted({*MEASURED_CORES})
    }
    facts = {
        "cycle_model": MODEL_VERSION,
        "compiler": f"GCC {find_gcc().version}",
        **{core: dict(sorted(variants.items())) for core, variants in merged.items()},
    }
    write_whole(path, (_HEADER + "\n" + tomlkit.dumps(facts)).encode())


def trials_of(variant: str, count: int, seed: int = _SEED) -> Iterator[Trial]:
    """Random blocks that a variant serves, the same ones for a seed."""
    random = np.random.default_rng(seed)
    found = 0
    for _ in range(_DRAWS_MAX):
        drawn = _draw(random)
        if drawn is None:
            continue
        for trial in (drawn, *_in_groups(drawn)):
            if _is_served(trial, variant):
                yield trial
                found += 1
                break
        if found == count:
            return
    raise UserError(f"{variant} serves only {found} of {_DRAWS_MAX} random blocks: widen the draw")


def run_trial(trial: Trial, variant: str, core: str, folder: Path) -> Measurement:
    """Build a trial for a core with the block computed by `variant`, and run it once."""
    network = random_network(trial.architecture, trial.input)
    board = generic_board(core)
    elf, objects = folder / "trial.elf", folder / "objects"
    for stale in objects.glob("*.o"):
        stale.unlink()
    goal = Goal(core, variants=(variant,))
    program = build_model(network, board, elf, folder / "c", goal=goal, build_dir=objects)
    candidate = program.decisions[trial.index].chosen
    region = candidate.call.region
    model = EmulatedModel(Firmware(elf, board, None), regions=(region,))
    image = np.random.default_rng(1).integers(
        0, 256, (1, *trial.input.sample_shape), dtype=np.uint8
    )
    (sample,) = encode_input(samples_of(image, trial.input), trial.input)
    model.infer(sample)
    # A kernel may serve several blocks: the block's own run is the one after those before it.
    before = sum(
        decision.chosen.call.region == region for decision in program.decisions[: trial.index]
    )
    files = [Path(kernel) for kernel in candidate.call.kernels if kernel.endswith(".c")]
    own = _section_bytes(objects, "model", rf"\.(text|rodata)\.block{trial.index}(_.*)?")
    return Measurement(
        candidate.work,
        candidate.code,
        cycles=model.machine.region_runs(region)[before].cycles,
        shared_bytes=sum(_section_bytes(objects, file.stem, r"\.text.*") for file in files),
        own_bytes=max(0, own - candidate.call.parameter_bytes),
        stack_bytes=_stack_bytes(model.machine, program, trial.index) - candidate.more_stack_bytes,
        is_generated=region.startswith("block"),
    )


def _stack_bytes(machine: Machine, program: Program, index: int) -> int:
    """The most that the stack has in it, from reset on, while block `index` is computed: its kernel
    is called alone, with what is below painted."""
    call, plan = program.calls[index], program.plan
    kernel = machine.symbol(call.region).address
    arena = machine.symbol("static_arena").address if plan.arena_bytes else 0
    places = {"input": machine.symbol(INPUT_SYMBOL).address, "output": 0, "scratch": 0}
    if index:
        places["input"] = arena + plan.map_offsets[index - 1]
    if index < len(program.steps):
        places["output"] = arena + plan.map_offsets[index]
        places["scratch"] = arena + plan.scratch_offsets[index]
    ((_, listed),) = re.findall(r"(\w+)\((.*)\)", call.call.format(**places))
    arguments = [
        machine.symbol(text[1:]).address if text[0] == "&" else 0 if text == "scores" else int(text)
        for text in listed.split(", ")
    ]
    sp = machine.register("sp")
    paint = bytes(range(1, 256)) * (_PAINTED_BYTES // 255)
    machine.write(sp - len(paint), paint)
    machine.call(kernel, *arguments)
    left = machine.read(sp - len(paint), len(paint))
    taken = len(paint) - next(at for at, byte in enumerate(left) if byte != paint[at])
    calls = machine.deepest_stack.frames.function(machine.symbol(REGION).address).calls
    is_jump = any(each.is_tail for each in calls if each.target == kernel & ~1)
    caller = 0 if is_jump else _CALLER_BYTES
    return machine.stack_top - sp + caller + -(-taken // 8) * 8


def _section_bytes(objects: Path, stem: str, sections: str) -> int:
    """Bytes of the sections whose names match, in the object of a source file."""
    try:
        from elftools.elf.elffile import ELFFile
    except ImportError:
        raise UserError(
            "measuring costs needs the package pyelftools: pip install pyelftools"
        ) from None
    (path,) = objects.glob(f"[0-9][0-9]-{stem}.o")
    with path.open("rb") as file:
        return sum(
            int(found["sh_size"])
            for found in ELFFile(file).iter_sections()
            if re.fullmatch(sections, found.name)
        )


def _is_served(trial: Trial, variant: str) -> bool:
    network = random_network(trial.architecture, trial.input)
    is_first = trial.index == 0
    magnitude = trial.input.max_magnitude if is_first else 1
    if trial.index == len(network.hidden):
        head = Site(trial.index, network.head, input_layout(trial.input), magnitude)
        return any(each.name == variant and each.serves(head) for each in HEADS)
    layer = network.hidden[trial.index]
    layout = input_layout(trial.input) if is_first else words_layout(layer.in_shape)
    following = isinstance(network.architecture.blocks[trial.index + 1], Linear)
    site = Site(trial.index, layer, layout, magnitude, following)
    return any(each.name == variant and each.serves(site) for each in HIDDEN)


def _draw(random: np.random.Generator) -> Trial | None:
    """A block as networks for microcontrollers have them, on each kind of input; None where the
    shapes do not work out or there is too much to compute."""
    kind = random.choice(["words", "uint8", "float", "bits", "fc", "head"])
    if kind in ("fc", "head"):
        return _draw_linear(random, kind)
    height, width = (int(random.integers(4, 29)) for _ in range(2))
    channels = int(random.choice([1, 1, 2, 3] if kind != "words" else [8, 16, 24, 32, 48, 64]))
    kernel_height = int(random.choice([1, 2, 3, 3, 3, 5]))
    kernel_width = kernel_height if random.random() < 0.8 else int(random.integers(1, 6))
    pool, pool_stride = ((1, 1), (2, 2), (2, 2), (3, 2))[int(random.integers(4))]
    block = ConvPool(
        channels=int(random.choice([4, 8, 10, 16, 20, 32, 40, 48, 64])),
        kernel_height=kernel_height,
        kernel_width=kernel_width,
        stride=int(random.choice([1, 1, 1, 2])),
        padding=int(random.choice([0, 0, 1])) if min(kernel_height, kernel_width) > 1 else 0,
        pool=pool,
        pool_stride=pool_stride,
    )
    shape = (channels, height, width)
    _, conv_height, conv_width = block.conv_shape(shape)
    if min(conv_height, conv_width) < max(1, pool):
        return None
    if conv_height * conv_width * block.channels * fan_in(block, shape) > _PRODUCTS_MAX:
        return None
    after = "fc-2" if random.random() < 0.5 else "conv1x1-4, fc-2"
    if kind == "words":
        return Trial(f"conv1x1-{channels}, {block}, {after}", InputSpec(1, height, width), 1)
    return Trial(f"{block}, {after}", InputSpec(channels, height, width, kind), 0)


def _in_groups(trial: Trial) -> Iterator[Trial]:
    """The trial with its block in groups, where it is a convolution that can be: for the kernels
    that serve nothing else."""
    network = parse(trial.architecture, trial.input)
    block = network.blocks[trial.index]
    if not isinstance(block, ConvPool):
        return
    for groups in (4, 2):
        if network.shapes()[trial.index][0] % groups == 0 and block.channels % groups == 0:
            blocks = list(network.blocks)
            blocks[trial.index] = replace(block, groups=groups)
            yield replace(trial, architecture=", ".join(map(str, blocks)))


def _draw_linear(random: np.random.Generator, kind: str) -> Trial:
    inputs = str(random.choice(["bits", "bits", "bits", "uint8"]))
    height, width = (int(random.integers(1, 33 if inputs == "bits" else 13)) for _ in range(2))
    spec = InputSpec(int(random.choice([1, 2])), height, width, inputs)
    outputs = int(
        random.choice([10, 16, 32, 64, 96, 128]) if kind == "fc" else random.integers(2, 21)
    )
    block = f"fc-{outputs}"
    return Trial(f"{block}, fc-2" if kind == "fc" else block, spec, 0)


def _fitted(measurements: Sequence[Measurement]) -> dict[str, Any]:
    cycles = np.array([m.cycles for m in measurements], dtype=float)
    work = [m.work for m in measurements]
    errors = []
    for left_out in range(len(measurements)):
        rest = [index for index in range(len(measurements)) if index != left_out]
        fit = fit_costs([work[index] for index in rest], cycles[rest])
        errors.append(100 * abs(_predict(fit, work[left_out]) / cycles[left_out] - 1))
    own = np.array([m.own_bytes for m in measurements], dtype=float)
    code = fit_costs([m.code for m in measurements], own) if own.any() else {FIXED: 0.0}
    shared = max(m.shared_bytes for m in measurements)
    return {
        "cycles": {name: round(value, 4) for name, value in fit_costs(work, cycles).items()},
        "code_bytes": {
            name: round(value + (shared if name == FIXED else 0), 2) for name, value in code.items()
        },
        "stack_bytes": max(
            m.stack_bytes + m.is_generated * _GENERATED_STACK_BYTES for m in measurements
        ),
        "mean_error_percent": round(float(np.mean(errors)), 2),
        "worst_error_percent": round(float(np.max(errors)), 2),
        "measurements": len(measurements),
    }


def fit_costs(
    counts: Sequence[Mapping[str, float]], values: NDArray[np.float64]
) -> dict[str, float]:
    """The cost of one of each count, and `fixed`, that come closest to `values` in relation to each
    value, none of them negative."""
    names = sorted({name for each in counts for name in each})
    table = np.array([[1.0, *(each.get(name, 0.0) for name in names)] for each in counts])
    scale = np.maximum(values, 1.0)
    kept = list(range(table.shape[1]))
    while True:
        found = np.linalg.lstsq(table[:, kept] / scale[:, None], values / scale, rcond=None)[0]
        negative = [at for at, cost in enumerate(found) if cost < 0]
        if not negative:
            break
        del kept[int(min(negative, key=lambda at: found[at] * table[:, kept[at]].max()))]
    costs = dict.fromkeys([FIXED, *names], 0.0)
    costs.update({[FIXED, *names][at]: float(cost) for at, cost in zip(kept, found, strict=True)})
    return costs


def _predict(costs: Mapping[str, float], work: Mapping[str, float]) -> float:
    return costs[FIXED] + sum(costs.get(name, 0.0) * count for name, count in work.items())
