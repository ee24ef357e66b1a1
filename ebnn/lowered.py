"""The integer network: the one input of the numpy reference, the memory plan and the C emitter.

`lower(checkpoint)` makes it; `save` and `load` keep it as one safetensors file with packed bits.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebnn import tensor_files
from ebnn.architecture import Architecture, Block, fan_in, input_from, parse
from ebnn.checkpoint import Checkpoint, weight_shape
from ebnn.normalization import fold_threshold, head_grid
from ebnn.packing import pack_dense
from ebnn.sim.errors import UserError
from ebnn.tensor_files import take, take_weight

FORMAT = "ebnn-lowered-1"


@dataclass(frozen=True, eq=False)
class HiddenLayer:
    """A block up to its sign: bit = (max over the pool of the sums >= threshold) != flip.

    `weight` int8 +-1 (O, C, KH, KW), C the channels of a group, or (O, I); `threshold` int32 (O,);
    `flip` bool (O,). `mean`, `scale`, `beta` float32 (O,) are the BatchNorm that the threshold
    stands for: what the `reference` and `unfused` kernels compute with.
    """

    block: Block
    in_shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]
    weight: NDArray[np.int8]
    threshold: NDArray[np.int32]
    flip: NDArray[np.bool_]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    beta: NDArray[np.float32]


@dataclass(frozen=True)
class HeadLayer:
    """The classifier: score = multiplier * sum + offset in units of 2**-shift, then argmax.

    `weight` int8 +-1 (O, I); `multiplier`, `offset` int32 (O,), with |score| <= 2^23.
    """

    block: Block
    in_shape: tuple[int, int, int]
    weight: NDArray[np.int8]
    multiplier: NDArray[np.int32]
    offset: NDArray[np.int32]
    shift: int


@dataclass(frozen=True)
class LoweredNetwork:
    """An integer network, in the order in which it runs."""

    architecture: Architecture
    hidden: tuple[HiddenLayer, ...]
    head: HeadLayer

    def digest(self) -> str:
        """SHA-256 of everything that decides a prediction."""
        hasher = hashlib.sha256(_metadata(self)["architecture"].encode())
        hasher.update(_metadata(self)["input"].encode())
        for name, tensor in sorted(_tensors(self).items()):
            hasher.update(name.encode() + tensor.tobytes())
        return hasher.hexdigest()


def lower(checkpoint: Checkpoint) -> LoweredNetwork:
    """Fold every BatchNorm of a trained network into integers."""
    architecture = checkpoint.architecture
    shapes = architecture.shapes()
    hidden: list[HiddenLayer] = []
    for index, block in enumerate(architecture.blocks[:-1]):
        trained = checkpoint.blocks[index]
        folded = fold_threshold(trained.norm, _max_sum(architecture, index))
        hidden.append(
            HiddenLayer(
                block=block,
                in_shape=shapes[index],
                out_shape=shapes[index + 1],
                weight=trained.weight,
                threshold=folded.threshold,
                flip=folded.flip,
                mean=trained.norm.mean,
                scale=trained.norm.scale(),
                beta=trained.norm.beta,
            )
        )
    last = len(hidden)
    trained = checkpoint.blocks[last]
    grid = head_grid(trained.norm, _max_sum(architecture, last))
    head = HeadLayer(
        block=architecture.blocks[last],
        in_shape=shapes[last],
        weight=trained.weight,
        multiplier=grid.multiplier,
        offset=grid.offset,
        shift=grid.shift,
    )
    return LoweredNetwork(architecture, tuple(hidden), head)


def _max_sum(architecture: Architecture, index: int) -> int:
    """Largest magnitude of a sum of block `index`."""
    products = fan_in(architecture.blocks[index], architecture.shapes()[index])
    return products * (architecture.input.max_magnitude if index == 0 else 1)


def save(network: LoweredNetwork, path: Path) -> None:
    """Write the network to `path`, whole or not at all."""
    tensor_files.write(path, _tensors(network), _metadata(network))


def load(path: Path) -> LoweredNetwork:
    """Read what `save` wrote. Raises `UserError` for a missing, damaged or other file."""
    tensors, metadata = tensor_files.read(path, "lowered model", FORMAT, "ebnn lower")
    try:
        architecture = parse(metadata["architecture"], input_from(json.loads(metadata["input"])))
        last = len(architecture.blocks) - 1
        hidden = tuple(_read_hidden(tensors, architecture, index) for index in range(last))
        classes = (architecture.classes,)
        head = HeadLayer(
            block=architecture.blocks[last],
            in_shape=architecture.shapes()[last],
            weight=take_weight(tensors, f"{last}.weight", weight_shape(architecture, last)),
            multiplier=take(tensors, f"{last}.multiplier", np.int32, classes),
            offset=take(tensors, f"{last}.offset", np.int32, classes),
            shift=int(metadata["shift"]),
        )
        tensor_files.check_empty(tensors)
    except (KeyError, ValueError, TypeError, UserError) as error:
        raise UserError(
            f"lowered model {path} is damaged ({error}): write it again with `ebnn lower`"
        ) from error
    return LoweredNetwork(architecture, hidden, head)


def _read_hidden(
    tensors: tensor_files.Tensors, architecture: Architecture, index: int
) -> HiddenLayer:
    in_shape, out_shape = architecture.shapes()[index : index + 2]
    channels = out_shape[:1]
    return HiddenLayer(
        block=architecture.blocks[index],
        in_shape=in_shape,
        out_shape=out_shape,
        weight=take_weight(tensors, f"{index}.weight", weight_shape(architecture, index)),
        threshold=take(tensors, f"{index}.threshold", np.int32, channels),
        flip=take(tensors, f"{index}.flip", np.bool_, channels),
        mean=take(tensors, f"{index}.mean", np.float32, channels),
        scale=take(tensors, f"{index}.scale", np.float32, channels),
        beta=take(tensors, f"{index}.beta", np.float32, channels),
    )


def _tensors(network: LoweredNetwork) -> dict[str, NDArray[np.generic]]:
    tensors: dict[str, NDArray[np.generic]] = {}
    for index, layer in enumerate(network.hidden):
        tensors[f"{index}.weight"] = pack_dense(layer.weight)
        for name in ("threshold", "flip", "mean", "scale", "beta"):
            tensors[f"{index}.{name}"] = np.ascontiguousarray(getattr(layer, name))
    index = len(network.hidden)
    tensors[f"{index}.weight"] = pack_dense(network.head.weight)
    tensors[f"{index}.multiplier"] = network.head.multiplier
    tensors[f"{index}.offset"] = network.head.offset
    return tensors


def _metadata(network: LoweredNetwork) -> dict[str, str]:
    return {
        "format": FORMAT,
        "architecture": str(network.architecture),
        "input": json.dumps(asdict(network.architecture.input), sort_keys=True),
        "shift": str(network.head.shift),
    }
