"""The pair of flows that share a latent, with the statistics of what they were trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from climalign.config import ModelConfig
from climalign.model.glow import Glow, standard_normal
from climalign.model.standard import Standardiser
from isopleth.errors import ConfigError
from isopleth.train import Pretrained


@dataclass(frozen=True, eq=False)
class Noise:
    """What is random in one batch: standard-normal fields, and numbers in [0, 1) for dry days.

    Attributes
    ----------
    coarse, fine : Tensor, shape (batch, 1, lat, lon)
        On the fine grid: added to the upsampled coarse field; put where values are missing.
    latent : Tensor, shape (batch, 1, lat, lon)
    uniform_coarse, uniform_fine : Tensor, shape (batch, lat, lon)
        On the field's own grid.
    """

    coarse: Tensor
    fine: Tensor
    latent: Tensor
    uniform_coarse: Tensor
    uniform_fine: Tensor

    @classmethod
    def draw(
        cls, batch: int, rows: int, columns: int, factor: int, generator: torch.Generator | None = None
    ) -> Noise:
        """Draw it for fields of so many fine cells, on the generator's device."""
        device = None if generator is None else generator.device
        normal = torch.randn(3, batch, 1, rows, columns, generator=generator, device=device)
        coarse, fine = (
            torch.rand(batch, rows // size, columns // size, generator=generator, device=device)
            for size in (factor, 1)
        )
        return cls(normal[0], normal[1], normal[2], coarse, fine)


@dataclass(frozen=True, eq=False)
class Filled:
    """Numbers for a flow, with noise where nothing is known.

    Attributes
    ----------
    values : Tensor, shape (batch, 1, lat, lon)
    valid : Tensor of bool, same shape
    log_fill : Tensor, shape (batch,)
        Log-density of the noise that was put in, nats.
    """

    values: Tensor
    valid: Tensor
    log_fill: Tensor

    def negative_log_likelihood(self, log_density: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        r"""Take the noise out again, and give nats for each known cell.

        With noise :math:`e \sim q` in the unknown cells,
        :math:`\langle \log p(x, e) - \log q(e) \rangle_q \le \log p(x)`: a bound on the likelihood of what is
        known (Huang et al. 2020, augmented flows), and equal to it where nothing is missing.
        """
        count = self.valid.sum((1, 2, 3)).clamp(min=1)
        return (self.log_fill - log_density) / count


class ClimAlign(nn.Module, Pretrained):
    r"""Two flows, of upsampled coarse fields X and of fine fields Y, with one latent between them.

    .. math:: p(x) = N(f_X(x)) |\det f_X'|, \quad p(y) = N(f_Y(y)) |\det f_Y'|, \qquad
              \hat y = f_Y^{-1}(f_X(x))

    (Groenke, Madaus and Monteleoni 2020; AlignFlow, Grover et al. 2020.) Both begin as copies of each other,
    so that an untrained pair gives back the upsampled field: interpolation with monthly means.

    Parameters
    ----------
    config : ModelConfig
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if not config.lat or not config.lon:
            raise ConfigError("a model must have cells, got no lat or lon")
        self.config = config
        factor = config.field.factor
        rows, columns = len(config.lat), len(config.lon)
        self.coarse = Glow(config.flow, seed=config.seed)
        self.fine = self.coarse.twin()
        self.coarse_scale = Standardiser(config.field, rows // factor, columns // factor)
        self.fine_scale = Standardiser(config.field, rows, columns)

    @property
    def multiple(self) -> int:
        """What rows and columns of fine cells must be multiples of."""
        return math.lcm(self.config.field.factor, self.coarse.multiple)

    def upsample(self, coarse: Float[Tensor, "batch 1 lat lon"]) -> Float[Tensor, "batch 1 row column"]:
        """Repeat each coarse cell on the fine grid."""
        factor = self.config.field.factor
        return coarse.repeat_interleave(factor, 2).repeat_interleave(factor, 3)

    def block_mean(
        self, fine: Float[Tensor, "batch 1 row column"], valid: Bool[Tensor, "batch 1 row column"]
    ) -> tuple[Float[Tensor, "batch 1 lat lon"], Bool[Tensor, "batch 1 lat lon"]]:
        """Average the known cells of each block; and tell which blocks have any."""
        factor = self.config.field.factor
        weight = F.avg_pool2d(valid.to(fine.dtype), factor)
        total = F.avg_pool2d(torch.where(valid, fine, 0.0), factor)
        return total / weight.clamp(min=1 / factor**2), weight > 0

    def fill_coarse(
        self, upsampled: Float[Tensor, "batch 1 row column"], eta: Tensor, amount: float | None = None
    ) -> Filled:
        """Add noise to upsampled numbers, since their density is singular, and fill what is missing."""
        amount = self.config.field.noise if amount is None else amount
        return _fill(upsampled + amount * eta, eta)

    def fill_fine(self, fine: Float[Tensor, "batch 1 row column"], eta: Tensor) -> Filled:
        """Fill what is missing in fine numbers."""
        return _fill(fine, eta)

    def coarse_density(
        self, values: Float[Tensor, "batch lat lon"], months: Int[Tensor, " batch"], noise: Noise
    ) -> Float[Tensor, " batch"]:
        """Give the log-density of coarse fields with their noise, upsampled, in nats; see `fine_density`."""
        self.coarse_scale.check_months(months)
        numbers = self.upsample(self.coarse_scale.encode(values, months, noise.uniform_coarse))
        return self._density(self.coarse, self.fill_coarse(numbers, noise.coarse), self.coarse_scale)

    def fine_density(
        self, values: Float[Tensor, "batch lat lon"], months: Int[Tensor, " batch"], noise: Noise
    ) -> Float[Tensor, " batch"]:
        """Give the log-density of fine fields in nats, of K or of cube roots of mm/day.

        Exact where nothing is missing; else a bound (see `Filled`), in one draw of the noise.
        """
        self.fine_scale.check_months(months)
        numbers = self.fine_scale.encode(values, months, noise.uniform_fine)
        return self._density(self.fine, self.fill_fine(numbers, noise.fine), self.fine_scale)

    def sample(
        self, months: Int[Tensor, " batch"], latent: Float[Tensor, "batch 1 row column"]
    ) -> tuple[Float[Tensor, "batch lat lon"], Float[Tensor, "batch row column"]]:
        """Draw coarse and fine fields that go together, from noise alone.

        Parameters
        ----------
        months : Tensor of int, shape (batch,)
            0 to 11.
        latent : Tensor
            Standard normal, or narrower for likelier fields.
        """
        for scale in (self.coarse_scale, self.fine_scale):
            scale.check_months(months)
        upsampled, fine = self.coarse.inverse(latent)[0], self.fine.inverse(latent)[0]
        coarse = F.avg_pool2d(upsampled, self.config.field.factor)
        return self.coarse_scale.decode(coarse, months), self.fine_scale.decode(fine, months)

    @staticmethod
    def _density(flow: Glow, filled: Filled, scale: Standardiser) -> Tensor:
        cells = filled.valid.sum((1, 2, 3))
        return flow.log_density(filled.values) - filled.log_fill - cells * scale.scale.log()


def _fill(values: Tensor, eta: Tensor) -> Filled:
    valid = torch.isfinite(values)
    filled = torch.where(valid, values, eta)
    unknown = torch.where(valid, 0.0, eta)
    missing = (~valid).sum((1, 2, 3))
    log_fill = standard_normal(unknown) + 0.5 * math.log(2 * math.pi) * (unknown[0].numel() - missing)
    return Filled(filled, valid, log_fill)
