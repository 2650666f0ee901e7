"""The network: states in, one state out."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from archesweather.config import ModelConfig
from archesweather.model.blocks import ColumnMixing, Merge, Split, Stage
from archesweather.model.conditioning import Conditions
from archesweather.model.embedding import PatchEmbedding, PatchRecovery
from archesweather.model.layout import plan_layout
from isopleth.errors import ConfigError


class Backbone(nn.Module):
    """From states to one state, all z-scored and on the config's grid.

    A U of four stages of windowed attention over (lat, lon, level) tokens (Couairon et al. 2024). NaN is not
    hidden: it spreads over the windows and columns that it is in, and from there.

    Parameters
    ----------
    config : ModelConfig
    states : int
        How many states come in.
    conditions : tuple of str
        Names of the scalars that come in with them; each has its own embedding.

    Attributes
    ----------
    constants : Tensor, shape (constant, lat, lon)
        The static maps, z-scored; zero until `set_constants`, saved with the weights.
    """

    constants: Tensor

    def __init__(
        self, config: ModelConfig, *, states: int = 2, conditions: tuple[str, ...] = ("month", "hour")
    ) -> None:
        super().__init__()
        self.config, self.states, self.conditions = config, states, conditions
        network, layout = config.network, plan_layout(config)
        maps = (len(config.fields.constants), len(config.lat), len(config.lon))
        self.register_buffer("constants", torch.zeros(maps))
        self.embedding = PatchEmbedding(config, layout, states)
        self.mixing = ColumnMixing(network.dim, layout.fine.grid[0]) if network.column_mixing else None
        self.condition = Conditions(conditions, network.condition_dim)
        rates = drop_rates(network.depths, network.drop_path)
        layouts = (layout.fine, *layout.inner, layout.outer)
        self.stages = nn.ModuleList(
            Stage(stage, rate, network.condition_dim) for stage, rate in zip(layouts, rates, strict=True)
        )
        self.merge = Merge(layout.fine, layout.inner[0].width)
        self.split = Split(layout.inner[1], layout.fine)
        self.recovery = PatchRecovery(config, layout)

    def set_constants(self, constants: Float[Tensor, "constant lat lon"]) -> None:
        """Take the static maps, z-scored, in the order of the config's names.

        Raises
        ------
        ConfigError
            If their shape is not that of names and grid.
        """
        if constants.shape != self.constants.shape:
            raise ConfigError(
                f"constants must be of shape {tuple(self.constants.shape)}, got {tuple(constants.shape)}"
            )
        self.constants.copy_(constants)

    def checkpoint_stages(self, which: Collection[int] = (1, 2, 3, 4)) -> None:
        """Trade time for memory: keep in these stages (1 to 4) only what is between blocks, and recompute.

        Weights and results stay as they are.
        """
        unknown = set(which) - {1, 2, 3, 4}
        if unknown:
            raise ConfigError(f"stages to checkpoint must be among 1, 2, 3, 4, got {sorted(unknown)}")
        for number, stage in enumerate(self.stages, start=1):
            assert isinstance(stage, Stage)
            stage.checkpointed = number in which

    def forward(
        self,
        states: Float[Tensor, "batch state channel lat lon"],
        conditions: Float[Tensor, "batch condition"],
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Compute one state.

        Parameters
        ----------
        states : Tensor
            z-scored; channels as `FieldsConfig.channels`, latitudes ascending, longitudes from 0 to 360.
        conditions : Tensor
            As they are: months count from 1 to 12, hours from 0 to 23.

        Raises
        ------
        ConfigError
            If a shape is another than the config's (not checked under torch.compile).
        """
        if not torch.compiler.is_compiling():
            self._check(states, conditions)
        released = self.config.network.compat == "geoarches"
        constants = self.constants
        if released:
            states, constants = to_released(states), to_released(constants)
        out = self.recovery(self._transform(self.embedding(states, constants), self.condition(conditions)))
        return from_released(out) if released else out

    def _transform(self, x: Tensor, condition: Tensor) -> Tensor:
        first, second, third, last = self.stages
        if self.mixing is not None:
            x = self.mixing(x)
        x = kept = first(x, condition)
        x = third(second(self.merge(x), condition), condition)
        return last(torch.cat([self.split(x), kept], dim=-1), condition)

    def _check(self, states: Tensor, conditions: Tensor) -> None:
        config = self.config
        expected = (self.states, len(config.fields.channels), len(config.lat), len(config.lon))
        if states.ndim != 5 or states.shape[1:] != expected:
            raise ConfigError(
                f"states must be of shape (batch, state, channel, lat, lon), expected (batch, "
                f"{', '.join(map(str, expected))}), got {tuple(states.shape)}"
            )
        if conditions.shape != (len(states), len(self.conditions)):
            raise ConfigError(
                f"conditions must be {', '.join(self.conditions)} a sample, expected "
                f"{(len(states), len(self.conditions))}, got {tuple(conditions.shape)}"
            )


def to_released(x: Tensor) -> Tensor:
    """Turn a map as the released code has it: north first, and the dateline at the edge."""
    return x.flip(-2).roll(x.shape[-1] // 2, dims=-1)


def from_released(x: Tensor) -> Tensor:
    """Turn a map of the released code: south first, from Greenwich on."""
    return x.roll(-(x.shape[-1] // 2), dims=-1).flip(-2)


def drop_rates(depths: tuple[int, int, int, int], largest: float) -> list[list[float]]:
    """Give each block its rate of stochastic depth: rising from 0 on the way in, likewise on the way out.

    Outer stages have the lower rates, inner ones the higher, as if both arms of the U were read from their
    outer end.
    """
    first, second, third, last = depths
    inward = np.linspace(0, largest, first + second).tolist()
    outward = np.linspace(0, largest, last + third).tolist()
    return [inward[:first], inward[first:], outward[last:], outward[:last]]
