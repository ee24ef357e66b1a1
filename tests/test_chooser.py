"""Which kernels a lowering takes: the cheapest by measured costs, within the flash allowed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_networks import random_checkpoint, random_samples

from ebnn.architecture import InputSpec, parse
from ebnn.benchmarks import DEMO_ARCHITECTURE, random_network
from ebnn.cost_measurement import fit_costs, run_trial, trials_of
from ebnn.emitter import arena_bytes, emit
from ebnn.emitter.chooser import NothingFits
from ebnn.emitter.cost_table import MEASURED_CORES, cost_of, predicted
from ebnn.emitter.fast import fast_program
from ebnn.emitter.goal import Goal
from ebnn.emitter.program import Program
from ebnn.emitter.variants import NAMES
from ebnn.emulation import EmulatedModel, Firmware
from ebnn.firmware import build_model
from ebnn.inputs import encode_input, input_bytes
from ebnn.lowered import LoweredNetwork, lower
from ebnn.sim.board import load_board

SPEC = InputSpec(1, 20, 20)


def network(text: str = DEMO_ARCHITECTURE, seed: int = 1) -> LoweredNetwork:
    return lower(random_checkpoint(parse(text, SPEC), seed))


def taken(program: Program) -> list[str]:
    return [decision.chosen.variant for decision in program.decisions]


def cycles(program: Program) -> int:
    return sum(decision.chosen.cycles for decision in program.decisions)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("core", MEASURED_CORES)
def test_every_kernel_was_measured_on_every_core(name: str, core: str) -> None:
    cost = cost_of(name, core)
    assert cost is not None
    assert cost.measurements >= 20
    assert cost.mean_error_percent < 15


def test_the_smallest_choice_near_the_fewest_cycles_is_taken_and_the_others_named() -> None:
    program = fast_program(network())
    fewest = sum(
        min(one.cycles for one in (decision.chosen, *decision.others))
        for decision in program.decisions
    )
    assert fewest <= cycles(program) <= 1.1 * fewest
    assert all(decision.others for decision in program.decisions)
    tables = Goal(variants=("head_lookup6",))
    assert program.predicted_flash_bytes < fast_program(network(), tables).predicted_flash_bytes


def test_each_objective_gets_the_least_of_what_it_asks_for() -> None:
    spec = InputSpec(1, 28, 28, "bits")
    model = lower(random_checkpoint(parse("conv3x3-16 pool2, conv3x3-32 pool2, fc-10", spec), 1))
    by_goal = {
        objective: fast_program(model, Goal(objective=objective))
        for objective in ("cycles", "flash", "ram")
    }
    assert min(by_goal, key=lambda goal: cycles(by_goal[goal])) == "cycles"
    assert min(by_goal, key=lambda goal: by_goal[goal].predicted_flash_bytes) == "flash"
    ram_bytes = {
        objective: program.plan.arena_bytes + program.predicted_stack_bytes
        for objective, program in by_goal.items()
    }
    assert ram_bytes["ram"] == min(ram_bytes.values()) < ram_bytes["cycles"]
    assert cycles(by_goal["flash"]) > cycles(by_goal["cycles"])


def test_flash_that_is_short_costs_cycles_and_too_little_is_refused() -> None:
    fastest, smallest = (
        fast_program(network(), Goal(objective=objective)) for objective in ("cycles", "flash")
    )
    bound = (fastest.predicted_flash_bytes + smallest.predicted_flash_bytes) // 2
    between = fast_program(network(), Goal(flash_bytes=bound))
    assert between.predicted_flash_bytes <= bound
    assert cycles(fastest) < cycles(between) <= cycles(smallest)
    least = smallest.predicted_flash_bytes
    assert taken(fast_program(network(), Goal(flash_bytes=least))) == taken(smallest)
    with pytest.raises(NothingFits, match=f"at least {least:,} bytes of flash"):
        fast_program(network(), Goal(flash_bytes=least - 1))


def expected_paper_bytes(model: LoweredNetwork, program: Program) -> int:
    given = input_bytes(model.architecture.input) + program.predicted_stack_bytes
    return program.parameter_bytes + arena_bytes(model, program) + given


def test_the_papers_figure_can_be_bounded_and_too_little_is_refused() -> None:
    model = network()
    fastest, smallest = (
        fast_program(model, Goal(objective=objective)) for objective in ("cycles", "flash")
    )

    def paper_bytes(program: Program) -> int:
        return expected_paper_bytes(model, program)

    bound = paper_bytes(smallest)
    assert paper_bytes(fastest) > bound
    bounded = fast_program(model, Goal(paper_bytes=bound))
    assert paper_bytes(bounded) <= bound
    assert cycles(fastest) < cycles(bounded) <= cycles(smallest)
    with pytest.raises(NothingFits, match="parameters and temporaries take at least"):
        fast_program(model, Goal(paper_bytes=bound // 2))


@pytest.mark.parametrize("board_name", ["generic-m4f", "generic-m0plus"])
@pytest.mark.parametrize(
    ("text", "kind", "objective"),
    [
        ("conv3x3-32 pool2, conv3x3-32 pool2, conv3x3-32, fc-10", "bits", "ram"),
        ("conv3x3-16 pool2, conv3x3-48 pool2, conv3x3-40, fc-10", "bits", "cycles"),
        ("conv3x3-16 pad1 pool2, conv3x3-48 pool2, fc-64, fc-10", "uint8", "cycles"),
        ("conv5x5-8 stride2, conv3x3-16 pool2, fc-12", "uint8", "flash"),
        ("fc-40, fc-10", "float", "cycles"),
        ("fc-10", "uint8", "cycles"),
    ],
)
def test_no_more_stack_is_taken_than_expected(
    text: str, kind: str, objective: str, board_name: str, tmp_path: Path
) -> None:
    """And so what a bound on the paper's figure counts is what `ebnn verify` measures, or more."""
    board = load_board(board_name)
    model = lower(random_checkpoint(parse(text, InputSpec(1, 20, 20, kind)), 1))
    goal = Goal(board.core, objective)
    program = build_model(model, board, tmp_path / "model.elf", tmp_path / "c", goal=goal)
    emulated = EmulatedModel(Firmware(tmp_path / "model.elf", board, None))
    (sample,) = encode_input(
        random_samples(model.architecture.input, 1, seed=1), model.architecture.input
    )
    emulated.infer(sample, emulated.machine.symbol("ebnn_scores").address)
    taken_bytes = emulated.machine.record().to_dict()["memory"]["stack"]
    assert 0.5 * program.predicted_stack_bytes < taken_bytes <= program.predicted_stack_bytes


@pytest.mark.parametrize("text", ["conv3x3-48 pool2, conv3x3-64 pool2, conv3x3-96, fc-10", "fc-10"])
def test_fast_kernels_take_at_most_a_kb_of_ram_more_than_the_reference(
    text: str, tmp_path: Path
) -> None:
    model = lower(random_checkpoint(parse(text, InputSpec(1, 28, 28)), 1))
    ram_bytes = {}
    for lowering in ("reference", "fast"):
        elf = tmp_path / f"{lowering}.elf"
        build_model(model, load_board("generic-m4f"), elf, tmp_path / lowering, lowering)
        emulated = EmulatedModel(Firmware(elf, load_board("generic-m4f"), None))
        (sample,) = encode_input(np.zeros((1, 1, 28, 28), np.uint8), model.architecture.input)
        emulated.infer(sample)
        ram_bytes[lowering] = emulated.machine.record().to_dict()["memory"]["ram"]
    assert ram_bytes["fast"] <= ram_bytes["reference"] + 1024


def test_the_same_goal_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        emit(network(), tmp_path / name, goal=Goal("cortex-m0plus", flash_bytes=20_000))
    first, second = (sorted((tmp_path / name).iterdir()) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize("name", NAMES)
def test_what_the_table_predicts_is_what_a_new_block_takes(name: str, tmp_path: Path) -> None:
    """Blocks that the fit has not seen, within three times the error that the table states; and no
    more stack."""
    for trial in trials_of(name, 3, seed=77):
        measured = run_trial(trial, name, "cortex-m4", tmp_path)
        cost = cost_of(name, "cortex-m4")
        assert cost is not None
        error = 100 * abs(predicted(cost.cycles, measured.work) / measured.cycles - 1)
        # Of its smallest blocks, which decide little, the constant part is most, and least known.
        floor_percent = 15 if name == "conv_tables" else 5
        assert error < 3 * max(cost.worst_error_percent, floor_percent), trial
        assert measured.stack_bytes <= cost.stack_bytes, trial


@pytest.mark.parametrize("name", NAMES)
def test_a_new_block_takes_no_more_stack_with_8_registers(name: str, tmp_path: Path) -> None:
    (trial,) = trials_of(name, 1, seed=78)
    cost = cost_of(name, "cortex-m0plus")
    assert cost is not None
    assert run_trial(trial, name, "cortex-m0plus", tmp_path).stack_bytes <= cost.stack_bytes


def test_the_fit_finds_the_costs_that_made_the_figures() -> None:
    random = np.random.default_rng(2)
    counts = [{"words": float(random.integers(1, 99)), "rows": float(i)} for i in range(12)]
    values = np.array([40 + 3.5 * each["words"] + 7 * each["rows"] for each in counts])
    assert fit_costs(counts, values) == pytest.approx({"fixed": 40, "rows": 7, "words": 3.5})


def test_no_cost_is_negative() -> None:
    counts = [{"a": float(i), "b": float(i % 3)} for i in range(9)]
    values = np.array([100 + 5 * each["a"] - 20 * each["b"] for each in counts])
    assert min(fit_costs(counts, values).values()) >= 0


def test_weights_do_not_decide() -> None:
    """A network's kernels, and so its bytes and cycles, are known before it is trained."""
    texts = [taken(fast_program(network(seed=seed))) for seed in range(4)]
    assert texts == [taken(fast_program(random_network(DEMO_ARCHITECTURE, SPEC)))] * 4
