"""An architecture as an `nn.Module`, and back and forth to a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ebnn.architecture import Architecture, ConvPool, Linear, fan_in
from ebnn.checkpoint import Checkpoint, CheckpointBlock
from ebnn.layers import (
    BatchNorm,
    BinaryConv2d,
    BinaryLinear,
    ClassifierHead,
    ConvPoolBlock,
    InputLayer,
    LinearBlock,
)


class BinaryNetwork(nn.Module):
    """The network of an architecture: samples (N, C, H, W) to scores (N, classes).

    Takes uint8 samples for inputs of the kinds `uint8` and `bits`, floats for `float`.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.input = InputLayer(architecture.input)
        blocks: list[nn.Module] = []
        for index, (block, shape) in enumerate(
            zip(architecture.blocks, architecture.shapes(), strict=False)
        ):
            if isinstance(block, ConvPool):
                blocks.append(
                    ConvPoolBlock(
                        shape[0],
                        block.channels,
                        (block.kernel_height, block.kernel_width),
                        block.stride,
                        block.padding,
                        block.pool,
                        block.pool_stride,
                        block.groups,
                    )
                )
            elif index < len(architecture.blocks) - 1:
                blocks.append(LinearBlock(fan_in(block, shape), block.features))
            else:
                magnitude = architecture.input.max_magnitude if index == 0 else 1
                blocks.append(ClassifierHead(fan_in(block, shape), block.features, magnitude))
        self.blocks = nn.ModuleList(blocks)
        self.seen = seen_extents(architecture)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input(x[:, :, : self.seen[0], : self.seen[1]])
        for block in self.blocks:
            x = block(x)
        return x

    def activations(self, x: Tensor) -> list[Tensor]:
        """Every hidden block's +-1 output, (N, C, H, W) or (N, features)."""
        outputs = []
        x = self.input(x)
        for block in self.blocks[:-1]:
            x = block(x)
            outputs.append(x)
        return outputs

    def norms(self) -> list[BatchNorm]:
        """The BatchNorm of each block, in order."""
        found = [block.norm for block in self.blocks]
        return [norm for norm in found if isinstance(norm, BatchNorm)]

    def latent_weights(self) -> list[nn.Parameter]:
        """The latent weights of each block, in order."""
        layers = [block.layer for block in self.blocks]
        return [part.weight for part in layers if isinstance(part, BinaryConv2d | BinaryLinear)]

    def to_checkpoint(self, metadata: Mapping[str, str] | None = None) -> Checkpoint:
        """The trained network for the stages below, latent weights included."""
        blocks = []
        for weights, norm in zip(self.latent_weights(), self.norms(), strict=True):
            latent = weights.detach().cpu().numpy().copy()
            weight = (2 * (latent >= 0).astype("int8") - 1).astype("int8")
            blocks.append(CheckpointBlock(weight, norm.trained(), latent))
        return Checkpoint(self.architecture, tuple(blocks), metadata or {})


def seen_extents(architecture: Architecture) -> tuple[int, int]:
    """(rows, columns) of the input, from the top left, that the scores depend on.

    Strides and pools leave out what does not fill their last window: a map of 11x11 pooled by 2
    is one of 10x10. What is left out need not be computed, which saves a seventh of the time on
    MNIST with two such pools.
    """
    needed = (0, 0)  # of the map that enters the fully connected blocks: all, from its shape
    for block, shape in reversed(
        list(zip(architecture.blocks, architecture.shapes(), strict=False))
    ):
        if isinstance(block, Linear) or block.padding:
            needed = shape[1:]
            continue
        pooled = [(extent - 1) * block.pool_stride + block.pool for extent in needed]
        kernel = (block.kernel_height, block.kernel_width)
        rows, columns = (
            (extent - 1) * block.stride + size for extent, size in zip(pooled, kernel, strict=True)
        )
        needed = (rows, columns)
    return needed


def build(architecture: Architecture) -> BinaryNetwork:
    """A network with fresh weights, from torch's random generator."""
    assert isinstance(architecture.blocks[-1], Linear)
    return BinaryNetwork(architecture)


def from_checkpoint(checkpoint: Checkpoint) -> BinaryNetwork:
    """The network that a checkpoint holds, in eval mode."""
    network = build(checkpoint.architecture)
    with torch.no_grad():
        for weights, norm, kept in zip(
            network.latent_weights(), network.norms(), checkpoint.blocks, strict=True
        ):
            weight = kept.weight if kept.latent is None else kept.latent
            weights.copy_(torch.from_numpy(weight.astype("float32")))
            norm.weight.copy_(torch.from_numpy(kept.norm.gamma))
            norm.bias.copy_(torch.from_numpy(kept.norm.beta))
            norm.running_mean.copy_(torch.from_numpy(kept.norm.mean))
            norm.running_var.copy_(torch.from_numpy(kept.norm.variance))
            norm.epsilon = kept.norm.epsilon
    network.eval()
    return network
