"""One kind of input each: a body that embeds it, and a head that forecasts from the embedding alone."""

from __future__ import annotations

import itertools

from jaxtyping import Float
from torch import Tensor, nn

from isopleth.errors import ConfigError


class Stream(nn.Module):
    """A body and a head.

    Attributes
    ----------
    body : Module
        From standardised inputs to an embedding, (sample, width).
    head : Linear
        From the embedding to displacements in units of the targets' spread.
    width : int
        Of the embedding.
    """

    def __init__(self, body: nn.Module, width: int, outputs: int) -> None:
        super().__init__()
        self.body, self.width = body, width
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Float[Tensor, "sample output"]:
        """Forecast from this stream alone."""
        return self.head(self.body(x))


class TrackStream(Stream):
    """The track stream, as published 9 -> 8 -> 2 (Giffard-Roisin et al. 2020, fusion figure).

    Parameters
    ----------
    inputs : int
        Predictors.
    hidden : sequence of int
        Widths; batch normalisation and ReLU follow each.
    outputs : int
        Two a lead.
    """

    def __init__(self, inputs: int, hidden: tuple[int, ...], outputs: int) -> None:
        super().__init__(nn.Sequential(*_dense(inputs, hidden)), hidden[-1], outputs)


class ImageStream(Stream):
    """A stream of windows around the storm (Giffard-Roisin et al. 2020, fusion figure).

    3x3 convolutions without padding, each with batch normalisation and ReLU, 2x2 maximum pooling after all
    but the first; then fully connected layers. As published on 25 x 25 points: 64, 64, 256 channels (23, 21
    pooled to 10, 8 pooled to 4), then 576, 128, 64.

    Parameters
    ----------
    channels : int
        Of the windows.
    size : int
        Points along a side.
    convolutions, dense : tuple of int
        Channels and widths.
    outputs : int
        Two a lead.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        convolutions: tuple[int, ...],
        dense: tuple[int, ...],
        outputs: int,
    ) -> None:
        layers: list[nn.Module] = []
        side = size
        for number, (into, out) in enumerate(itertools.pairwise((channels, *convolutions))):
            layers += [nn.Conv2d(into, out, 3), nn.BatchNorm2d(out), nn.ReLU()]
            side -= 2
            if number:
                layers.append(nn.MaxPool2d(2))
                side //= 2
            if side < 1:
                raise ConfigError(
                    f"network.convolutions must leave something of a window, got {list(convolutions)} on "
                    f"{size} x {size} points",
                    hint="take fewer convolutions or --window.size larger",
                )
        flat = convolutions[-1] * side * side
        super().__init__(nn.Sequential(*layers, nn.Flatten(), *_dense(flat, dense)), dense[-1], outputs)


def _dense(inputs: int, widths: tuple[int, ...]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for into, out in itertools.pairwise((inputs, *widths)):
        layers += [nn.Linear(into, out), nn.BatchNorm1d(out), nn.ReLU()]
    return layers
