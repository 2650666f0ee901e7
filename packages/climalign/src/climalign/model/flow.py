"""The parts that flows are built of, on nflows 0.14: the one module that knows of it.

nflows gives the interface (a transform maps to its output and the logarithm of its Jacobian's determinant),
the squeeze, and the cache of a linear transform. What it lacks is here: a normalisation of activations that
survives constant channels, and an invertible 1x1 convolution that starts as a random rotation, is composed
into one matrix, and never solves a triangular system while it trains.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from nflows.transforms.base import Transform
from nflows.transforms.linear import Linear
from nflows.transforms.normalization import ActNorm as _ActNorm
from nflows.transforms.reshape import SqueezeTransform as _SqueezeTransform
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ActNorm", "MixingConvolution", "Squeeze", "Transform"]

# A channel that varies less than this says nothing of its scale: it keeps its own.
_CONSTANT = 1e-6

Images = Float[Tensor, "batch channel lat lon"]
Mapped = tuple[Images, Float[Tensor, " batch"]]


class Squeeze(_SqueezeTransform):
    """Turn blocks of 2x2 cells into four channels; sizes must be even (Dinh et al. 2017, section 3.6)."""

    def __init__(self) -> None:
        super().__init__(2)


class ActNorm(_ActNorm):
    r"""Scale and shift each channel, :math:`y = e^{a} x + b`, from the first batch on (Glow, section 3.1).

    The first batch seen in training comes out with mean 0 and variance 1. A channel that is constant in it
    is only shifted: its scale stays 1, where a division by its spread would be infinite.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)
        # The buffer is asked once: to look at it in each step would wait for the device.
        self._is_settled = False

    def _initialize(self, inputs: Images) -> None:
        with torch.no_grad():
            mean = inputs.mean((0, 2, 3))
            std = inputs.std((0, 2, 3))
            scale = torch.where(std > _CONSTANT * (1 + mean.abs()), 1 / std, 1.0)
            self.log_scale.copy_(scale.log())
            self.shift.copy_(-mean * scale)
            self.initialized.fill_(value=True)

    def initialise(self, inputs: Images) -> None:
        """Take scale and shift from these inputs, unless they were taken before or are not being trained."""
        if self.needs_first_batch:
            self._initialize(inputs.detach())

    @property
    def needs_first_batch(self) -> bool:
        """Whether the next batch in training sets scale and shift."""
        if not self._is_settled:
            self._is_settled = bool(self.initialized)
        return self.training and not self._is_settled


class MixingConvolution(Linear):
    r"""Normalise activations and mix channels: an `ActNorm` and an invertible 1x1 convolution in one.

    .. math:: y = P L (U + \operatorname{diag}(s e^{d})) (e^{a} x + b), \qquad
              \log|\det| = h w \sum (a + d)

    for ``h x w`` cells (Kingma and Dhariwal 2018, eqs. 10 and 11): :math:`P` a fixed permutation, :math:`L`
    unit lower and :math:`U` strictly upper triangular, signs :math:`s` fixed; it begins as a random rotation
    (the Haar measure). Both steps are one convolution, so that one tensor is read and one is written. With
    ``use_cache()`` the matrix and its inverse are computed once until training goes on.

    Parameters
    ----------
    channels : int
    generator : torch.Generator, optional
        Of the rotation.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__(channels)
        del self.bias  # the normalisation has a shift
        rotation, upper = torch.linalg.qr(torch.randn(channels, channels, generator=generator))
        permutation, lower, upper = torch.linalg.lu(rotation * upper.diagonal().sign())
        self.normalise = ActNorm(channels)
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_diagonal = nn.Parameter(upper.diagonal().abs().log())
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", upper.diagonal().sign())

    def rotation(self) -> Float[Tensor, "channel channel"]:
        """Give the matrix of the 1x1 convolution alone."""
        identity = torch.eye(self.features, dtype=self.lower.dtype, device=self.lower.device)
        upper = self.upper.triu(1) + torch.diag(self.sign * self.log_diagonal.exp())
        return self.permutation @ (self.lower.tril(-1) + identity) @ upper

    def weight(self) -> Float[Tensor, "channel channel"]:
        """Give the matrix of both steps together."""
        return self.rotation() * self.normalise.scale

    def weight_inverse(self) -> Float[Tensor, "channel channel"]:
        """Give its inverse."""
        return torch.linalg.inv(self.weight())

    def logabsdet(self) -> Float[Tensor, ""]:
        """Give the logarithm of the determinant for one cell."""
        return (self.normalise.log_scale + self.log_diagonal).sum()

    def forward(self, inputs: Images, context: Any = None) -> Mapped:  # noqa: ARG002 (of the interface)
        """Normalise and mix."""
        self.normalise.initialise(inputs)
        weight, constant, logabsdet = self._forward_terms()
        outputs = F.conv2d(inputs, weight[:, :, None, None], constant)
        return outputs, _for_each(logabsdet, outputs)

    def inverse(self, inputs: Images, context: Any = None) -> Mapped:  # noqa: ARG002 (of the interface)
        """Undo it."""
        weight, constant, logabsdet = self._inverse_terms()
        outputs = F.conv2d(inputs, weight[:, :, None, None], constant)
        return outputs, -_for_each(logabsdet, outputs)

    def _forward_terms(self) -> tuple[Tensor, Tensor, Tensor]:
        if self._caches():
            self._check_forward_cache()
            rotated = self.cache.weight @ (self.normalise.shift / self.normalise.scale)
            return self.cache.weight, rotated, self.cache.logabsdet
        rotation = self.rotation()
        return rotation * self.normalise.scale, rotation @ self.normalise.shift, self.logabsdet()

    def _inverse_terms(self) -> tuple[Tensor, Tensor, Tensor]:
        # x = W^-1 y - e^-a b, which needs no product with the inverse for its constant.
        constant = -self.normalise.shift / self.normalise.scale
        if self._caches():
            self._check_inverse_cache()
            return self.cache.inverse, constant, self.cache.logabsdet
        return self.weight_inverse(), constant, self.logabsdet()

    def _caches(self) -> bool:
        return self.using_cache and not self.training and not torch.is_grad_enabled()


def use_caches(module: nn.Module, *, mode: bool = True) -> None:
    """Let every linear transform keep its matrix and inverse while it is in evaluation mode."""
    for part in module.modules():
        if isinstance(part, Linear):
            part.cache.invalidate()
            part.use_cache(mode)


def _for_each(logabsdet: Tensor, images: Images) -> Float[Tensor, " batch"]:
    """Repeat a cell's logarithm for all cells, once for each image."""
    batch, _, rows, columns = images.shape
    return (logabsdet * (rows * columns)).expand(batch)
