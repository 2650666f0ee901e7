"""Random views of a batch on its device, every image with random numbers of its own.

torchvision's transforms draw once for a batch, so that all its images get one crop; image by image they are
an order of magnitude slower. Here crop, resize and flip are one sampling, all of colour is one matrix for
each image, and a blur is one matrix product for each side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from diffmix.config import ViewConfig

# Shares of red, green and blue in luminance (ITU-R BT.601).
_LUMINANCE = (0.299, 0.587, 0.114)
# To luminance and two axes of chroma (YIQ, FCC 1953): a turn in their plane is a change of hue.
_YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))
_SOLARISE_FROM = 0.5


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one view is made.

    Parameters
    ----------
    size : int
        Pixels of a side of the view.
    area : (float, float)
        Shares of the image that a crop keeps.
    ratio : float
        A crop's sides differ by a factor of up to this, as often wide as high.
    flip : float
        Probability.
    jitter : (float, float, float, float)
        How far brightness, contrast and saturation may go from 1, and hue from 0 (of a whole turn).
    jitter_probability, grey, blur, solarise : float
        Probabilities.
    blur_sigma : (float, float)
        In pixels of the view.
    """

    size: int
    area: tuple[float, float] = (1.0, 1.0)
    ratio: float = 1.0
    flip: float = 0.0
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    jitter_probability: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarise: float = 0.0


def make_recipe(
    config: ViewConfig, size: int, *, area: tuple[float, float] | None = None, second: bool = False
) -> Recipe:
    """Scale a config's augmentation by its strength.

    Parameters
    ----------
    config : ViewConfig
    size : int
    area : (float, float), optional
        Of DINO's crops; by default from the config's least area to all.
    second : bool
        The second view of the released recipe is solarised and the first is blurred.
    """
    s = config.strength
    low, high = area or (config.least_area, 1.0)
    released = config.recipe == "released"
    blur = (0.0 if second else 1.0) if released else config.blur_probability
    solarise = (0.2 if second else 0.0) if released else config.solarise_probability
    return Recipe(
        size=size, area=(1 - s * (1 - low), 1 - s * (1 - high)), ratio=(4 / 3) ** s,
        flip=0.5 * s if config.flip else 0.0, jitter=tuple(s * reach for reach in config.jitter),  # type: ignore[arg-type] # four stay four
        jitter_probability=config.jitter_probability, grey=s * config.grey_probability, blur=s * blur,
        blur_sigma=config.blur_sigma, solarise=s * solarise,
    )  # fmt: skip


@torch.no_grad()
def augment(
    images: Tensor, recipe: Recipe, *, crops: Tensor | None = None, colours: Tensor | None = None
) -> Tensor:
    """Make a random view of each image.

    Parameters
    ----------
    images : Tensor of uint8, or of float from 0 to 1, shape (batch, channel, row, column)
        With one channel or three.
    recipe : Recipe
    crops, colours : Tensor of bool, shape (batch,), optional
        Which images are cropped and flipped, and which have their colours changed; all by default.

    Returns
    -------
    Tensor of float32, shape (batch, channel, size, size), from 0 to 1
    """
    floats = images.float() / 255 if images.dtype == torch.uint8 else images
    everyone = torch.ones(len(images), dtype=torch.bool, device=images.device)
    views = crop(floats, recipe, everyone if crops is None else crops)
    mask = everyone if colours is None else colours
    views = change_colours(views, recipe, mask)
    if recipe.blur:
        chosen = mask & (_draw(views) < recipe.blur)
        low, high = recipe.blur_sigma
        views[chosen] = blur(views[chosen], low + (high - low) * _draw(views)[chosen])
    if recipe.solarise:
        chosen = (mask & (_draw(views) < recipe.solarise)).view(-1, 1, 1, 1)
        views = torch.where(chosen & (views >= _SOLARISE_FROM), 1 - views, views)
    return views


def crop(images: Tensor, recipe: Recipe, mask: Tensor) -> Tensor:
    """Cut out random rectangles, resize them to squares, and mirror some; one bilinear sampling.

    Area and ratio are drawn as in the usual random resized crop; a side that would be longer than the image's
    is cut to it. Images where `mask` is false are resized whole.
    """
    count = len(images)
    area = recipe.area[0] + (recipe.area[1] - recipe.area[0]) * _draw(images)
    ratio = torch.exp(math.log(recipe.ratio) * (2 * _draw(images) - 1))
    # In units of the image: a whole side is 1.
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    width, height = (torch.where(mask, side, torch.ones_like(side)) for side in (width, height))
    x, y = ((2 * _draw(images) - 1) * (1 - side) for side in (width, height))
    mirror = torch.where(mask & (_draw(images) < recipe.flip), -1.0, 1.0)
    zero = torch.zeros_like(width)
    affine = torch.stack([mirror * width, zero, x, zero, height, y], dim=1).view(count, 2, 3)
    shape = [count, images.shape[1], recipe.size, recipe.size]
    if recipe.area[0] == 1 and not recipe.flip and tuple(images.shape[2:]) == tuple(shape[2:]):
        return images.clone()
    grid = functional.affine_grid(affine, shape, align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def change_colours(images: Tensor, recipe: Recipe, mask: Tensor) -> Tensor:
    r"""Change brightness, contrast, saturation and hue, and take some colour away: one matrix an image.

    Each step is linear in a pixel's colours and in the image's mean luminance m, so that all of them are

    .. math:: y = A x + b, \qquad A = G\, H\, S\, c\, \beta, \qquad b = (1 - c)\, m

    with brightness :math:`\beta`, contrast c about the mean luminance of the brightened image, saturation S
    about the pixel's own luminance, a turn H of hue in the plane of chroma, and luminance alone G where an
    image turns grey. Values are cut to [0, 1] once, at the end.
    """
    channels = images.shape[1]
    if not any(recipe.jitter) and not recipe.grey:
        return images
    jittered = mask & (_draw(images) < recipe.jitter_probability)
    reach = (torch.where(jittered, r * (2 * _draw(images) - 1), torch.zeros(())) for r in recipe.jitter)
    brightness, contrast, saturation, hue = reach
    matrix = (1 + brightness).view(-1, 1, 1) * torch.eye(channels, device=images.device)
    luminance = _luminance(images)
    mean = (luminance @ images.mean((2, 3)).unsqueeze(-1)).squeeze(-1) * (1 + brightness).view(-1, 1)
    shift = -contrast.view(-1, 1) * mean  # of every channel: (1 - c) m with c = 1 + contrast
    matrix = (1 + contrast).view(-1, 1, 1) * matrix
    if channels == 3:
        grey = luminance.expand(3, 3)
        eye = torch.eye(3, device=images.device)
        saturate = grey + (1 + saturation).view(-1, 1, 1) * (eye - grey)
        turned = mask & (_draw(images) < recipe.grey)
        fade = torch.where(turned.view(-1, 1, 1), grey, eye)
        matrix = fade @ _turn_hue(hue) @ saturate @ matrix
    flat = (
        torch.baddbmm(shift.unsqueeze(-1), matrix, images.flatten(2))
        if channels == 3
        else (matrix * images.flatten(2) + shift.unsqueeze(-1))
    )
    return flat.clamp_(0, 1).view_as(images)


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image by a Gaussian of its own width, edges reflected.

    Rows and columns are each multiplied by one matrix, which holds the whole kernel: no width is cut off.

    Parameters
    ----------
    images : Tensor, shape (batch, channel, row, column)
    sigma : Tensor, shape (batch,)
        In pixels.
    """
    rows, columns = (_blur_matrix(length, sigma).unsqueeze(1) for length in images.shape[2:])
    return rows @ images @ columns.mT


def _blur_matrix(length: int, sigma: Tensor) -> Tensor:
    """Return weights of every pixel for every other, shape (batch, length, length)."""
    place = torch.arange(length, device=sigma.device, dtype=sigma.dtype)
    scale = 1 / (2 * sigma.square().view(-1, 1, 1).clamp(min=1e-8))
    total = torch.zeros(len(sigma), length, length, device=sigma.device, dtype=sigma.dtype)
    # The image, and its mirror images beyond both edges.
    for there in (place, -1 - place, 2 * length - 1 - place):
        total += torch.exp(-scale * (place.view(-1, 1) - there).square())
    return total / total.sum(-1, keepdim=True)


def _turn_hue(turns: Tensor) -> Tensor:
    """Return the colour matrices of turns about the grey axis, shape (batch, 3, 3)."""
    to_yiq = torch.tensor(_YIQ, device=turns.device, dtype=turns.dtype)
    cos, sin = torch.cos(2 * math.pi * turns), torch.sin(2 * math.pi * turns)
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    turn = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).view(-1, 3, 3)
    return torch.linalg.inv(to_yiq) @ turn @ to_yiq


def _luminance(images: Tensor) -> Tensor:
    shares = _LUMINANCE if images.shape[1] == 3 else (1.0,)
    return torch.tensor(shares, device=images.device, dtype=images.dtype).view(1, -1)


def _draw(images: Tensor) -> Tensor:
    """Draw a number from 0 to 1 for each image."""
    return torch.rand(len(images), device=images.device, dtype=torch.float32)
