"""The network: convolutions that change the present frame into the next."""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from isopleth.data import Normaliser, NormaliserBuffers
from isopleth.train import Pretrained
from sample_tool.config import ModelConfig


class Convolution(nn.Conv2d):
    """A 3x3 convolution that goes on around the globe in longitude and repeats the outermost rows."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=3)

    def forward(self, fields: Tensor, *, periodic: bool = True) -> Tensor:
        """Convolve fields of shape (batch, channel, lat, lon); the shape stays."""
        across = F.pad(fields, (1, 1, 0, 0), mode="circular" if periodic else "replicate")
        return super().forward(F.pad(across, (0, 0, 1, 1), mode="replicate"))


class Network(Pretrained, nn.Module, license="apache-2.0", tags=["weather", "geospatial"]):
    r"""Forecast the next frame, in z-scores.

    .. math:: \hat x_{t+1} = x_t + f(x_t)

    with convolutions for f, 0 before training: an untrained network is persistence.

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
        channels, width = len(config.channels), config.network.width
        widths = [channels, *[width] * config.network.layers, channels]
        self.layers = nn.ModuleList(
            Convolution(inputs, outputs) for inputs, outputs in itertools.pairwise(widths)
        )
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, frame: Tensor, *, periodic: bool = True) -> Tensor:
        """Forecast from z-scores of shape (batch, channel, lat, lon); the shape stays."""
        hidden = frame
        for layer in self.layers[:-1]:
            hidden = F.gelu(layer(hidden, periodic=periodic))
        return frame + self.layers[-1](hidden, periodic=periodic)
