"""Which kernel computes each block: the cheapest by the measured costs, within the bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ebnn.architecture import Linear
from ebnn.emitter.cost_table import FIXED, UNMEASURED, cost_of, predicted
from ebnn.emitter.floats import reference_program
from ebnn.emitter.goal import RAM_ABOVE_REFERENCE_BYTES, REFERENCE_STACK_BYTES, Goal
from ebnn.emitter.layout import Layout, input_layout, pixel_bytes
from ebnn.emitter.model import quantized_bytes
from ebnn.emitter.program import AnyCandidate, Call, Candidate, Decision, Head, Step, flash_bytes
from ebnn.emitter.variants import HEADS, HIDDEN
from ebnn.emitter.variants.site import AnyLayer, Site, Variant
from ebnn.inputs import input_bytes
from ebnn.lowered import HiddenLayer, LoweredNetwork
from ebnn.memory_plan import plan_memory
from ebnn.sim.errors import UserError

# Tables can buy the last few percent of cycles with many times the flash: of the choices this close
# to the fewest cycles, about as far as predictions are off, the smallest one is taken.
_CYCLES_SLACK = 1.1
_KEPT = 48  # partial choices that are followed up for each trade-off


class NothingFits(UserError):
    """No choice of kernels keeps within the bytes that were asked for."""

    exit_code = 1  # a budget that does not hold


@dataclass(frozen=True)
class _Choice:
    """A candidate for each of a network's first blocks, and all there were."""

    taken: tuple[AnyCandidate, ...] = ()
    offered: tuple[tuple[AnyCandidate, ...], ...] = ()

    @property
    def cycles(self) -> int:
        return sum(candidate.cycles for candidate in self.taken)

    @property
    def flash_bytes(self) -> int:
        return flash_bytes(self.taken)

    @property
    def arena_bytes(self) -> int:
        steps = [c.call.memory for c in self.taken if isinstance(c.call, Step)]
        return plan_memory(steps).arena_bytes

    @property
    def stack_bytes(self) -> int:
        return max((candidate.stack_bytes for candidate in self.taken), default=0)

    @property
    def ram_bytes(self) -> int:
        """Arena and stack."""
        return self.arena_bytes + self.stack_bytes

    @property
    def parameter_bytes(self) -> int:
        return sum(candidate.call.parameter_bytes for candidate in self.taken)

    @property
    def sizes(self) -> tuple[int, ...]:
        return (
            self.cycles,
            self.flash_bytes,
            self.arena_bytes,
            self.parameter_bytes,
            self.stack_bytes,
        )


def choose(network: LoweredNetwork, goal: Goal) -> tuple[Decision, ...]:
    """One decision for each block, the head's last.

    Raises `NothingFits` where `goal.flash_bytes` or `goal.paper_bytes` is too little for every
    choice.
    """
    spec = network.architecture.input
    choices = [(_Choice(), input_layout(spec))]
    for index, layer in enumerate(network.hidden):
        following = isinstance(network.architecture.blocks[index + 1], Linear)
        magnitude = spec.max_magnitude if index == 0 else 1
        offers: dict[str, tuple[Candidate[Step], ...]] = {}
        longer = []
        for choice, layout in choices:
            if layout.key not in offers:
                site = Site(index, layer, layout, magnitude, following)
                offers[layout.key] = tuple(_candidates(HIDDEN, _with_narrow(site), goal))
            for candidate in offers[layout.key]:
                written = candidate.call.layout
                assert written is not None
                longer.append((_with(choice, candidate, offers[layout.key]), written))
        keys = {layout.key for _, layout in longer}
        choices = [
            (choice, layout)
            for key in sorted(keys)
            for choice, layout in _best([pair for pair in longer if pair[1].key == key])
        ]
    whole = []
    heads: dict[str, tuple[Candidate[Head], ...]] = {}
    for choice, layout in choices:
        if layout.key not in heads:
            magnitude = 1 if network.hidden else spec.max_magnitude
            head_site = Site(len(network.hidden), network.head, layout, magnitude)
            heads[layout.key] = tuple(_candidates(HEADS, [head_site], goal))
        whole += [_with(choice, head, heads[layout.key]) for head in heads[layout.key]]
    return _decisions(_cheapest(_within(whole, network, goal), goal))


def _with_narrow(site: Site[HiddenLayer]) -> list[Site[HiddenLayer]]:
    """`site`, and the same with a smaller map where the pixels' last words would be half empty."""
    unit_bytes = 1 if site.feeds_linear else 2
    channels = site.layer.out_shape[0]
    if pixel_bytes(channels, unit_bytes) == pixel_bytes(channels, 4):
        return [site]
    return [site, replace(site, unit_bytes=unit_bytes)]


def _candidates(
    variants: Sequence[Variant[AnyLayer, Call]], sites: Sequence[Site[AnyLayer]], goal: Goal
) -> Iterator[Candidate[Call]]:
    serving = [
        (variant, site)
        for site in sites
        for variant in variants
        if (site.unit_bytes == 4 or variant.writes_narrow) and variant.serves(site)
    ]
    wanted = [each for each in serving if each[0].name in goal.variants]
    measured = [each for each in serving if cost_of(each[0].name, goal.core)]
    for variant, site in wanted or measured or serving:
        cost = cost_of(variant.name, goal.core) or UNMEASURED
        more_stack_bytes = variant.more_stack_bytes(site)
        call, work, code = variant.call(site), variant.work(site), variant.code(site)
        fixed = round(cost.code_bytes[FIXED])
        own = round(predicted(cost.code_bytes, code)) - fixed
        has_file = any(file.endswith(".c") for file in call.kernels)
        yield Candidate(
            variant.name,
            call,
            work,
            code,
            cycles=round(predicted(cost.cycles, work)),
            shared_bytes=fixed if has_file else 0,
            own_bytes=own if has_file else own + fixed,
            stack_bytes=cost.stack_bytes + more_stack_bytes,
            more_stack_bytes=more_stack_bytes,
        )


def _with(
    choice: _Choice,
    candidate: AnyCandidate,
    offered: Sequence[AnyCandidate],
) -> _Choice:
    return _Choice((*choice.taken, candidate), (*choice.offered, tuple(offered)))


def _best(pairs: list[tuple[_Choice, Layout]]) -> list[tuple[_Choice, Layout]]:
    """Those that no other one beats in cycles, flash, arena, parameters and stack alike; where
    these are many, the best in each."""
    sized = sorted(((pair[0].sizes, at) for at, pair in enumerate(pairs)))
    kept: list[tuple[tuple[int, ...], int]] = []
    for sizes, at in sized:
        if not any(all(a <= b for a, b in zip(other, sizes, strict=True)) for other, _ in kept):
            kept.append((sizes, at))
    followed = set()
    for which in range(len(sized[0][0])):
        kept.sort(key=lambda one: (one[0][which], one[0]))
        followed |= {at for _, at in kept[:_KEPT]}
    return [pairs[at] for at in sorted(followed)]


def _within(choices: list[_Choice], network: LoweredNetwork, goal: Goal) -> list[_Choice]:
    """Choices that keep the goal's bounds, and RAM's where that can be."""
    given = input_bytes(network.architecture.input) + quantized_bytes(network)
    if goal.flash_bytes is not None:
        choices = _bounded(
            choices,
            lambda choice: choice.flash_bytes,
            goal.flash_bytes,
            "the kernels and constants take at least {:,} bytes of flash, more than the {:,} that"
            " are left for them",
        )
    if goal.paper_bytes is not None:
        choices = _bounded(
            choices,
            lambda choice: choice.parameter_bytes + choice.ram_bytes + given,
            goal.paper_bytes,
            "parameters and temporaries take at least {:,} bytes, more than {:,}",
        )
    reference_bytes = reference_program(network).plan.arena_bytes + REFERENCE_STACK_BYTES
    least = min(choice.ram_bytes for choice in choices)
    most = max(reference_bytes + RAM_ABOVE_REFERENCE_BYTES, least)
    return [choice for choice in choices if choice.ram_bytes <= most]


def _bounded(
    choices: list[_Choice],
    bytes_of: Callable[[_Choice], int],
    limit: int,
    complaint: str,
) -> list[_Choice]:
    within = [choice for choice in choices if bytes_of(choice) <= limit]
    if not within:
        least = min(map(bytes_of, choices))
        raise NothingFits(f"{complaint.format(least, limit)}: allow more, or shrink the network")
    return within


def _cheapest(choices: list[_Choice], goal: Goal) -> _Choice:
    if goal.objective == "cycles":
        limit = _CYCLES_SLACK * min(choice.cycles for choice in choices)
        near = [choice for choice in choices if choice.cycles <= limit]
        return min(near, key=lambda choice: (choice.flash_bytes, choice.cycles))
    order = {
        "flash": lambda choice: (choice.flash_bytes, choice.cycles, choice.arena_bytes),
        "ram": lambda choice: (choice.ram_bytes, choice.cycles, choice.flash_bytes),
    }[goal.objective]
    return min(choices, key=order)


def _decisions(choice: _Choice) -> tuple[Decision, ...]:
    return tuple(
        Decision(
            taken,
            tuple(
                sorted(
                    (other for other in offered if other is not taken),
                    key=lambda other: other.cycles,
                )
            ),
        )
        for taken, offered in zip(choice.taken, choice.offered, strict=True)
    )
