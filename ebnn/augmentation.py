"""Images turned, scaled and moved at random, on the fly."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ebnn.training_settings import TrainingSettings


def augment(images: Tensor, settings: TrainingSettings, random: torch.Generator) -> Tensor:
    """Each of uint8 `images` (N, C, H, W) changed in its own way; float32 integers 0..255.

    Between pixels the value is interpolated, outside the image it is the nearest edge's.
    `random` is a generator of the CPU, so that every device draws the same numbers.
    """
    count, _, height, width = images.shape
    low_to_high = 2 * torch.rand(4, count, generator=random) - 1
    angle = low_to_high[0] * math.radians(settings.rotation_degrees)
    scale = 1 / (1 + low_to_high[1] * settings.scale_percent / 100)
    right, down = low_to_high[2:] * settings.shift_pixels
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    # Where each output pixel comes from, in units of half the width and half the height.
    rows = (
        torch.stack((cos, -sin * height / width, -2 * right / width), dim=1),
        torch.stack((sin * width / height, cos, -2 * down / height), dim=1),
    )
    theta = torch.stack(rows, dim=1).to(images.device)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    changed = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return changed.round_()
