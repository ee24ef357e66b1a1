"""A search keeps as much of its time as the front's full training and verification will take."""

from __future__ import annotations

import numpy as np
import pytest

from ebnn.architecture import InputSpec, parse
from ebnn.data import Dataset, load_dataset
from ebnn.durations import format_duration, parse_duration
from ebnn.search.candidate import Candidate, Rung
from ebnn.search.footprint import Assessment, Footprint
from ebnn.search.plan import Plan, default_epochs, default_shift_pixels
from ebnn.search.space import Space
from ebnn.search.tasks import train_rung
from ebnn.sim.errors import UserError
from ebnn.training_settings import TrainingSettings


def candidate(number: int, accuracy: float, epoch_seconds: float) -> Candidate:
    taken = Footprint("cycles", 1000 - number, 2000, 3000, 4000, 0.001, 0.01)
    network = Space((1, 8, 8), 10).network({"input": "bits", "convs": 0, "hidden": False})
    assert network is not None
    rung = Rung(3, round(1000 * accuracy), 1000, 3 * epoch_seconds)
    return Candidate(number, network, Assessment(taken, {}), taken.ram_bytes, [rung])


def plan(budget_seconds: float | None, epochs: int = 25, workers: int = 2) -> Plan:
    return Plan(TrainingSettings(epochs=epochs), 0.1, workers, budget_seconds, test_samples=1000)


def test_the_rungs_are_1_3_and_9_of_25_epochs() -> None:
    assert plan(None).rung_epochs == (1, 3, 9)
    assert plan(None, epochs=100).rung_epochs == (4, 12, 36)
    assert plan(None, epochs=1).rung_epochs == (1,)


FRONT = [candidate(number, 0.99 - number / 100, epoch_seconds=10) for number in range(6)]


def test_without_a_budget_the_four_most_accurate_are_trained_for_all_epochs() -> None:
    assert plan(None).final_networks(FRONT) == FRONT[:4]
    assert plan(None).final_epochs(FRONT[0]) == 25


@pytest.mark.parametrize(("budget_seconds", "networks", "epochs"), [(3000, 4, 25), (900, 2, 25)])
def test_as_many_networks_as_half_of_the_budget_lasts_for(
    budget_seconds: float, networks: int, epochs: int
) -> None:
    asked = plan(budget_seconds)
    assert asked.final_networks(FRONT) == FRONT[:networks]
    assert asked.final_epochs(FRONT[0]) == epochs
    assert 0 < asked.final_seconds(FRONT) <= budget_seconds / 2


def test_where_not_one_network_can_have_all_epochs_each_worker_has_one_with_fewer() -> None:
    asked = plan(300)
    assert asked.final_networks(FRONT) == FRONT[:2]
    assert 1 <= asked.final_epochs(FRONT[0]) < 25
    assert asked.final_seconds(FRONT) <= 150
    assert plan(1).final_epochs(FRONT[0]) == 1


def dataset(samples: int, shape: tuple[int, int, int]) -> Dataset:
    x = np.zeros((samples, *shape), np.uint8)
    y = np.zeros(samples, np.int64)
    return Dataset("some", x, y, x[:1], y[:1], classes=2)


def test_small_data_sets_have_more_epochs_and_signals_are_not_moved() -> None:
    assert default_epochs(dataset(54_000, (1, 2, 2)), 64) == 25
    assert default_epochs(dataset(1000, (1, 2, 2)), 64) == 25 * 20
    assert default_shift_pixels(dataset(2, (1, 28, 28))) == 2
    assert default_shift_pixels(dataset(2, (1, 1, 128))) == 0


def test_durations_are_read_and_written() -> None:
    spans = {"20ms": 0.02, "90s": 90, "30m": 1800, "1.5h": 5400}
    assert {text: parse_duration(text) for text in spans} == pytest.approx(spans)
    for wrong in ("30", "0s", "-1s", "30 days", ""):
        with pytest.raises(UserError, match=r"--budget .* is not a time"):
            parse_duration(wrong, "--budget")
    assert format_duration(123.4) == "2:03" and format_duration(3723) == "1:02:03"


def test_a_candidate_whose_training_diverges_has_nothing_right() -> None:
    dataset = load_dataset("digits")
    settings = TrainingSettings(epochs=3, batch_samples=16, learning_rate=1e38)
    rung = train_rung(dataset, parse("conv3x3-8, fc-10", InputSpec(*dataset.shape)), settings)
    assert (rung.epochs, rung.correct, rung.total) == (3, 0, 143)
