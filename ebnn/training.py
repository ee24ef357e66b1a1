"""A plain recipe: Adam, cosine decay, latent weights clipped, BatchNorm re-estimated at the end.

Same data, settings and number of threads on the same kind of machine: same weights, bit for bit.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from ebnn.architecture import Architecture
from ebnn.data import Dataset
from ebnn.inputs import samples_of
from ebnn.layers import clip_latent_weights
from ebnn.network import BinaryNetwork, build
from ebnn.sim.errors import UserError

_REESTIMATION_SAMPLES = 20_000  # plenty for a mean and a variance a channel
_FORWARD_SAMPLES = 250  # a batch without gradients: its maps stay in blocks that malloc keeps


@dataclass(frozen=True)
class TrainingSettings:
    """What decides the weights, besides the data and the architecture.

    `threads` counts too, because each sums its share of a gradient. With one, the weights don't
    depend on how many cores a machine has, nor the time on what else runs there: an epoch of the
    MNIST network takes 9 s with one thread and 5 s with two, but 50 s and more with two on busy
    cores, where they wait for each other at every step.
    """

    epochs: int = 10
    seed: int = 0
    learning_rate: float = 5e-3
    batch_samples: int = 64
    threads: int = 1


@dataclass(frozen=True)
class TrainingProgress:
    """State after a step: `epoch` from 0, `step` from 1 of `steps` in it.

    `loss` and `accuracy` (0 to 1) are means over the epoch's training samples so far.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float


def train(
    architecture: Architecture,
    dataset: Dataset,
    settings: TrainingSettings,
    on_progress: Callable[[TrainingProgress], None] = lambda progress: None,
) -> BinaryNetwork:
    """Train a network on the training split; it comes back in eval mode.

    `on_progress` is called after every step. Raises `UserError` where the data do not suit the
    architecture or the loss is no longer a number.
    """
    check_suits(architecture, dataset)
    if min(settings.batch_samples, len(dataset.x_train)) < 2:
        raise UserError(
            f"training: batches of {settings.batch_samples} from {len(dataset.x_train)} samples;"
            " BatchNorm needs at least 2 samples a batch"
        )
    _keep_freed_memory()
    with _deterministic(settings.seed, settings.threads):
        return _train(architecture, dataset, settings, on_progress)


def _keep_freed_memory() -> None:
    """Let glibc reuse large blocks, process-wide.

    By default it gives them back to the system at each free, and every layer's output is then
    paid for again in page faults: an epoch took 15 s instead of 6.4 s on two cores.
    """
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library
    mallopt(mmap_threshold, 32 << 20)  # the largest that glibc takes
    mallopt(trim_threshold, 1 << 30)


@contextmanager
def _deterministic(seed: int, threads: int) -> Iterator[None]:
    """Repeatable algorithms and random numbers within; torch's global state as before after it."""
    threads_before = torch.get_num_threads()
    options: Any = torch.utils.deterministic  # its attributes are unknown to type checkers
    before = torch.are_deterministic_algorithms_enabled()
    filled = options.fill_uninitialized_memory
    with torch.random.fork_rng(devices=[]):
        try:
            torch.manual_seed(seed)
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(True)
            # Filling each new tensor with NaN shows bugs in kernels, and took a third of the time.
            options.fill_uninitialized_memory = False
            yield
        finally:
            torch.set_num_threads(threads_before)
            torch.use_deterministic_algorithms(before)
            options.fill_uninitialized_memory = filled


def _train(
    architecture: Architecture,
    dataset: Dataset,
    settings: TrainingSettings,
    on_progress: Callable[[TrainingProgress], None],
) -> BinaryNetwork:
    network = build(architecture)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=True)
    x, labels = network_input(architecture, dataset.x_train), torch.tensor(dataset.y_train)
    shuffle = torch.Generator().manual_seed(settings.seed)
    # Samples that do not fill the last batch sit out an epoch, another few each time: BatchNorm
    # over a handful of samples, or a single one, would teach little and cannot be computed.
    batch_samples = min(settings.batch_samples, len(x))
    steps = len(x) // batch_samples
    network.train()
    for epoch in range(settings.epochs):
        order = torch.randperm(len(x), generator=shuffle)
        total, right = 0.0, 0
        for step, picked in enumerate(_batches(order[: steps * batch_samples], batch_samples)):
            done = (epoch * steps + step) / (settings.epochs * steps)
            rate = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            scores, wanted = network(x[picked]), labels[picked]
            loss = F.cross_entropy(scores, wanted)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            clip_latent_weights(network)
            total += loss.item()
            right += int((scores.detach().argmax(1) == wanted).sum())
            if not math.isfinite(total):
                raise UserError(
                    f"training: the loss is {total} in epoch {epoch + 1}; lower --lr"
                    f" (it is {settings.learning_rate})"
                )
            accuracy = right / ((step + 1) * batch_samples)
            on_progress(TrainingProgress(epoch, step + 1, steps, total / (step + 1), accuracy))
    _reestimate_norms(network, x, shuffle)
    network.eval()
    return network


def check_suits(architecture: Architecture, dataset: Dataset) -> None:
    """Raise `UserError` where the samples or classes of `dataset` are not the architecture's."""
    if dataset.shape != architecture.input.shape:
        raise UserError(
            f"{dataset.name}: samples are {dataset.shape}, but the architecture takes"
            f" {architecture.input.shape} (channels, height, width)"
        )
    if dataset.classes > architecture.classes:
        raise UserError(
            f"{dataset.name} has {dataset.classes} classes, but the architecture ends in"
            f" fc-{architecture.classes}: end it in fc-{dataset.classes}"
        )


def network_input(architecture: Architecture, x: NDArray[np.uint8]) -> Tensor:
    """A data set's samples as a tensor that the network takes."""
    tensor = torch.tensor(samples_of(x, architecture.input))
    return tensor.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predict(network: BinaryNetwork, x: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Classes int64 (N,) of samples (N, C, H, W) in eval mode."""
    network.eval()
    samples = network_input(network.architecture, x)
    batches = _batches(torch.arange(len(samples)), _FORWARD_SAMPLES)
    # numpy's argmax takes the first of equals, as every other stage does.
    scores = [network(samples[picked]).numpy() for picked in batches]
    best: NDArray[np.int64] = np.argmax(np.concatenate(scores), axis=1)
    return best


def _batches(order: Tensor, batch_samples: int) -> Iterator[Tensor]:
    for start in range(0, len(order), batch_samples):
        yield order[start : start + batch_samples]


@torch.no_grad()
def _reestimate_norms(network: BinaryNetwork, x: Tensor, shuffle: torch.Generator) -> None:
    """Take BatchNorm's statistics anew, over clean training samples and the final weights.

    The running averages of training lag behind weights whose signs still flip.
    """
    batch_samples = min(_FORWARD_SAMPLES, len(x))
    batches = min(_REESTIMATION_SAMPLES, len(x)) // batch_samples
    picked = torch.randperm(len(x), generator=shuffle)[: batches * batch_samples]
    network.train()
    for count, batch in enumerate(_batches(picked, batch_samples)):
        for norm in network.norms():
            norm.momentum = 1 / (count + 1)  # a plain average over the batches
        network(x[batch])
