"""Every draw of a search's space is a network that can be trained, whatever the samples' shape."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from ebnn.architecture import Architecture, ConvPool, parse
from ebnn.search.candidate import Candidate, Rung, front, promoted
from ebnn.search.footprint import Assessment, Footprint, Limits
from ebnn.search.space import Space

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 8, 8), (1, 5, 5), (3, 1, 128), (1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_draw_is_a_network_of_the_shape(shape: tuple[int, int, int]) -> None:
    space = Space(shape, 7)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    groups = set()
    for _ in range(60):
        found = space.suggest(study.ask())
        assert found is not None
        assert found.input.sample_shape == shape and found.classes == 7
        assert parse(str(found), found.input) == found
        groups |= {block.groups for block in found.blocks if isinstance(block, ConvPool)}
    assert groups == {1, 2, 4} or shape == (1, 1, 1)  # which has room for one convolution


@pytest.mark.parametrize("shape", SHAPES)
def test_the_ladder_can_be_queued_and_gets_wider(shape: tuple[int, int, int]) -> None:
    space = Space(shape, 10)
    study = optuna.create_study()
    widths = []
    for params in space.ladder():
        study.enqueue_trial(params)
        network = space.suggest(study.ask())
        assert network is not None and network == space.network(params)
        assert study.trials[-1].params == params
        first = network.blocks[0]
        assert isinstance(first, ConvPool)
        widths.append(first.channels)
    assert widths == sorted(widths) and widths[0] < widths[-1]


def candidate(number: int, accuracy: float, size: int, rungs: int = 1) -> Candidate:
    taken = Footprint("cycles", size, 1000, size, size, 0.001, 0.0)
    network = Space((1, 8, 8), 10).network({"input": "bits", "convs": 0, "hidden": False})
    assert isinstance(network, Architecture)
    correct = round(1000 * accuracy)
    found = [Rung(3**rung, correct, 1000, 1.0) for rung in range(rungs)]
    return Candidate(number, network, Assessment(taken, {}), size, found)


def test_the_front_leaves_out_what_is_worse_in_everything() -> None:
    networks = [candidate(0, 0.9, 100), candidate(1, 0.8, 120), candidate(2, 0.95, 150)]
    assert [one.number for one in front(networks)] == [2, 0]


def test_the_best_third_climbs_once() -> None:
    networks = [candidate(number, 0.5 + number / 100, 100) for number in range(6)]
    assert [one.number for one in promoted(networks, 0, set())] == [5, 4]
    assert [one.number for one in promoted(networks, 0, {5})] == [4]
    networks[5].rungs.append(Rung(3, 900, 1000, 1.0))
    assert [one.number for one in promoted(networks, 0, set())] == [4]
    assert promoted(networks, 1, set()) == []


def test_limits_hold_to_the_byte_and_the_cycle() -> None:
    taken = Footprint("cycles", 1000, 2000, 3000, 48, 0.001, 0.0)
    exact = Limits(1000, 2000, 0.001, 3000)
    assert max(exact.excess(taken).values()) == 0
    assert Assessment(taken, exact.excess(taken)).fits
    for less in (Limits(ram_bytes=999), Limits(1000, 1999), Limits(latency_seconds=0.00099)):
        assert not Assessment(taken, less.excess(taken)).fits


@pytest.mark.parametrize("shape", SHAPES)
def test_a_neighbour_is_of_the_space_and_differs(shape: tuple[int, int, int]) -> None:
    space = Space(shape, 10)
    random = np.random.default_rng(2)
    params = next(space.ladder())
    texts = set()
    for _ in range(60):
        params = space.neighbour(params, random)
        study = optuna.create_study()
        study.enqueue_trial(params)
        assert space.suggest(study.ask()) == space.network(params)
        assert study.trials[0].params == params  # every value is one that Optuna could draw
        texts.add(str(params))
    assert len(texts) > 30
