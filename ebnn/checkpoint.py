"""A trained network on disk: safetensors with the architecture as metadata. Needs no torch.

Tensors of block i (from 0): `i.weight` uint8, a bit a weight as `pack_dense` packs them, of (O, C,
KH, KW) of a conv-pool block, C the channels of a group, or (O, I) of a fully connected one;
`i.gamma`, `i.beta`, `i.mean`, `i.variance` float32 (O,). A fully connected block behind a conv-pool
block reads its input in (C, H, W) order. With latent weights kept, `i.weight` is float32, of that
shape, and its sign is the weight (sign(0) = +1).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebnn import tensor_files
from ebnn.architecture import Architecture, ConvPool, fan_in, input_from, parse
from ebnn.normalization import BatchNorm
from ebnn.packing import pack_dense
from ebnn.sim.errors import UserError

FORMAT = "ebnn-checkpoint-2"
_NORM_TENSORS = ("gamma", "beta", "mean", "variance")


@dataclass(frozen=True, eq=False)
class CheckpointBlock:
    """Binary weights (int8 +1 and -1) and trained BatchNorm of one block."""

    weight: NDArray[np.int8]
    norm: BatchNorm
    latent: NDArray[np.float32] | None = None  # same shape as weight


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network as `save` writes it; `blocks` are in the order of `architecture.blocks`.

    `metadata` holds further strings to keep with it, such as the seed.
    """

    architecture: Architecture
    blocks: tuple[CheckpointBlock, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)


def weight_shape(architecture: Architecture, index: int) -> tuple[int, ...]:
    """Shape of block `index`'s weights: (O, C, KH, KW), C the channels of a group, or (O, I) of a
    fully connected block."""
    block, shape = architecture.blocks[index], architecture.shapes()[index]
    if isinstance(block, ConvPool):
        return (block.channels, shape[0] // block.groups, block.kernel_height, block.kernel_width)
    return (block.features, fan_in(block, shape))


def save(checkpoint: Checkpoint, path: Path | str, keep_latent: bool = False) -> None:
    """Write `checkpoint` to `path`, whole or not at all; equal checkpoints give equal bytes.

    `keep_latent` stores the float32 latent weights (32 times the size) where there are any.
    """
    epsilons = {block.norm.epsilon for block in checkpoint.blocks}
    if len(epsilons) != 1:
        raise ValueError(f"a checkpoint holds one epsilon for all blocks, not {sorted(epsilons)}")
    metadata = {
        **checkpoint.metadata,
        "format": FORMAT,
        "architecture": str(checkpoint.architecture),
        "input": json.dumps(dataclasses.asdict(checkpoint.architecture.input)),
        "epsilon": repr(float(epsilons.pop())),
    }
    tensors: tensor_files.Tensors = {}
    for index, block in enumerate(checkpoint.blocks):
        latent = block.latent if keep_latent else None
        tensors[f"{index}.weight"] = (
            pack_dense(block.weight)
            if latent is None
            else np.ascontiguousarray(latent, dtype=np.float32)
        )
        for name in _NORM_TENSORS:
            tensors[f"{index}.{name}"] = np.ascontiguousarray(
                getattr(block.norm, name), dtype=np.float32
            )
    tensor_files.write(Path(path), tensors, metadata)


def load(path: Path | str) -> Checkpoint:
    """Read a checkpoint. `UserError` when it is missing, corrupt or something else."""
    path = Path(path)
    tensors, metadata = tensor_files.read(path, "checkpoint", FORMAT, "ebnn train")
    try:
        architecture, epsilon = _read_metadata(metadata)
        blocks = tuple(
            _read_block(tensors, index, weight_shape(architecture, index), epsilon)
            for index in range(len(architecture.blocks))
        )
        tensor_files.check_empty(tensors)
    except (ValueError, TypeError, KeyError, UserError) as error:
        detail = f"no {error}" if isinstance(error, KeyError) else error
        raise UserError(f"checkpoint {path} is damaged: {detail}") from error
    reserved = {"format", "architecture", "input", "epsilon"}
    return Checkpoint(
        architecture, blocks, {key: metadata[key] for key in sorted(metadata.keys() - reserved)}
    )


def _read_metadata(metadata: Mapping[str, str]) -> tuple[Architecture, float]:
    architecture = parse(metadata["architecture"], input_from(json.loads(metadata["input"])))
    epsilon = float(metadata["epsilon"])
    if not 0 < epsilon < 1:
        raise ValueError(f"epsilon is {epsilon}, not between 0 and 1")
    return architecture, epsilon


def _read_block(
    tensors: tensor_files.Tensors, index: int, shape: tuple[int, ...], epsilon: float
) -> CheckpointBlock:
    """Take block `index`'s tensors out of `tensors`, checked."""
    name, latent = f"{index}.weight", None
    if name in tensors and tensors[name].dtype == np.uint8:
        weight = tensor_files.take_weight(tensors, name, shape)
    else:
        latent = tensor_files.take(tensors, name, np.float32, shape)
        weight = np.where(latent >= 0, 1, -1).astype(np.int8)
    gamma, beta, mean, variance = (
        tensor_files.take(tensors, f"{index}.{name}", np.float32, shape[:1])
        for name in _NORM_TENSORS
    )
    if np.any(variance < 0):
        raise ValueError(f"tensor '{index}.variance' holds negative values")
    return CheckpointBlock(weight, BatchNorm(gamma, beta, mean, variance, epsilon), latent)
