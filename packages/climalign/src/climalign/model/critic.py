"""Critics that tell generated fields from observed ones, patch by patch."""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn


class PatchCritic(nn.Module):
    """Three convolutions of stride 2 and a score for each patch (Isola et al. 2017), for WGAN-GP.

    Parameters
    ----------
    filters : int
        Of the first layer; they double twice.
    channels : int
        Of the fields.
    """

    def __init__(self, filters: int = 64, channels: int = 1) -> None:
        super().__init__()
        widths = (channels, filters, 2 * filters, 4 * filters)
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            layers.append(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1))
            if number:
                # One group is a mean and a spread of each field, which also a single cell has.
                layers.append(nn.GroupNorm(outputs, outputs) if number == 1 else nn.GroupNorm(1, outputs))
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, fields: Float[Tensor, "batch channel lat lon"]) -> Float[Tensor, " batch"]:
        """Score each field: the mean over its patches."""
        return self.layers(fields).mean((1, 2, 3))


def critic_loss(
    critic: PatchCritic,
    real: Float[Tensor, "batch channel lat lon"],
    fake: Float[Tensor, "batch channel lat lon"],
    *,
    penalty: float,
    mix: Float[Tensor, "batch 1 1 1"],
) -> Float[Tensor, ""]:
    r"""Give what a Wasserstein critic minimises (Gulrajani et al. 2017, eq. 3).

    .. math:: \langle D(\tilde x) \rangle - \langle D(x) \rangle
              + \lambda \langle (\| \nabla D(\hat x) \|_2 - 1)^2 \rangle

    Parameters
    ----------
    critic : PatchCritic
    real, fake : Tensor
        Gradients do not reach what made them.
    penalty : float
    mix : Tensor
        Where between the two the gradient is looked at, in [0, 1].
    """
    real, fake = real.detach(), fake.detach()
    between = torch.lerp(fake, real, mix).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    steep = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return critic(fake).mean() - critic(real).mean() + penalty * steep
