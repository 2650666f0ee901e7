"""Random views of images, a batch at a time, each image with random numbers of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def crop_and_flip(images: Tensor, *, least_area: float = 0.08, flip: bool = True) -> Tensor:
    """Cut out random rectangles, resize them to the image's size, and mirror half of them.

    A rectangle has between `least_area` and all of the image's area and sides of ratio 3:4 to 4:3, as in
    the usual random resized crop; here one bilinear sampling does crop, resize and flip of the whole batch.

    Parameters
    ----------
    images : Tensor of float, shape (batch, channel, row, column)
    least_area : float
    flip : bool
        Mirror left and right, which not everything survives: a digit does not.

    Returns
    -------
    Tensor, of the same shape
    """
    count, device = len(images), images.device
    area = torch.empty(count, device=device).uniform_(least_area, 1.0)
    ratio = torch.empty(count, device=device).uniform_(math.log(3 / 4), math.log(4 / 3)).exp()
    # In units of the image: a whole side is 1, and a rectangle does not reach beyond.
    width, height = (area * ratio).sqrt().clamp(max=1.0), (area / ratio).sqrt().clamp(max=1.0)
    x, y = ((2 * torch.rand(count, device=device) - 1) * (1 - side) for side in (width, height))
    mirror = torch.ones_like(width)
    if flip:
        mirror -= 2.0 * (torch.rand(count, device=device) < 0.5)
    zero = torch.zeros_like(width)
    affine = torch.stack([mirror * width, zero, x, zero, height, y], dim=1).view(-1, 2, 3).to(images.dtype)
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def vary_brightness(images: Tensor, strength: float = 0.4) -> Tensor:
    """Scale contrast and shift brightness of each image, of values from 0 to 1."""
    shape = (len(images), 1, 1, 1)
    contrast = 1 + strength * (2 * torch.rand(shape, device=images.device) - 1)
    shift = strength * (torch.rand(shape, device=images.device) - 0.5)
    mean = images.mean((1, 2, 3), keepdim=True)
    return ((images - mean) * contrast + mean + shift).clamp(0, 1)
