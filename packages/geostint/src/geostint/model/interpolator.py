"""The interpolator: the network, what its numbers mean, and how it is shared."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geostint.config import ModelConfig
from geostint.cycle import Frame
from geostint.model.blocks import Squeeze, field_mean
from geostint.model.unet import UNet
from isopleth.data import Normaliser, NormaliserBuffers
from isopleth.errors import ConfigError
from isopleth.train import Pretrained

# A time is one of the fixed ones if it is this near.
_SAME = 1e-6


class Geostint(
    Pretrained,
    nn.Module,
    license="apache-2.0",
    paper_url="https://arxiv.org/abs/2309.00059",
    tags=["temporal-interpolation", "geospatial"],
):
    r"""Make the frames between two frames, in z-scores.

    .. math:: M(a, b)_t = (1 - t)\, a + t\, b + r_t(a, b)

    with a U-Net for r, 0 before training; or the U-Net's output itself (``output: raw``). Where r is
    conditioned on any time t, it is :math:`4 t (1 - t)` times the U-Net's output, so that the frames
    themselves come back at their own times.

    Parameters
    ----------
    config : ModelConfig
    normaliser : Normaliser, optional
        Mean and standard deviation of each channel; without it those of the weights to be loaded.
    """

    def __init__(self, config: ModelConfig, normaliser: Normaliser | None = None) -> None:
        super().__init__()
        self.config = config
        self.normaliser = NormaliserBuffers(normaliser or config.channels)
        count = len(config.channels)
        self.is_any_time = config.network.time == "any"
        outputs = count if self.is_any_time else count * config.frames
        # Each frame comes with its mask.
        self.network = UNet(4 * count, outputs, config.network)
        if config.network.output == "residual":
            nn.init.zeros_(self.network.end.weight)
            if self.network.end.bias is not None:
                nn.init.zeros_(self.network.end.bias)

    @property
    def fractions(self) -> tuple[float, ...]:
        """Times of the frames that it was trained to make, 0 to 1."""
        return tuple(k / (self.config.frames + 1) for k in range(1, self.config.frames + 1))

    def select(self, fractions: tuple[float, ...]) -> list[int]:
        """Return which outputs are at these times.

        Raises
        ------
        ConfigError
            If it makes no frame at one of them.
        """
        numbers = [round(t * (self.config.frames + 1)) - 1 for t in fractions]
        made = dict(enumerate(self.fractions))
        wrong = [t for n, t in zip(numbers, fractions, strict=True) if abs(made.get(n, -1.0) - t) > _SAME]
        if wrong:
            raise ConfigError(
                f"times between frames must be among {_list(self.fractions)}, got {_list(wrong)}",
                hint=f"interpolate by the factor {self.config.frames + 1}, or train with --network.time any",
            )
        return numbers

    def forward(
        self,
        before: Frame,
        after: Frame,
        fractions: tuple[float, ...] | None = None,
        *,
        periodic: bool = True,
        squeeze: Squeeze = field_mean,
    ) -> Tensor:
        """Return the frames between two frames, z-scores of shape (batch, frame, channel, lat, lon).

        Parameters
        ----------
        before, after : Frame
            z-scores; cells that are not valid may hold any number and have no influence.
        fractions : tuple of float, optional
            Times; those of training by default.
        periodic, squeeze
            See `UNet`.
        """
        times = self.fractions if fractions is None else fractions
        a, b = known(before), known(after)
        made = self.residual(before, after, times, periodic=periodic, squeeze=squeeze)
        if self.config.network.output == "raw":
            return made
        t = torch.tensor(times, dtype=a.dtype, device=a.device)[:, None, None, None]
        return (1 - t) * a[:, None] + t * b[:, None] + made

    def residual(
        self,
        before: Frame,
        after: Frame,
        fractions: tuple[float, ...],
        *,
        periodic: bool = True,
        squeeze: Squeeze = field_mean,
    ) -> Tensor:
        """Return what the network makes of two frames, shape (batch, frame, channel, lat, lon)."""
        inputs = stack_inputs(before, after)
        count = len(self.config.channels)
        if not self.is_any_time:
            made = self.network(inputs, periodic=periodic, squeeze=squeeze)
            return made.unflatten(1, (self.config.frames, count))[:, self.select(fractions)]
        t = torch.tensor(fractions, dtype=inputs.dtype, device=inputs.device)
        repeated = inputs.repeat_interleave(len(fractions), dim=0)
        made = self.network(repeated, t.repeat(len(inputs)), periodic=periodic, squeeze=squeeze)
        made = made.unflatten(0, (len(inputs), len(fractions)))
        if self.config.network.output == "raw":
            return made
        return made * (4 * t * (1 - t))[:, None, None, None]


def known(frame: Frame) -> Tensor:
    """Return a frame's values with 0, the mean, where there is none."""
    return frame.values if frame.valid is None else frame.values.masked_fill(~frame.valid, 0.0)


def stack_inputs(before: Frame, after: Frame) -> Tensor:
    """Put two frames and their masks on top of each other: (batch, 4 channel, lat, lon)."""
    masks = [
        torch.ones_like(frame.values) if frame.valid is None else frame.valid.to(frame.values.dtype)
        for frame in (before, after)
    ]
    return torch.cat([known(before), known(after), *masks], dim=1)


def _list(times: tuple[float, ...] | list[float]) -> str:
    return ", ".join(f"{t:.4g}" for t in times)
