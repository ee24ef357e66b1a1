"""Kernels stay within the memory stated for them: maps and scratch with guards between, which
AddressSanitizer watches."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_networks import (
    architectures,
    examples,
    grouped_architectures,
    narrow_architectures,
    random_checkpoint,
    random_samples,
    word_architectures,
)

from ebnn import reference
from ebnn.architecture import Architecture, InputSpec, parse
from ebnn.emitter import Model, emit
from ebnn.emitter.fast import fast_program
from ebnn.emitter.goal import Goal
from ebnn.emitter.program import Program
from ebnn.host import HostProgramFailed, HostRun, build_host_model
from ebnn.inputs import encode_input
from ebnn.lowered import LoweredNetwork, lower
from ebnn.memory_plan import MemoryPlan, plan_memory

GUARD_BYTES = 64
PLANES = Goal(variants=("conv_planes",))
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


def run_guarded(
    network: LoweredNetwork,
    folder: Path,
    kernels: Path,
    goal: Goal | None = None,
    **missing: int,
) -> HostRun:
    plan = property(lambda program: guarded_plan(program, **missing)[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Program, "plan", plan)
        program = emit(network, folder, goal=goal)
    _, guards = guarded_plan(program, **missing)
    if guards:
        with (folder / Model(network, program).header).open("a") as header:
            pairs = ", ".join(f"{{{offset}, {size}}}" for offset, size in guards)
            header.write(f"#define EBNN_GUARDS {pairs}\n")
    model = build_host_model(network, program, folder, folder / "model", kernels=[kernels])
    samples = random_samples(network.architecture.input, 2, seed=1)
    return model.run(encode_input(samples, network.architecture.input))


@settings(
    max_examples=examples(40),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    architecture=st.one_of(architectures(), word_architectures(), grouped_architectures()),
    seed=st.integers(0, 2**32 - 1),
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


@settings(
    max_examples=examples(14),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    architecture=st.one_of(narrow_architectures(), grouped_architectures()),
    first=st.sampled_from(["conv_dense", "conv_dense_small"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_kernels_with_narrow_maps_and_little_scratch_do_so_too(
    architecture: Architecture,
    first: str,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
    kernels: Path,
) -> None:
    network = lower(random_checkpoint(architecture, seed))
    goal = Goal(objective="ram", variants=(first, "conv_sliced_narrow", "conv_sliced_groups"))
    run = run_guarded(network, tmp_path_factory.mktemp("guarded"), kernels, goal)
    samples = random_samples(architecture.input, 2, seed=1)
    assert run.scores.tolist() == reference.run(network, samples).scores.tolist()


@pytest.mark.parametrize("missing", ["missing_output_bytes", "missing_scratch_bytes"])
def test_a_word_too_little_is_seen(missing: str, tmp_path: Path, kernels: Path) -> None:
    architecture = parse("conv3x3-20, conv3x3-32, fc-3", InputSpec(1, 12, 12))
    network = lower(random_checkpoint(architecture, 1))
    with pytest.raises(HostProgramFailed, match="use-after-poison") as failed:
        run_guarded(network, tmp_path, kernels, None, **{missing: 4})
    assert re.search(r" in (ebnn_|block)\w+", failed.value.report)  # names the kernel


def agrees_at_lead(
    network: LoweredNetwork, folder: Path, kernels: Path, missing_lead_bytes: int = 0
) -> bool:
    """Whether scores are right with the second block's map over the one that it reads, as close to
    its beginning as `conv_planes` allows."""

    def plan(program: Program) -> MemoryPlan:
        if program.lowering != "fast":  # the reference, whose RAM bounds the choice
            return plan_memory([step.memory for step in program.steps])
        first, second = program.steps
        assert second.lead_bytes is not None
        lead = max(0, second.lead_bytes) - missing_lead_bytes
        end = max(lead + first.output_bytes, second.output_bytes)
        scratch_end = end + max(first.scratch_bytes, second.scratch_bytes)
        return MemoryPlan((lead, 0), (end, end), scratch_end)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Program, "plan", property(plan))
        program = emit(network, folder, goal=PLANES)
        model = build_host_model(network, program, folder, folder / "model", kernels=[kernels])
    samples = random_samples(network.architecture.input, 2, seed=1)
    run = model.run(encode_input(samples, network.architecture.input))
    return np.array_equal(run.scores, reference.run(network, samples).scores)


@settings(
    max_examples=examples(20),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(architecture=word_architectures(), seed=st.integers(0, 2**32 - 1))
def test_planes_write_over_no_row_that_is_still_to_be_gathered(
    architecture: Architecture, seed: int, tmp_path_factory: pytest.TempPathFactory, kernels: Path
) -> None:
    network = lower(random_checkpoint(architecture, seed))
    assume(fast_program(network, PLANES).decisions[1].chosen.variant == "conv_planes")
    assert agrees_at_lead(network, tmp_path_factory.mktemp("lead"), kernels)


@pytest.mark.parametrize(
    "text", ["conv1x1-32, conv3x3-64 pad1, fc-4", "conv1x1-32, conv5x5-32 pad2, fc-4"]
)
def test_a_map_of_planes_that_begins_a_word_late_is_spoilt(
    text: str, tmp_path: Path, kernels: Path
) -> None:
    network = lower(random_checkpoint(parse(text, InputSpec(1, 14, 14)), 1))
    assert not agrees_at_lead(network, tmp_path, kernels, missing_lead_bytes=4)
