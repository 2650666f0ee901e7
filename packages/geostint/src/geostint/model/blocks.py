"""What the network is made of: convolutions that know the globe, squeeze-and-excitation, time."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# From features to their mean over the field, shape (batch, channel).
Squeeze = Callable[[Tensor], Tensor]


def field_mean(features: Tensor) -> Tensor:
    """Return the mean over the field, shape (batch, channel)."""
    return features.mean((-2, -1))


def pad_field(fields: Tensor, *, periodic: bool) -> Tensor:
    """Add a ring of cells: the other end of longitude where it is periodic, else the nearest cell.

    Parameters
    ----------
    fields : Tensor, shape (batch, channel, lat, lon)
    periodic : bool
        Whether the columns go around the globe.
    """
    wide = F.pad(fields, (1, 1, 0, 0), mode="circular" if periodic else "replicate")
    return F.pad(wide, (0, 0, 1, 1), mode="replicate")


class Convolution(nn.Conv2d):
    """A 3x3 convolution that keeps the size of the field."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3)

    def forward(self, fields: Tensor, *, periodic: bool) -> Tensor:  # type: ignore[override]
        """Convolve a field with a ring of cells around it."""
        return super().forward(pad_field(fields, periodic=periodic))


class CellNorm(nn.Module):
    r"""Scale each cell's features to a mean square of 1 over channels, times a learned weight.

    Nothing is pooled over the field, so that squeeze-and-excitation is the only part of the network that sees
    all of it: what makes tiles possible that agree with the whole.

    Parameters
    ----------
    channels : int
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (batch, channel, lat, lon)."""
        size = features.square().mean(1, keepdim=True)
        return features * torch.rsqrt(size + 1e-6) * self.weight


class SqueezeExcitation(nn.Module):
    r"""Weigh channels by what the whole field holds (Hu et al. 2018, eq. 2-4).

    .. math:: y_c = x_c\, \sigma(W_2\, \mathrm{relu}(W_1 \bar x))_c

    Parameters
    ----------
    channels, reduction : int
        The hidden width is their ratio, at least 4.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, 4)
        self.narrow, self.widen = nn.Linear(channels, hidden), nn.Linear(hidden, channels)

    def forward(self, features: Tensor, squeezed: Tensor) -> Tensor:
        """Weigh features by their means over the field, shape (batch, channel)."""
        gates = torch.sigmoid(self.widen(F.relu(self.narrow(squeezed))))
        return features * gates[:, :, None, None]


class Block(nn.Module):
    """A stage: two convolutions and squeeze-and-excitation, added to what came in.

    Parameters
    ----------
    inputs, outputs, reduction : int
    clock : int
        Width of the embedded time that shifts and scales the features (FiLM, Perez et al. 2018); 0 for none.
    """

    def __init__(self, inputs: int, outputs: int, reduction: int, clock: int) -> None:
        super().__init__()
        self.norm = CellNorm(inputs)
        self.first, self.second = Convolution(inputs, outputs), Convolution(outputs, outputs)
        self.excitation = SqueezeExcitation(outputs, reduction)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.film = nn.Linear(clock, 2 * outputs) if clock else None
        if self.film is not None:
            nn.init.zeros_(self.film.weight)
            nn.init.zeros_(self.film.bias)

    def forward(self, features: Tensor, time: Tensor | None, squeeze: Squeeze, *, periodic: bool) -> Tensor:
        """Transform (batch, inputs, lat, lon) into (batch, outputs, lat, lon)."""
        inner = F.gelu(self.first(F.gelu(self.norm(features)), periodic=periodic))
        if self.film is not None and time is not None:
            scale, shift = self.film(time)[:, :, None, None].chunk(2, dim=1)
            inner = inner * (1 + scale) + shift
        inner = self.second(inner, periodic=periodic)
        return self.skip(features) + self.excitation(inner, squeeze(inner))


class Clock(nn.Module):
    """Embed the time between two frames, 0 to 1.

    Parameters
    ----------
    width : int
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(6, width), nn.GELU())

    def forward(self, fraction: Tensor) -> Tensor:
        """Embed fractions, shape (batch,), as (batch, width)."""
        angles = [math.pi * fraction, 2 * math.pi * fraction]
        waves = [wave for angle in angles for wave in (angle.sin(), angle.cos())]
        return self.embed(torch.stack([fraction, fraction.square(), *waves], dim=1))
