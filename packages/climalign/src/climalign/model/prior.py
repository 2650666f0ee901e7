"""The learned prior of what a level splits off: which nflows has not."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from climalign.model.flow import ActNorm, Images


class SplitPrior(nn.Module):
    r"""Turn what is split off into standard-normal noise, given what goes on (Glow's learned split prior).

    .. math:: z = (e^{a} x_2 + b - \mu(x_1))\, e^{-\sigma(x_1)}, \qquad
              p(x_2 \mid x_1) = N\big(e^{a} x_2 + b;\; \mu(x_1), e^{2 \sigma(x_1)}\big)\, e^{\sum a}

    One convolution gives :math:`\mu` and :math:`\sigma`; it starts at 0. Scale and shift, a and b, are those
    of the first batch, so that the latent has variance 1 before anything is learned: noise of a given
    temperature then means the same at any time of training.

    Parameters
    ----------
    channels : int
        Of the half that goes on.
    split : int
        Of the half that is split off.
    """

    def __init__(self, channels: int, split: int) -> None:
        super().__init__()
        self.normalise = ActNorm(split)
        self.predict = nn.Conv2d(channels, 2 * split, 3, padding=1)
        for weight in self.predict.parameters():
            nn.init.zeros_(weight)

    def forward(self, split: Images, kept: Images) -> tuple[Images, Float[Tensor, " batch"]]:
        """Standardise what is split off."""
        self.normalise.initialise(split)
        values, logabsdet = self.normalise(split)
        mean, log_scale = self.predict(kept).chunk(2, 1)
        return (values - mean) * torch.exp(-log_scale), logabsdet - log_scale.sum((1, 2, 3))

    def inverse(self, noise: Images, kept: Images) -> tuple[Images, Float[Tensor, " batch"]]:
        """Give back what was split off."""
        mean, log_scale = self.predict(kept).chunk(2, 1)
        split, logabsdet = self.normalise.inverse(noise * torch.exp(log_scale) + mean)
        return split, logabsdet + log_scale.sum((1, 2, 3))
