"""Kernels stay within the memory stated for them: maps and scratch with guards between, which
AddressSanitizer watches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import (
    architectures,
    examples,
    random_checkpoint,
    random_samples,
    word_architectures,
)

from ebnn import reference
from ebnn.architecture import Architecture, InputSpec, parse
from ebnn.emitter import Model, emit
from ebnn.emitter.program import Program
from ebnn.host import HostProgramFailed, HostRun, build_host_model
from ebnn.inputs import encode_input
from ebnn.lowered import LoweredNetwork, lower
from ebnn.memory_plan import MemoryPlan

GUARD_BYTES = 64
_ALIGNMENT_BYTES = 8  # AddressSanitizer's: where a guard must end


def guarded_plan(
    program: Program, missing_output_bytes: int = 0, missing_scratch_bytes: int = 0
) -> tuple[MemoryPlan, list[tuple[int, int]]]:
    """Every map and every scratch by itself, and the guards as (offset, bytes)."""
    outputs = [step.output_bytes - missing_output_bytes for step in program.steps]
    scratch = [max(step.scratch_bytes - missing_scratch_bytes, 0) for step in program.steps]
    offsets, guards, end = [], [], 0
    for size in (*outputs, *scratch):
        offsets.append(end)
        after = end + -(-size // 4) * 4  # arrays of words
        end = (after + GUARD_BYTES) // _ALIGNMENT_BYTES * _ALIGNMENT_BYTES
        guards.append((after, end - after))
    steps = len(program.steps)
    plan = MemoryPlan(tuple(offsets[:steps]), tuple(offsets[steps:]), end)
    return plan, guards


def run_guarded(network: LoweredNetwork, folder: Path, kernels: Path, **missing: int) -> HostRun:
    plan = property(lambda program: guarded_plan(program, **missing)[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Program, "plan", plan)
        program = emit(network, folder)
    _, guards = guarded_plan(program, **missing)
    if guards:
        with (folder / Model(network, program).header).open("a") as header:
            pairs = ", ".join(f"{{{offset}, {size}}}" for offset, size in guards)
            header.write(f"#define EBNN_GUARDS {pairs}\n")
    model = build_host_model(network, program, folder, folder / "model", kernels=[kernels])
    samples = random_samples(network.architecture.input, 2, seed=1)
    return model.run(encode_input(samples, network.architecture.input))


@settings(
    max_examples=examples(20),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    architecture=st.one_of(architectures(), word_architectures()), seed=st.integers(0, 2**32 - 1)
)
def test_kernels_access_their_maps_and_scratch_alone(
    architecture: Architecture,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
    kernels: Path,
) -> None:
    network = lower(random_checkpoint(architecture, seed))
    run = run_guarded(network, tmp_path_factory.mktemp("guarded"), kernels)
    samples = random_samples(architecture.input, 2, seed=1)
    assert run.scores.tolist() == reference.run(network, samples).scores.tolist()


@pytest.mark.parametrize("missing", ["missing_output_bytes", "missing_scratch_bytes"])
def test_a_word_too_little_is_seen(missing: str, tmp_path: Path, kernels: Path) -> None:
    architecture = parse("conv3x3-20, conv3x3-32, fc-3", InputSpec(1, 12, 12))
    network = lower(random_checkpoint(architecture, 1))
    with pytest.raises(HostProgramFailed, match="use-after-poison") as failed:
        run_guarded(network, tmp_path, kernels, **{missing: 4})
    assert re.search(r" in (ebnn_|block)\w+", failed.value.report)  # names the kernel
