"""Is there any network at all within the limits? Answered before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from ebnn.architecture import Architecture, ConvPool, fan_in
from ebnn.benchmarks import random_network
from ebnn.emitter import arena_bytes, program_of
from ebnn.emitter.goal import Goal
from ebnn.inputs import input_bytes
from ebnn.search.footprint import Assessment, Limits, assess, limit_text
from ebnn.search.space import Params, Space
from ebnn.sim.board import Board
from ebnn.sim.errors import UserError
from ebnn.workers import WorkerPool, result_of

_ESTIMATED = 2  # networks of each combination of kernels and groups
_MEASURED = 1  # of those, for each limit
_THRESHOLD_BYTES = 4  # a channel
_OPTIONS = {
    "ram_bytes": ("--ram", "RAM"),
    "flash_bytes": ("--flash", "flash"),
    "latency_seconds": ("--latency", "latency"),
    "paper_bytes": ("--paper-memory", "parameters and temporaries"),
}


class NoNetworkFits(UserError):
    """The limits leave nothing of the space."""

    exit_code = 1  # a budget that does not hold


def check_feasible(space: Space, board: Board, limits: Limits, pool: WorkerPool) -> Params | None:
    """The parameters of a network that keeps the limits, where there are any limits.

    Raises `NoNetworkFits` where not even the smallest networks of the space keep them. Which are
    the smallest is estimated, from the narrowest down to those that are then built and run; what
    the message says of them is measured.
    """
    given = [name for name, limit in asdict(limits).items() if limit is not None]
    if not given:
        return None
    params = {network: params for params, network in space.narrow()}
    narrow = sorted(params, key=lambda network: (_memory(network), str(network)))
    wanted = _first_of_each(narrow)
    estimates = {one: pool.submit(_estimate, one, board.core, tuple(given)) for one in wanted}
    # Mostly the first one tells that the search can begin; the others are for the message.
    found = {narrow[0]: assess(narrow[0], board, limits, True)}
    if found[narrow[0]].fits:
        for estimate in estimates.values():
            estimate.cancel()
    else:
        sizes = {one: result_of(estimate) for one, estimate in estimates.items()}
        for name in given:
            for one in sorted(wanted, key=lambda one: (sizes[one][name], str(one)))[:_MEASURED]:
                if one not in found:  # here, where most of the kernels are compiled by now
                    found[one] = assess(one, board, limits, True)
    for network, assessment in found.items():
        if assessment.fits:
            return params[network]
    raise NoNetworkFits(_message(list(found.items()), limits))


def _first_of_each(networks: Sequence[Architecture]) -> list[Architecture]:
    """The first few of each combination of kernels and groups or none, which decide what C serves a
    block."""
    alike: dict[tuple[tuple[int, int, bool], ...], list[Architecture]] = {}
    for network in networks:
        convs = [block for block in network.blocks if isinstance(block, ConvPool)]
        kind = tuple((each.kernel_height, each.kernel_width, each.groups > 1) for each in convs)
        alike.setdefault(kind, []).append(network)
    return [network for group in alike.values() for network in group[:_ESTIMATED]]


def _estimate(network: Architecture, core: str, limits: tuple[str, ...]) -> dict[str, int]:
    """By limit, what the chooser of kernels expects; without the harness."""
    random = random_network(str(network), network.input)
    found = {}
    if "latency_seconds" in limits:
        quick = program_of(random, "fast", Goal(core, "cycles"))
        found["latency_seconds"] = sum(decision.chosen.cycles for decision in quick.decisions)
    if set(limits) - {"latency_seconds"}:
        small = program_of(random, "fast", Goal(core, "flash"))
        temporaries = arena_bytes(random, small) + input_bytes(network.input)
        temporaries += small.predicted_stack_bytes
        found["ram_bytes"] = temporaries
        found["flash_bytes"] = small.predicted_flash_bytes
        found["paper_bytes"] = small.parameter_bytes + temporaries
    return found


def _message(found: list[tuple[Architecture, Assessment]], limits: Limits) -> str:
    measured = [(one, taken.footprint) for one, taken in found if taken.footprint is not None]
    if not measured:
        one, taken = found[0]
        return f"no network of this space fits the board: {one}: {taken.reason}"
    lines = []
    for name, limit in asdict(limits).items():
        if limit is None:
            continue
        one, footprint = min(measured, key=lambda pair: getattr(pair[1], name))
        needs = getattr(footprint, name)
        if needs > limit:
            option, title = _OPTIONS[name]
            lines.append(
                f"no network of this space fits {limit_text(name, limit)}; the smallest needs"
                f" {limit_text(name, needs).removesuffix(' bytes')} of {title}"
                f" ({one}, input {one.input}): raise {option}"
            )
    if lines:
        return "; ".join(lines)
    one, taken = min(found, key=lambda pair: pair[1].over)
    return (
        "no network of this space fits all limits at once; the closest"
        f" ({one}, input {one.input}) takes {taken.reason}: raise one of them"
    )


def _memory(network: Architecture) -> int:
    """Bits and thresholds, the input, and the two largest maps that live at a time: an estimate
    that puts networks in order, at no cost."""
    shapes = network.shapes()
    weights = sum(
        fan_in(block, shapes[index]) * shapes[index + 1][0]
        for index, block in enumerate(network.blocks)
    )
    maps = [input_bytes(network.input)]
    maps += [int(np.prod(shape)) // 8 for shape in shapes[1:-1]]
    channels = sum(shape[0] for shape in shapes[1:])
    largest = max(a + b for a, b in zip(maps, [*maps[1:], 0], strict=True))
    return weights // 8 + _THRESHOLD_BYTES * channels + largest
