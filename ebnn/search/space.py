"""The networks that a search looks among: convolutions with strides, groups and pools, then the
head.

No padding, which was not worth its cycles on MNIST. The first convolution has no groups: it reads
the image's few channels. Kernels and pools shrink to the map that they meet, so that every draw is
a network: an 8x8 image, and a signal of height 1, get as many blocks as have room.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from ebnn.architecture import (
    Architecture,
    ArchitectureError,
    Block,
    ConvPool,
    Linear,
    parse,
    parse_input,
)

if TYPE_CHECKING:
    import optuna

VERSION = 3
"""Of what the parameters mean: a storage of another version cannot be gone on with."""

Params = Mapping[str, Any]

INPUTS = ("uint8", "bits", "bits:64,192")
POOLS = {"none": (1, 1), "2": (2, 2), "3/2": (3, 2), "3": (3, 3)}
GROUPS = (1, 2, 4)  # of the second convolution and those behind it; all divide CHANNELS_STEP
CONVS_MAX = 4
CHANNELS_STEP, CHANNELS_MAX = 8, 128
FEATURES_STEP, FEATURES_MAX = 16, 128
_LADDER_CHANNELS = (8, 16, 24, 32, 48, 64)


@dataclass(frozen=True)
class Space:
    """`shape` is (channels, height, width) of one sample."""

    shape: tuple[int, int, int]
    classes: int

    @property
    def kernels(self) -> tuple[int, int]:
        """The smallest and the largest; longer ones for signals, which cannot be pooled."""
        return (2, 5) if min(self.shape[1:]) > 1 else (3, 7)

    @property
    def strides(self) -> tuple[int, int]:
        return (1, 2) if min(self.shape[1:]) > 1 else (1, 4)

    def suggest(self, trial: optuna.Trial) -> Architecture | None:
        """A network from Optuna's parameters; None where no such network can be trained."""
        params: dict[str, Any] = {
            "input": trial.suggest_categorical("input", INPUTS),
            "convs": trial.suggest_int("convs", 1, CONVS_MAX),
            "hidden": trial.suggest_categorical("hidden", (False, True)),
        }
        for number in range(1, params["convs"] + 1):
            name = f"channels{number}"
            params[name] = trial.suggest_int(name, CHANNELS_STEP, CHANNELS_MAX, step=CHANNELS_STEP)
            params[f"kernel{number}"] = trial.suggest_int(f"kernel{number}", *self.kernels)
            params[f"stride{number}"] = trial.suggest_int(f"stride{number}", *self.strides)
            params[f"pool{number}"] = trial.suggest_categorical(f"pool{number}", tuple(POOLS))
            if number > 1:
                params[f"groups{number}"] = trial.suggest_categorical(f"groups{number}", GROUPS)
        if params["hidden"]:
            params["features"] = trial.suggest_int(
                "features", FEATURES_STEP, FEATURES_MAX, step=FEATURES_STEP
            )
        return self.network(params)

    def network(self, params: Params) -> Architecture | None:
        """The network that parameters stand for. Blocks that find a map of one position are left
        out: they would be fully connected ones."""
        spec = parse_input(params["input"], self.shape)
        shape = spec.shape
        blocks: list[Block] = []
        for number in range(1, params["convs"] + 1):
            if blocks and shape[1:] == (1, 1):
                break
            kernel = params[f"kernel{number}"]
            plain = ConvPool(
                params[f"channels{number}"],
                min(kernel, shape[1]),
                min(kernel, shape[2]),
                params[f"stride{number}"],
                groups=params.get(f"groups{number}", 1),
            )
            pool, pool_stride = POOLS[params[f"pool{number}"]]
            room = min(plain.conv_shape(shape)[1:])
            if pool > room:
                pool = pool_stride = room
            block = replace(plain, pool=pool, pool_stride=pool_stride)
            blocks.append(block)
            shape = block.output_shape(shape)
        hidden = [Linear(params["features"])] if params["hidden"] else []
        found = Architecture(spec, (*blocks, *hidden, Linear(self.classes)))
        try:
            return parse(str(found), spec)
        except ArchitectureError:  # sums too large for exact floats
            return None

    def neighbour(self, params: Params, random: np.random.Generator) -> dict[str, Any]:
        """Parameters of which one or two are a step away, drawn anew where there are no steps."""
        changed = dict(params)
        for _ in range(random.integers(1, 3)):
            name = str(random.choice(sorted(changed)))
            changed[name] = self._step(name, changed[name], random)
            self._complete(changed, random)
        return changed

    def _step(self, name: str, value: Any, random: np.random.Generator) -> Any:
        choices = self._values(name)
        if name in ("input", "hidden") or name.startswith("pool"):
            return choices[random.integers(len(choices))]
        step = int(random.choice([-2, -1, 1, 2])) if len(choices) > 4 else random.choice([-1, 1])
        at = choices.index(value) + int(step)
        return choices[min(max(at, 0), len(choices) - 1)]

    def _values(self, name: str) -> list[Any]:
        """All values of a parameter, in order where they have one."""
        fixed: dict[str, Sequence[Any]] = {
            "input": INPUTS,
            "convs": range(1, CONVS_MAX + 1),
            "hidden": (False, True),
            "features": range(FEATURES_STEP, FEATURES_MAX + 1, FEATURES_STEP),
            "channels": range(CHANNELS_STEP, CHANNELS_MAX + 1, CHANNELS_STEP),
            "kernel": range(self.kernels[0], self.kernels[1] + 1),
            "stride": range(self.strides[0], self.strides[1] + 1),
            "pool": tuple(POOLS),
            "groups": GROUPS,
        }
        return list(fixed[name.rstrip("123456789")])

    def _complete(self, params: dict[str, Any], random: np.random.Generator) -> None:
        """Draw what the number of blocks asks for and is not there; drop what it does not."""
        names = [
            f"{kind}{number}"
            for number in range(1, params["convs"] + 1)
            for kind in ("channels", "kernel", "stride", "pool", "groups")
            if (kind, number) != ("groups", 1)
        ]
        names += ["features"] if params["hidden"] else []
        for name in [name for name in names if name not in params]:
            choices = self._values(name)
            params[name] = choices[random.integers(len(choices))]
        for name in set(params) - {"input", "convs", "hidden", *names}:
            del params[name]

    def ladder(self) -> Iterator[dict[str, Any]]:
        """Parameters of plain networks, narrow to wide, to begin with: the first convolution pooled
        or strided, twice as many channels behind it."""
        wide = min(self.shape[1:]) > 1
        kernel, pool = (3, "2") if wide else (5, "none")
        for channels in _LADDER_CHANNELS:
            for strided in (False, True) if wide else (True,):
                first = {"kernel1": 4, "stride1": 2, "pool1": "none"}
                if not strided:
                    first = {"kernel1": 3, "stride1": 1, "pool1": "2"}
                if not wide:
                    first = {"kernel1": 7, "stride1": 2, "pool1": "none"}
                yield {
                    "input": "uint8",
                    "convs": 3,
                    "hidden": False,
                    "channels1": channels,
                    **first,
                    "channels2": 2 * channels,
                    "kernel2": kernel,
                    "stride2": 1 if wide else 2,
                    "pool2": pool,
                    "groups2": 1,
                    "channels3": 2 * channels,
                    "kernel3": kernel,
                    "stride3": 1,
                    "pool3": "none",
                    "groups3": 1,
                }

    def narrow(self) -> Iterator[tuple[Params, Architecture]]:
        """The networks of fewest channels, of one and two convolutions: among them is the one that
        takes the least of whatever is limited, or nearly so."""
        low, high = self.kernels
        kernels = range(low, high + 1)
        strides = (self.strides[0], self.strides[1])
        seen: set[Architecture] = set()
        for convs, kind in product((1, 2), ("uint8", "bits")):
            first = product(kernels, strides, POOLS, (1,))
            second = [product(kernels, strides, POOLS, (1, max(GROUPS)))] * (convs - 1)
            for blocks in product(first, *second):
                params: dict[str, Any] = {"input": kind, "convs": convs, "hidden": False}
                for number, (kernel, stride, pool, groups) in enumerate(blocks, 1):
                    params[f"channels{number}"] = CHANNELS_STEP
                    params[f"kernel{number}"] = kernel
                    params[f"stride{number}"], params[f"pool{number}"] = stride, pool
                    if number > 1:
                        params[f"groups{number}"] = groups
                network = self.network(params)
                if network is not None and network not in seen:
                    seen.add(network)
                    yield params, network
