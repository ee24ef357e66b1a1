"""A block in its place, and the ways to compute it that there are to choose from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from ebnn.emitter.layout import Layout
from ebnn.emitter.program import Call
from ebnn.lowered import HeadLayer, HiddenLayer

AnyLayer = TypeVar("AnyLayer", HiddenLayer, HeadLayer)


@dataclass(frozen=True)
class Site(Generic[AnyLayer]):
    """Block `index` of a network, what it reads and who reads it.

    `layout` is its input's, `input_magnitude` the largest absolute value in it. `feeds_linear`:
    a fully connected block comes next, which takes bits in any layout. `unit_bytes`: the map that
    it writes has pixels of whole units of so many bytes, 4, or fewer for the variants that can.
    """

    index: int
    layer: AnyLayer
    layout: Layout
    input_magnitude: int = 1
    feeds_linear: bool = False
    unit_bytes: int = 4

    @property
    def name(self) -> str:
        """Prefix of the block's names in C."""
        return f"block{self.index}"


@dataclass(frozen=True)
class Variant(Generic[AnyLayer, Call]):
    """One way to compute a block: `call` writes the C where `serves` says that it can.

    `work` counts what the cycles grow with, by name, and `code` what the code in the emitted file
    grows with: costs.toml has the cycles and bytes of each, and the stack, but for
    `more_stack_bytes`, which some blocks need besides. `writes_narrow`: it serves sites of any
    `unit_bytes`.
    """

    name: str
    serves: Callable[[Site[AnyLayer]], bool]
    call: Callable[[Site[AnyLayer]], Call]
    work: Callable[[Site[AnyLayer]], Mapping[str, float]]
    code: Callable[[Site[AnyLayer]], Mapping[str, float]] = lambda site: {}
    writes_narrow: bool = False
    more_stack_bytes: Callable[[Site[AnyLayer]], int] = lambda site: 0
