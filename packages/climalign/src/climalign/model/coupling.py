"""The coupling: half of the channels move by what a network sees in the other half."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from climalign.model.flow import ActNorm, Images, Mapped, Transform

_LEAST_SCALE = 0.1
# The sigmoid of this is 0.9: with the least scale an untrained coupling then multiplies by 1.
_START = math.log(9)


class NormalisedConvolution(nn.Conv2d):
    r"""A 3x3 convolution whose output is normalised from the first batch on: :math:`e^{a} (w * x) + b`.

    Scale and shift go into kernel and bias, so that the normalisation costs no pass over the activations.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=False)
        self.normalise = ActNorm(outputs)

    def forward(self, input: Images) -> Images:  # noqa: A002 (torch's name)
        """Convolve and normalise."""
        if self.normalise.needs_first_batch:
            with torch.no_grad():
                self.normalise.initialise(F.conv2d(input, self.weight, padding=1))
        kernel = self.weight * self.normalise.scale[:, None, None, None]
        return F.conv2d(input, kernel, self.normalise.shift, padding=1)


class CouplingNetwork(nn.Module):
    """Shift and scale from the fixed half: a convolution, a residual block, a convolution that starts at 0.

    Parameters
    ----------
    channels : int
        Of the fixed half.
    moved : int
        Of the half that moves.
    filters : int
        Of the hidden layers.
    """

    def __init__(self, channels: int, moved: int, filters: int) -> None:
        super().__init__()
        self.enter = NormalisedConvolution(channels, filters)
        self.block = nn.ModuleList(NormalisedConvolution(filters, filters) for _ in range(2))
        self.leave = nn.Conv2d(filters, 2 * moved, 3, padding=1)
        for weight in self.leave.parameters():
            nn.init.zeros_(weight)
        self.log_stretch = nn.Parameter(torch.zeros(moved))
        # Where convolutions are memory-bound, on a CPU, this layout of the kernels is up to twice as quick.
        self.to(memory_format=torch.channels_last)

    def forward(self, fixed: Images) -> tuple[Images, Images]:
        r"""Return the shift and :math:`\sigma(e^{c} u + \sigma^{-1}(0.9)) + 0.1`: at first 0 and 1."""
        hidden = F.relu(self.enter(fixed), inplace=True)
        inner = self.block[1](F.relu(self.block[0](hidden), inplace=True))
        shift, stretch = self.leave(F.relu(hidden + inner, inplace=True)).chunk(2, 1)
        stretch = stretch * self.log_stretch.exp()[:, None, None] + _START
        return shift, torch.sigmoid(stretch) + _LEAST_SCALE


class Coupling(Transform):
    r"""Affine coupling: :math:`(x_1, x_2) \mapsto (x_1, (x_2 + t(x_1)) \, s(x_1))`, with s in (0.1, 1.1).

    As published (ClimAlign), but for an offset by which an untrained network leaves its input alone.

    Parameters
    ----------
    channels : int
        Even.
    filters : int
        Of the network's hidden layers.
    """

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.fixed = channels // 2
        self.network = CouplingNetwork(self.fixed, channels - self.fixed, filters)

    def forward(self, inputs: Images, context: Any = None) -> Mapped:  # noqa: ARG002 (of the interface)
        """Move the second half."""
        fixed, moved = inputs[:, : self.fixed], inputs[:, self.fixed :]
        outputs, logabsdet = move(moved, *self.network(fixed), invert=False)
        return torch.cat((fixed, outputs), 1), logabsdet

    def inverse(self, inputs: Images, context: Any = None) -> Mapped:  # noqa: ARG002 (of the interface)
        """Move it back."""
        fixed, moved = inputs[:, : self.fixed], inputs[:, self.fixed :]
        outputs, logabsdet = move(moved, *self.network(fixed), invert=True)
        return torch.cat((fixed, outputs), 1), logabsdet


def move(
    values: Images, shift: Images, scale: Images, *, invert: bool
) -> tuple[Images, Float[Tensor, " batch"]]:
    """Shift and scale, or undo it, with the logarithm of the determinant."""
    logabsdet = scale.log().sum((1, 2, 3))
    if invert:
        return values / scale - shift, -logabsdet
    return (values + shift) * scale, logabsdet
