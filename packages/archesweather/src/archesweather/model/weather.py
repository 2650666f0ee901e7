"""The forecast model: two states and the time of day and year to the next state."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from archesweather.config import ModelConfig
from archesweather.model.backbone import Backbone
from isopleth.data.buffers import NormaliserBuffers
from isopleth.data.normaliser import Normaliser
from isopleth.errors import ConfigError
from isopleth.train.pretrained import Pretrained


class ArchesWeather(
    nn.Module, Pretrained, license="apache-2.0", tags=["weather", "forecast"], pipeline_tag="other"
):
    """Forecast the state of the atmosphere one step ahead, from the present state and the one before.

    All states are z-scored; see `normaliser`. NaN in a state is not hidden: it spreads.

    Parameters
    ----------
    config : ModelConfig
    normaliser : Normaliser, optional
        Statistics of the channels; they travel with the weights.

    Attributes
    ----------
    backbone : Backbone
    normaliser : NormaliserBuffers or None
    increment_std : Tensor, shape (channel,)
        What the head's output is multiplied by where the target is an increment: the standard deviation of
        the change over one step, in z-scores; ones until it is set.
    """

    increment_std: Tensor

    def __init__(self, config: ModelConfig, normaliser: Normaliser | None = None) -> None:
        super().__init__()
        if normaliser is not None and normaliser.channels != config.fields.channels:
            raise ConfigError(
                f"the normaliser must have the {len(config.fields.channels)} channels of the config in their "
                f"order, got {list(normaliser.channels)[:4]}..."
            )
        self.config = config
        self.normaliser = None if normaliser is None else NormaliserBuffers(normaliser)
        self.backbone = Backbone(config)
        self.register_buffer("increment_std", torch.ones(len(config.fields.channels)))

    def forward(
        self,
        state: Float[Tensor, "batch channel lat lon"],
        previous: Float[Tensor, "batch channel lat lon"],
        month: Float[Tensor, " batch"],
        hour: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Give the state one step ahead.

        Parameters
        ----------
        state, previous : Tensor
            The present state and the one a step before, z-scored, latitudes ascending.
        month, hour : Tensor
            Of the present state, UTC: 1 to 12 and 0 to 23.

        Raises
        ------
        ConfigError
            If a shape is another than the config's (not checked under torch.compile).
        """
        if not torch.compiler.is_compiling() and state.shape != previous.shape:
            raise ConfigError(
                f"previous must have the shape of state, expected {tuple(state.shape)}, "
                f"got {tuple(previous.shape)}"
            )
        conditions = torch.stack([month, hour], dim=-1).to(state.dtype)
        out = self.backbone(torch.stack([state, previous], dim=1), conditions)
        if self.config.network.target == "state":
            return out
        return torch.addcmul(state, self.increment_std[:, None, None].to(out.dtype), out)
