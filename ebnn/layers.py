"""Binary layers and the paper's fused blocks, as ordinary `nn.Module`s for any training loop.

    block = ConvPoolBlock(1, 32, kernel_size=3, pool=2)     # the fused block ...

    nn.Sequential(                                          # ... is the same as its parts
        BinaryConv2d(1, 32, 3), nn.MaxPool2d(2), BatchNorm(32), Sign())

Weights are kept as latent floats in [-1, 1] and used as their sign. In eval mode every value is
exact: sums of integers below 2^24, then `ebnn.normalization`'s arithmetic, so that numpy and C
give the same bits. Call `clip_latent_weights(module)` after each optimizer step.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ebnn.architecture import FLOAT_INPUT_MAX, InputSpec
from ebnn.normalization import BatchNorm as TrainedBatchNorm
from ebnn.normalization import head_grid


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        # Adding 0 makes -0 a +0. A third of the time of `where` with its boolean tensor.
        return torch.copysign(x.new_ones(()), x + 0.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        # The straight-through estimator, cut off where |x| > 1. hardtanh's kernel does it in one
        # pass; its limits are exclusive, so they are the numbers next to +-1: a latent weight
        # clipped to exactly 1 must still learn.
        limit = 1 + torch.finfo(x.dtype).eps
        passed: Tensor = torch.ops.aten.hardtanh_backward(gradients[0], x, -limit, limit)
        return passed


def sign(x: Tensor) -> Tensor:
    """+1 where x >= 0, else -1; the gradient passes straight through where |x| <= 1."""
    result: Tensor = _Sign.apply(x)  # type: ignore[no-untyped-call]
    return result


class Sign(nn.Module):
    """`sign` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        return sign(x)


def _operands(layer: nn.Module, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """In eval mode the operands in float64, so that sums of integers are exact.

    In float32 a library may pick a Winograd or FFT convolution, or be set to round operands to
    bfloat16 or TF32 (`torch.set_float32_matmul_precision`); for float64 none does either.
    """
    if layer.training or x.device.type == "mps":  # which has no float64
        return x, weight
    return x.double(), weight.double()


class BinaryConv2d(nn.Module):
    """Convolution with weights +-1, no bias; positions outside the image contribute nothing.

    (N, in_channels, H, W) to (N, out_channels, H', W'). `weight`, latent, is (out_channels,
    in_channels / groups, kernel height, kernel width). Raises `ValueError` where `groups` does not
    divide both numbers of channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> None:
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{groups} groups do not divide {in_channels} and {out_channels} channels"
            )
        height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, height, width))
        self.stride = stride
        self.padding = padding
        self.groups = groups
        nn.init.uniform_(self.weight, -0.5, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x, weight = _operands(self, x, sign(self.weight))
        sums = F.conv2d(x, weight, stride=self.stride, padding=self.padding, groups=self.groups)
        return sums.to(self.weight.dtype)


class BinaryLinear(nn.Module):
    """Fully connected layer with weights +-1, no bias: (N, in_features) to (N, out_features)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.uniform_(self.weight, -0.5, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x, weight = _operands(self, x, sign(self.weight))
        return F.linear(x, weight).to(self.weight.dtype)


class BatchNorm(nn.Module):
    """BatchNorm over dimension 1 of (N, C) or (N, C, H, W).

    Trains like `nn.BatchNorm2d`; in eval mode it computes exactly what
    `ebnn.normalization.BatchNorm.evaluate` does, operation by operation.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, epsilon: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.epsilon = epsilon
        self.momentum = momentum

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return F.batch_norm(
                x,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                training=True,
                momentum=self.momentum,
                eps=self.epsilon,
            )
        shape = (1, -1) + (1,) * (x.ndim - 2)
        deviation = torch.sqrt(self.running_var + self.epsilon)
        scale = (self.weight / deviation).view(shape)
        return (x - self.running_mean.view(shape)) * scale + self.bias.view(shape)

    def trained(self) -> TrainedBatchNorm:
        """Its statistics and parameters for the stages below training."""
        gamma, beta, mean, variance = (
            tensor.detach().cpu().numpy().copy()
            for tensor in (self.weight, self.bias, self.running_mean, self.running_var)
        )
        return TrainedBatchNorm(gamma, beta, mean, variance, self.epsilon)


class ConvPoolBlock(nn.Module):
    """Conv -> MaxPool -> BatchNorm -> sign (paper, section 3.2); `pool` 1 is none.

    (N, in_channels, H, W) integers to (N, out_channels, H', W') of +-1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        pool: int = 1,
        pool_stride: int | None = None,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.layer = BinaryConv2d(in_channels, out_channels, kernel_size, stride, padding, groups)
        self.pool = pool
        self.pool_stride = pool if pool_stride is None else pool_stride
        self.norm = BatchNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        if self.pool > 1 or self.pool_stride > 1:
            x = F.max_pool2d(x, self.pool, self.pool_stride)
        return sign(self.norm(x))


class LinearBlock(nn.Module):
    """Linear -> BatchNorm -> sign. Takes (N, in_features), or a map, which it flattens in (C, H, W)
    order; gives (N, out_features) of +-1."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layer = BinaryLinear(in_features, out_features)
        self.norm = BatchNorm(out_features)

    def forward(self, x: Tensor) -> Tensor:
        return sign(self.norm(self.layer(x.flatten(1))))


class ClassifierHead(nn.Module):
    """Linear -> BatchNorm: (N, in_features), or a map, to scores (N, classes).

    `input_magnitude` bounds the inputs: 1 for +-1. In eval mode the scores are on
    `ebnn.normalization.head_grid`'s grid, where they are exact.
    """

    def __init__(self, in_features: int, classes: int, input_magnitude: int = 1) -> None:
        super().__init__()
        self.layer = BinaryLinear(in_features, classes)
        self.norm = BatchNorm(classes)
        self.max_sum = in_features * input_magnitude

    def forward(self, x: Tensor) -> Tensor:
        sums: Tensor = self.layer(x.flatten(1))
        if self.training:
            scores: Tensor = self.norm(sums)
            return scores
        grid = head_grid(self.norm.trained(), self.max_sum)
        multiplier = torch.from_numpy(grid.multiplier).to(sums)
        offset = torch.from_numpy(grid.offset).to(sums)
        return torch.ldexp(sums * multiplier + offset, torch.tensor(-grid.shift))


class InputLayer(nn.Module):
    """Samples (N, C, H, W), as a data set holds them, to the integers that enter the first sum."""

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, x: Tensor) -> Tensor:
        if self.spec.kind == "bits":
            return torch.where(x >= 128, 1.0, -1.0)
        values = x.float()
        if self.spec.kind == "float":
            scaled = values * 2.0**self.spec.fraction_bits
            low = torch.full_like(scaled, -FLOAT_INPUT_MAX)
            clipped = torch.where(scaled > -FLOAT_INPUT_MAX, scaled, low)
            return torch.round(torch.clamp(clipped, max=FLOAT_INPUT_MAX))
        return values


def clip_latent_weights(module: nn.Module) -> None:
    """Clip every latent weight to [-1, 1]: beyond, its gradient would be lost for good."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, BinaryConv2d | BinaryLinear):
                part.weight.clamp_(-1.0, 1.0)
