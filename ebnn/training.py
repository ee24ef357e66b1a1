"""Train a network: Adam, cosine decay, latent weights clipped, BatchNorm re-estimated at the end.

What else a recipe can ask for (images changed at random, a teacher) is in
`ebnn.training_settings`. Same data, settings and number of threads on the same kind of machine:
same weights, bit for bit, whether or not training was interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from ebnn.architecture import Architecture, InputSpec
from ebnn.augmentation import augment
from ebnn.data import Dataset
from ebnn.inputs import samples_of
from ebnn.layers import clip_latent_weights
from ebnn.network import BinaryNetwork, build
from ebnn.sim.errors import UserError
from ebnn.teacher import LEARNING_RATE, Teacher, distillation_loss
from ebnn.torch_runtime import check_device, deterministic, keep_freed_memory
from ebnn.training_settings import TrainingSettings

_REESTIMATION_SAMPLES = 20_000  # plenty for a mean and a variance a channel
_FORWARD_SAMPLES = 250  # a batch without gradients: its maps stay in blocks that malloc keeps
_SEED_STEP = 1_000_003  # apart from each other, so that seed 1's epoch 0 is not seed 0's epoch 1


class Diverged(UserError):
    """The loss is no longer finite."""


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


@dataclass(eq=False)
class Fit:
    """A network in the middle of its training; between two epochs it can be kept and restored."""

    network: nn.Module
    optimizer: torch.optim.Adam
    epochs_done: int = 0


@dataclass(frozen=True, eq=False)
class Samples:
    """Training samples uint8 (N, C, H, W) and labels int64 (N,), on the device."""

    x: Tensor
    labels: Tensor


def nothing(*_: object) -> None:
    """What is called after a step or an epoch where nobody listens."""


def train(
    architecture: Architecture,
    dataset: Dataset,
    settings: TrainingSettings,
    on_progress: Callable[[TrainingProgress], None] = nothing,
    teacher: Teacher | None = None,
    restore: Callable[[Fit], None] = nothing,
    on_epoch: Callable[[Fit], None] = nothing,
) -> BinaryNetwork:
    """Train a network on all of the training split; it comes back in eval mode, on the CPU.

    `dataset.held_out(settings.validation)` holds samples out before. `on_progress` is called after
    every step and `on_epoch` after every epoch; `restore` may put back, before the first, what an
    `on_epoch` kept. `teacher` is needed where the settings ask for distillation (`train_teacher`).
    Raises `UserError` where the data do not suit the architecture, `Diverged` where the loss is no
    longer finite.
    """
    _check(architecture, dataset, settings)
    if settings.distillation > 0 and teacher is None:
        raise ValueError("distillation needs a teacher")
    keep_freed_memory()
    with deterministic(settings):
        network = build(architecture).to(settings.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        fit = _start(network, settings)
        restore(fit)
        samples = _on_device(dataset, settings)
        taught = teacher if settings.distillation > 0 else None
        spec = architecture.input
        _run(fit, spec, samples, settings, taught, on_progress, on_epoch)
        _reestimate_norms(network, samples.x, _generator(settings, settings.epochs))
        return network.cpu().eval()


def train_teacher(
    architecture: Architecture,
    dataset: Dataset,
    settings: TrainingSettings,
    on_progress: Callable[[TrainingProgress], None] = nothing,
    on_epoch: Callable[[Fit], None] = nothing,
) -> Teacher:
    """The float teacher of networks of `architecture`, in eval mode on the settings' device.

    It takes `teacher_epochs`, its own learning rate, and the settings' changed images.
    """
    _check(architecture, dataset, settings)
    keep_freed_memory()
    with deterministic(settings):
        teacher = Teacher(architecture).to(settings.device)
        teacher.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        own = replace(
            settings,
            epochs=settings.teacher_epochs,
            learning_rate=LEARNING_RATE,
            distillation=0.0,
        )
        samples = _on_device(dataset, settings)
        _run(_start(teacher, own), None, samples, own, None, on_progress, on_epoch)
        return teacher.eval()


def _check(architecture: Architecture, dataset: Dataset, settings: TrainingSettings) -> None:
    check_suits(architecture, dataset)
    check_device(settings.device)
    if min(settings.batch_samples, len(dataset.x_train)) < 2:
        raise UserError(
            f"training: batches of {settings.batch_samples} from {len(dataset.x_train)} samples;"
            " BatchNorm needs at least 2 samples a batch"
        )
    if settings.augments and min(dataset.shape[1:]) < 2:
        raise UserError(
            f"{dataset.name}: samples of {dataset.shape[1]}x{dataset.shape[2]} are no images to"
            " turn, scale and move; set these three to 0"
        )


def _start(network: nn.Module, settings: TrainingSettings) -> Fit:
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=True)
    return Fit(network, optimizer)


def _on_device(dataset: Dataset, settings: TrainingSettings) -> Samples:
    x = torch.from_numpy(np.ascontiguousarray(dataset.x_train)).to(settings.device)
    return Samples(
        x.contiguous(memory_format=torch.channels_last),
        torch.from_numpy(dataset.y_train).to(settings.device),
    )


def _generator(settings: TrainingSettings, epoch: int) -> torch.Generator:
    """The random numbers of an epoch, which do not depend on what went before it."""
    seed = (settings.seed * _SEED_STEP + epoch) % 2**63
    return torch.Generator().manual_seed(seed)


def _run(
    fit: Fit,
    spec: InputSpec | None,
    samples: Samples,
    settings: TrainingSettings,
    teacher: Teacher | None,
    on_progress: Callable[[TrainingProgress], None],
    on_epoch: Callable[[Fit], None],
) -> None:
    """All epochs that `fit` has not behind it, of samples as `spec` has them, or else of bytes."""
    x, labels = samples.x, samples.labels
    taught: Tensor | None = None
    # Samples that do not fill the last batch sit out an epoch, another few each time: BatchNorm
    # over a handful of samples, or a single one, would teach little and cannot be computed.
    batch_samples = min(settings.batch_samples, len(x))
    steps = len(x) // batch_samples
    for epoch in range(fit.epochs_done, settings.epochs):
        random = _generator(settings, epoch)
        order = torch.randperm(len(x), generator=random)
        augmented = epoch < settings.augmented_epochs
        if teacher is not None and not augmented and taught is None:
            taught = _scores(teacher, x)  # of images that no longer change
        total, right = 0.0, 0
        fit.network.train()
        for step, picked in enumerate(_batches(order[: steps * batch_samples], batch_samples)):
            done = (epoch * steps + step) / (settings.epochs * steps)
            for group in fit.optimizer.param_groups:
                group["lr"] = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
            picked = picked.to(x.device)
            images = augment(x[picked], settings, random) if augmented else x[picked]
            batch, wanted = _as_samples(images, spec) if spec else images, labels[picked]
            fit.optimizer.zero_grad(set_to_none=True)
            scores = fit.network(batch)
            loss = F.cross_entropy(scores, wanted)
            if teacher is not None:
                with torch.no_grad():
                    told = teacher(images) if taught is None else taught[picked]
                learned = distillation_loss(scores, told, settings.temperature)
                loss = (1 - settings.distillation) * loss + settings.distillation * learned
            loss.backward()  # type: ignore[no-untyped-call]
            fit.optimizer.step()
            clip_latent_weights(fit.network)
            total += loss.item()
            right += int((scores.detach().argmax(1) == wanted).sum())
            if not math.isfinite(total):
                raise Diverged(
                    f"training: the loss is {total} in epoch {epoch + 1}; lower --lr"
                    f" (it is {settings.learning_rate})"
                )
            accuracy = right / ((step + 1) * batch_samples)
            on_progress(TrainingProgress(epoch, step + 1, steps, total / (step + 1), accuracy))
        fit.epochs_done = epoch + 1
        on_epoch(fit)


def check_suits(architecture: Architecture, dataset: Dataset) -> None:
    """Raise `UserError` where the samples or classes of `dataset` are not the architecture's."""
    if dataset.shape != architecture.input.sample_shape:
        raise UserError(
            f"{dataset.name}: samples are {dataset.shape}, but the architecture takes"
            f" {architecture.input.sample_shape} (channels, height, width)"
        )
    if dataset.classes > architecture.classes:
        raise UserError(
            f"{dataset.name} has {dataset.classes} classes, but the architecture ends in"
            f" fc-{architecture.classes}: end it in fc-{dataset.classes}"
        )


def _as_samples(images: Tensor, spec: InputSpec) -> Tensor:
    """Bytes 0..255, uint8 or float32, as `ebnn.inputs.samples_of` gives them to a network."""
    if spec.thresholds != (128,):
        planes = torch.cat([images >= threshold for threshold in spec.thresholds], dim=1)
        return planes.to(torch.uint8) * 255
    return images.float() / 255 if spec.kind == "float" else images


@torch.no_grad()
def predict(network: BinaryNetwork, x: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Classes int64 (N,) of samples (N, C, H, W) in eval mode, in which it leaves the network."""
    network.eval()
    device = next(network.parameters()).device
    samples = torch.tensor(samples_of(x, network.architecture.input), device=device)
    samples = samples.contiguous(memory_format=torch.channels_last)
    batches = _batches(torch.arange(len(samples)), _FORWARD_SAMPLES)
    # numpy's argmax takes the first of equals, as every other stage does.
    scores = [network(samples[picked]).cpu().numpy() for picked in batches]
    best: NDArray[np.int64] = np.argmax(np.concatenate(scores), axis=1)
    return best


@torch.no_grad()
def _scores(teacher: Teacher, x: Tensor) -> Tensor:
    """The teacher's scores of all samples, float32 (N, classes)."""
    batches = _batches(torch.arange(len(x), device=x.device), _FORWARD_SAMPLES)
    return torch.cat([teacher(x[picked]) for picked in batches])


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
    for count, batch in enumerate(_batches(picked.to(x.device), batch_samples)):
        for norm in network.norms():
            norm.momentum = 1 / (count + 1)  # a plain average over the batches
        network(_as_samples(x[batch], network.architecture.input))
