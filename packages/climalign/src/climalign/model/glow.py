"""A multi-scale Glow whose latent has the shape of its input."""

from __future__ import annotations

import copy
import math
import typing

import torch
from jaxtyping import Float
from torch import Tensor, nn

from climalign.config import FlowConfig
from climalign.model.coupling import Coupling
from climalign.model.flow import ActNorm, Images, Mapped, MixingConvolution, Squeeze, use_caches
from climalign.model.prior import SplitPrior
from climalign.model.reversible import run_plainly, run_reversibly


class Level(nn.Module):
    """One scale: squeeze, then K steps of normalisation, mixing and coupling.

    Parameters
    ----------
    channels : int
        That come in; four times as many are worked on.
    steps : int
    filters : int
        Of the couplings' networks.
    generator : torch.Generator, optional
    """

    def __init__(
        self, channels: int, steps: int, filters: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.squeeze = Squeeze()
        parts: list[MixingConvolution | Coupling] = []
        for _ in range(steps):
            parts += [
                MixingConvolution(4 * channels, generator=generator),
                Coupling(4 * channels, filters),
            ]
        self.parts = nn.ModuleList(parts)

    @property
    def chain(self) -> list[MixingConvolution | Coupling]:
        """The steps' parts, in order."""
        return typing.cast("list[MixingConvolution | Coupling]", list(self.parts))

    def run(self, values: Images, *, invert: bool, reversible: bool) -> Mapped:
        """Run the steps, in one direction or the other."""
        if reversible and self.is_initialised and torch.is_grad_enabled():
            return run_reversibly(self.chain, values, invert=invert)
        return run_plainly(self.chain, values, invert=invert)

    @property
    def is_initialised(self) -> bool:
        """Whether the first batch has been seen."""
        first = self.chain[0]
        return isinstance(first, MixingConvolution) and not first.normalise.needs_first_batch


class Glow(nn.Module):
    r"""A normalizing flow over several scales (Kingma and Dhariwal 2018), as ClimAlign sets it up.

    .. math:: \log p(x) = \log N(z;\; 0, I) + \log \left| \det \frac{\partial z}{\partial x} \right|

    Every level squeezes, takes its steps and splits off half of its channels, which a learned Gaussian given
    the other half standardises. The parts that are split off are put back to the place that they came from:
    the latent is an image of the size of the input, so that noise in it has a place too.

    Parameters
    ----------
    config : FlowConfig
    channels : int
        Of the input.
    seed : int
        Of the initial weights.
    """

    def __init__(self, config: FlowConfig, channels: int = 1, *, seed: int = 0) -> None:
        super().__init__()
        self.config, self.channels = config, channels
        with torch.random.fork_rng(devices=[]):
            generator = torch.Generator().manual_seed(seed)
            torch.manual_seed(seed)
            widths = [channels * 2**level for level in range(config.levels)]
            self.levels = nn.ModuleList(
                Level(width, config.steps, config.filters_at(level), generator)
                for level, width in enumerate(widths)
            )
            self.priors = nn.ModuleList(SplitPrior(2 * width, 2 * width) for width in widths[:-1])
            # A mean and a scale for each channel: the learned prior of what is left at the top.
            self.top = ActNorm(4 * widths[-1])

    @property
    def scales(self) -> list[tuple[Level, SplitPrior | None]]:
        """Each level with the prior of what it splits off; the last one splits nothing off."""
        levels = typing.cast("list[Level]", list(self.levels))
        priors = typing.cast("list[SplitPrior]", list(self.priors))
        return list(zip(levels, (*priors, None), strict=True))

    @property
    def multiple(self) -> int:
        """What the rows and columns of an input must be multiples of."""
        return int(2**self.config.levels)

    def forward(self, images: Float[Tensor, "batch channel lat lon"]) -> Mapped:
        """Map fields to the latent, an image of the same shape, with log|det dz/dx| of each sample."""
        self._check(images)
        kept, total, parts = images, images.new_zeros(len(images)), []
        for level, prior in self.scales:
            kept, _ = level.squeeze(kept)
            kept, logabsdet = level.run(kept, invert=False, reversible=self.config.reversible)
            total = total + logabsdet
            if prior is not None:
                kept, split = kept.chunk(2, 1)
                noise, logabsdet = prior(split, kept)
                parts.append(noise)
                total = total + logabsdet
        self.top.initialise(kept)
        kept, logabsdet = self.top(kept)
        return self._assemble(kept, parts), total + logabsdet

    def inverse(self, latent: Float[Tensor, "batch channel lat lon"]) -> Mapped:
        """Map a latent to fields, with log|det dx/dz| of each sample."""
        self._check(latent)
        kept, parts = self._take_apart(latent)
        kept, total = self.top.inverse(kept)
        for level, prior in reversed(self.scales):
            if prior is not None:
                split, logabsdet = prior.inverse(parts.pop(), kept)
                kept, total = torch.cat((kept, split), 1), total + logabsdet
            kept, logabsdet = level.run(kept, invert=True, reversible=self.config.reversible)
            kept, _ = level.squeeze.inverse(kept)
            total = total + logabsdet
        return kept, total

    def log_density(self, images: Float[Tensor, "batch channel lat lon"]) -> Float[Tensor, " batch"]:
        """Give the exact log-density of each field, in nats, of the units that the flow works in."""
        latent, logabsdet = self(images)
        return standard_normal(latent) + logabsdet

    def twin(self) -> Glow:
        """Copy this flow: untrained, the two map to the same latent, which is where alignment starts."""
        return copy.deepcopy(self)

    def use_caches(self, *, mode: bool = True) -> None:
        """Keep matrices and their inverses while the flow is in evaluation mode without gradients."""
        use_caches(self, mode=mode)

    def _assemble(self, top: Images, parts: list[Images]) -> Images:
        whole = top
        for level, prior in reversed(self.scales):
            if prior is not None:
                whole = torch.cat((whole, parts.pop()), 1)
            whole, _ = level.squeeze.inverse(whole)
        return whole

    def _take_apart(self, latent: Images) -> tuple[Images, list[Images]]:
        kept, parts = latent, []
        for level, prior in self.scales:
            kept, _ = level.squeeze(kept)
            if prior is not None:
                kept, split = kept.chunk(2, 1)
                parts.append(split)
        return kept, parts

    def _check(self, images: Tensor) -> None:
        if torch.compiler.is_compiling():
            return
        expected = f"(batch, {self.channels}, multiples of {self.multiple})"
        if images.ndim != 4 or images.shape[1] != self.channels:
            raise ValueError(f"expected images of shape {expected}, got {tuple(images.shape)}")
        if any(size % self.multiple or not size for size in images.shape[2:]):
            raise ValueError(f"expected images of shape {expected}, got {tuple(images.shape)}")


def standard_normal(latent: Float[Tensor, "batch channel lat lon"]) -> Float[Tensor, " batch"]:
    r"""Give :math:`\log N(z; 0, I)` of each latent, in nats."""
    cells = latent[0].numel()
    return -0.5 * latent.square().sum((1, 2, 3)) - 0.5 * cells * math.log(2 * math.pi)
