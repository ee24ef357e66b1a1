"""The float network whose scores a binarized one learns to imitate (distillation)."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ebnn.architecture import Architecture

CHANNELS = (16, 32, 64)
LEARNING_RATE = 4e-3


class Teacher(nn.Module):
    """Three times Conv -> BatchNorm -> ReLU -> MaxPool, then Linear.

    Takes the data's bytes (N, *input.sample_shape), whatever networks of `architecture` see of
    them; gives scores (N, classes). It never leaves the machine it was trained on, so its size
    matters little.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        channels, height, width = architecture.input.sample_shape
        stages: list[nn.Module] = []
        for made in CHANNELS:
            kernel = (min(3, height), min(3, width))
            pool = (min(2, height), min(2, width))
            padding = (kernel[0] // 2, kernel[1] // 2)
            stages += [
                nn.Conv2d(channels, made, kernel, padding=padding, bias=False),
                nn.MaxPool2d(pool),
                nn.BatchNorm2d(made),
                nn.ReLU(inplace=True),
            ]
            # An even kernel with padding gives one position more than it takes.
            height = (height + 2 * padding[0] - kernel[0] + 1) // pool[0]
            width = (width + 2 * padding[1] - kernel[1] + 1) // pool[1]
            channels = made
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(channels * height * width, architecture.classes)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.stages(x.float() / 255).flatten(1))
        return scores


def distillation_loss(scores: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Cross-entropy between both networks' softened classes (Hinton et al. 2015, section 2).

    Times the temperature's square, so that its gradients stay as large as the labels'.
    """
    student = F.log_softmax(scores / temperature, dim=1)
    teacher = F.log_softmax(taught / temperature, dim=1)
    divergence = F.kl_div(student, teacher, log_target=True, reduction="batchmean")
    return divergence * temperature**2
