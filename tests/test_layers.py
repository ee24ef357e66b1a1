"""Layers: eval mode is `ebnn.normalization`'s arithmetic and exact; training mode is PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from ebnn.architecture import InputSpec, parse
from ebnn.layers import (
    BatchNorm,
    BinaryConv2d,
    BinaryLinear,
    ClassifierHead,
    ConvPoolBlock,
    InputLayer,
    LinearBlock,
    Sign,
    sign,
)
from ebnn.network import build, seen_extents
from ebnn.normalization import fold_threshold, head_grid


def set_norm(norm: BatchNorm, seed: int, spread: float) -> None:
    """Random statistics and parameters; gamma < 0, = 0 and > 0 in turn."""
    rng = np.random.default_rng(seed)
    channels = len(norm.weight)
    gamma = np.abs(rng.normal(size=channels)) * np.resize([-1, 0, 1], channels)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor(gamma))
        norm.bias.copy_(torch.tensor(rng.normal(size=channels, scale=0.3)))
        norm.running_mean.copy_(torch.tensor(rng.normal(size=channels, scale=spread)))
        norm.running_var.copy_(torch.tensor(spread**2 * rng.random(channels)))


@pytest.mark.parametrize("shape", [(50, 9), (6, 9, 5, 7)])
def test_eval_batchnorm_is_normalization_bit_for_bit(shape: tuple[int, ...]) -> None:
    norm = BatchNorm(9).eval()
    set_norm(norm, 1, spread=40.0)
    x = torch.randint(-2000, 2000, shape, generator=torch.Generator().manual_seed(2)).float()
    last = np.moveaxis(x.numpy(), 1, -1)
    expected = np.moveaxis(norm.trained().evaluate(last), -1, 1)
    got = norm(x).detach().numpy()
    np.testing.assert_array_equal(got.view(np.uint32), expected.view(np.uint32))
    # In channels_last memory, too.
    if x.ndim == 4:
        got = norm(x.to(memory_format=torch.channels_last)).detach().numpy()
        np.testing.assert_array_equal(got, expected)


def test_sign_of_eval_batchnorm_is_the_folded_threshold_for_gamma_of_each_sign() -> None:
    norm = BatchNorm(9).eval()
    set_norm(norm, 3, spread=20.0)
    fold = fold_threshold(norm.trained(), 60)
    x = torch.arange(-60, 61).float()[:, None].repeat(1, 9)
    got = sign(norm(x)).detach().numpy() > 0
    np.testing.assert_array_equal(got, (x.numpy() >= fold.threshold) != fold.flip)


def test_training_batchnorm_is_pytorchs() -> None:
    ours, theirs = BatchNorm(5), torch.nn.BatchNorm2d(5)
    x = torch.randn(8, 5, 6, 6, generator=torch.Generator().manual_seed(0)) * 7 + 3
    torch.testing.assert_close(ours(x), theirs(x))
    assert theirs.running_mean is not None and theirs.running_var is not None
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_sign_of_either_zero_is_plus_one(dtype: torch.dtype) -> None:
    x = torch.tensor([-0.0, 0.0, -1e-30, 1e-30, -3.0, 2.0], dtype=dtype)
    assert sign(x).dtype == dtype
    assert sign(x).tolist() == [1, 1, -1, 1, -1, 1]


@pytest.mark.parametrize("precision", ["highest", "medium"])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_eval_convolution_is_exact_up_to_the_largest_sums(kernel: int, precision: str) -> None:
    # "medium" lets float32 kernels round operands to 8 bits; 2047 needs 11.
    channels = (2**24 - 1) // (2047 * kernel * kernel) // 16
    rng = np.random.default_rng(kernel)
    conv = BinaryConv2d(channels, 4, kernel, padding=kernel // 2).eval()
    with torch.no_grad():
        conv.weight[0] = 0.0  # sign +1: the largest sum
    x = rng.choice([2047, 2046, 2045], size=(1, channels, 9, 9))
    weight = np.where(conv.weight.detach().numpy() >= 0, 1, -1).astype(np.int64)
    pad = kernel // 2
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
    expected = np.einsum("nchwij,ocij->nohw", windows, weight, optimize=True)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        got = conv(torch.tensor(x).float()).detach()
    finally:
        torch.set_float32_matmul_precision(before)
    assert got.dtype == torch.float32
    np.testing.assert_array_equal(got.numpy(), expected)


def test_a_block_is_the_same_as_its_parts() -> None:
    block = ConvPoolBlock(3, 8, (3, 2), stride=2, padding=1, pool=3, pool_stride=2)
    parts = torch.nn.Sequential(block.layer, torch.nn.MaxPool2d(3, 2), block.norm, Sign())
    x = sign(torch.randn(4, 3, 19, 17, generator=torch.Generator().manual_seed(1)))
    for mode in (True, False):
        assert torch.equal(block.train(mode)(x), parts.train(mode)(x))
    assert block(x).shape == (4, 8, 4, 4)


def test_positions_outside_the_image_contribute_nothing() -> None:
    conv = BinaryConv2d(1, 1, 3, padding=1).eval()
    with torch.no_grad():
        conv.weight.fill_(0.5)
    assert conv(torch.ones(1, 1, 3, 3))[0, 0].tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]


def test_eval_head_scores_lie_on_the_integer_grid_and_keep_ties() -> None:
    head = ClassifierHead(40, 6).eval()
    set_norm(head.norm, 5, spread=10.0)
    with torch.no_grad():
        head.layer.weight[3] = head.layer.weight[2]
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(head.norm, name)[3] = getattr(head.norm, name)[2]
    x = sign(torch.randn(200, 40, generator=torch.Generator().manual_seed(1)))
    grid = head_grid(head.norm.trained(), 40)
    sums = (x @ sign(head.layer.weight).T).detach().numpy().astype(np.int64)
    expected = sums * grid.multiplier + grid.offset
    scores = head(x).detach()
    np.testing.assert_array_equal(np.ldexp(scores.numpy().astype(np.float64), grid.shift), expected)
    np.testing.assert_array_equal(scores.argmax(1).numpy(), expected.argmax(1))
    assert torch.equal(scores[:, 2], scores[:, 3])


def test_eval_head_predicts_as_the_batchnorm_it_rounds() -> None:
    head = ClassifierHead(576, 10).eval()
    set_norm(head.norm, 6, spread=24.0)
    with torch.no_grad():
        head.norm.weight.abs_().add_(0.1)
        head.norm.running_var.add_(50.0)
    x = sign(torch.randn(2000, 576, generator=torch.Generator().manual_seed(1)))
    exact = head.norm(head.layer(x)).argmax(1)
    assert (head(x).argmax(1) == exact).float().mean() > 0.995


def test_weight_gradients_pass_where_latent_weights_are_clipped() -> None:
    layer = BinaryLinear(4, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -1.0, 0.0, 0.3]]))
    layer(torch.tensor([[2.0, 3.0, 4.0, 5.0]])).backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[2, 3, 4, 5]]


def test_gradients_reach_every_parameter_of_the_blocks() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        ConvPoolBlock(2, 6, 3, pool=2), LinearBlock(6 * 9, 12), ClassifierHead(12, 3)
    )
    x = torch.randint(0, 256, (16, 2, 8, 8)).float()
    F.cross_entropy(model(x), torch.arange(16) % 3).backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("conv3x3-4 pool2, conv3x3-5 pool2, conv3x3-6, fc-10", (26, 26)),
        ("conv4x4-4 stride2, conv3x3-5 pool2, fc-10", (26, 26)),
        ("conv3x3-4 pool2, conv3x3-5 pad1 pool2, fc-10", (28, 28)),
        ("conv5x1-4 pool3/2, conv1x3-5 stride3 pool2, fc-6, fc-10", (25, 25)),
        ("fc-10", (28, 28)),
    ],
)
def test_scores_depend_on_the_seen_part_of_the_image_alone(
    text: str, seen: tuple[int, int]
) -> None:
    architecture = parse(text, InputSpec(1, 28, 28))
    assert seen_extents(architecture) == seen
    torch.manual_seed(1)
    network = build(architecture)
    x = torch.randint(0, 256, (30, 1, 28, 28), dtype=torch.uint8)
    with torch.no_grad():
        network(x)  # moves BatchNorm's statistics to where signs differ
    network.eval()
    # The blocks alone compute all of each map.
    whole = network.input(x)
    for block in network.blocks:
        whole = block(whole)
    assert torch.equal(network(x), whole)
    assert len(whole.argmax(1).unique()) > 1


def test_input_kinds() -> None:
    byte = torch.tensor([[[[0, 127, 128, 255]]]], dtype=torch.uint8)
    assert InputLayer(InputSpec(1, 1, 4))(byte).flatten().tolist() == [0, 127, 128, 255]
    assert InputLayer(InputSpec(1, 1, 4, "bits"))(byte).flatten().tolist() == [-1, -1, 1, 1]
    number = torch.tensor([[[[0.1, -9.0, 1e9, 0.625]]]])  # 0.625 * 4 = 2.5, halves to even
    integers = InputLayer(InputSpec(1, 1, 4, "float", 2))(number).flatten().tolist()
    assert integers == [0, -36, 2047, 2]
