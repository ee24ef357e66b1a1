"""PyTorch in eval mode = the numpy integer reference, every score and activation bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import architectures, random_checkpoint, random_samples

from ebnn import reference
from ebnn.architecture import Architecture, InputSpec, parse
from ebnn.lowered import lower
from ebnn.network import from_checkpoint


@settings(max_examples=200, deadline=None, derandomize=True)
@given(architecture=architectures(), seed=st.integers(0, 2**32 - 1))
def test_eval_mode_agrees_with_numpy_on_every_bit(architecture: Architecture, seed: int) -> None:
    checkpoint = random_checkpoint(architecture, seed)
    samples = random_samples(architecture.input, 4, seed=1)
    lowered = lower(checkpoint)
    expected = reference.run(lowered, samples, keep_activations=True)
    network = from_checkpoint(checkpoint)
    with torch.no_grad():
        for block, got in enumerate(network.activations(torch.tensor(samples))):
            wanted = expected.activations[block]
            assert np.array_equal(got.numpy().reshape(wanted.shape), wanted), f"block {block}"
        scores = network(torch.tensor(samples)).numpy()
    assert np.array_equal(scores, np.ldexp(expected.scores.astype(np.float32), -lowered.head.shift))


@pytest.mark.parametrize("text", ["conv7x7-64 pad3, fc-10", "conv3x3-64 pad1 pool2, fc-10"])
def test_the_largest_sums_are_exact_whatever_convolution_torch_picks(text: str) -> None:
    """All inputs 255 or 2047 and channels enough that a Winograd or half-precision shortcut,
    which libraries pick by shape, would round."""
    architecture = parse(text, InputSpec(32, 28, 28))
    checkpoint = random_checkpoint(architecture, seed=3)
    x = np.random.default_rng(1).choice([0, 254, 255], size=(8, 32, 28, 28)).astype(np.uint8)
    expected = reference.run(lower(checkpoint), x, keep_activations=True)
    with torch.no_grad():
        (got,) = from_checkpoint(checkpoint).activations(torch.tensor(x))
    assert np.array_equal(got.numpy(), expected.activations[0])
