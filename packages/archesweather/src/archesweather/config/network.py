"""The model: its fields, its networks, and how a probabilistic one draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isopleth.config import check_choice, check_fraction, check_positive
from isopleth.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class FieldsConfig:
    """What a state of the atmosphere is made of; WeatherBench 2's names.

    Parameters
    ----------
    surface : tuple of str
        Single-level variables, in the order of their channels.
    upper : tuple of str
        Variables on pressure levels, in the order of their channels.
    levels : tuple of float
        hPa, from the top down.
    constants : tuple of str
        Maps that do not change, such as the land-sea mask; they join the surface's channels.
    """

    surface: tuple[str, ...] = (
        "10m_u_component_of_wind",
        "10m_v_component_of_wind",
        "2m_temperature",
        "mean_sea_level_pressure",
    )
    upper: tuple[str, ...] = (
        "geopotential",
        "u_component_of_wind",
        "v_component_of_wind",
        "temperature",
        "specific_humidity",
        "vertical_velocity",
    )
    levels: tuple[float, ...] = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)
    constants: tuple[str, ...] = ("land_sea_mask", "soil_type", "geopotential_at_surface")

    def __post_init__(self) -> None:
        names = (*self.surface, *self.upper)
        if not names:
            raise ConfigError("surface or upper must name a variable, got none")
        if len(set(names)) != len(names):
            raise ConfigError(f"surface and upper must name each variable once, got {list(names)}")
        if self.upper and not self.levels:
            raise ConfigError("levels must be given where upper is, got none")
        if list(self.levels) != sorted(set(self.levels)):
            raise ConfigError(f"levels must ascend in hPa, each once, got {list(self.levels)}")
        check_positive(**{f"levels[{i}]": level for i, level in enumerate(self.levels)})

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels: surface first, then each upper variable level by level."""
        levels = [f"{name}_{level:g}" for name in self.upper for level in self.levels]
        return (*self.surface, *levels)


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The backbone: U-shaped stages of windowed attention over (level, lat, lon) tokens.

    Parameters
    ----------
    dim : int
        Width of the outer stages; the inner ones have twice as much.
    depths : tuple of int
        Blocks of the four stages; (2, 6, 6, 2) is S, twice that M, four times that L.
    heads : tuple of int
        Attention heads of the four stages.
    patch : tuple of int
        Grid cells to a token: (level, lat, lon).
    window : tuple of int
        Tokens to an attention window: (lat, lon).
    vertical : {"columns", "windows", "none"}
        How levels exchange information: attention along whole columns (ArchesWeather), windows that are
        `window_levels` tokens high (as Pangu-Weather's), or not at all.
    window_levels : int
        Height of the windows where `vertical` is "windows".
    column_heads : int
        Heads of the column attention.
    column_mixing : bool
        One linear layer over each whole column before the first stage.
    mlp : {"gated", "plain"}
        Hidden layers of the blocks: GELU-gated of width 8/3 dim, or GELU of width 4 dim.
    target : {"state", "increment"}
        What the head gives: the next state, or what is to be added to the present one.
    condition_dim : int
        Width of the embedding of month and hour.
    drop_path : float
        Largest rate of stochastic depth.
    compat : {"none", "geoarches"}
        "geoarches" computes exactly as the released code does, its quirks included, so that its weights
        give its numbers: no latitude masks, the south pole copied, zeros beyond the dateline, its order of
        levels.
    """

    dim: int = 192
    depths: tuple[int, int, int, int] = (4, 12, 12, 4)
    heads: tuple[int, int, int, int] = (6, 12, 12, 6)
    patch: tuple[int, int, int] = (2, 2, 2)
    window: tuple[int, int] = (6, 10)
    vertical: Literal["columns", "windows", "none"] = "columns"
    window_levels: int = 2
    column_heads: int = 8
    column_mixing: bool = True
    mlp: Literal["gated", "plain"] = "gated"
    target: Literal["state", "increment"] = "state"
    condition_dim: int = 256
    drop_path: float = 0.1
    compat: Literal["none", "geoarches"] = "none"

    def __post_init__(self) -> None:
        check_choice("vertical", self.vertical, ("columns", "windows", "none"))
        check_choice("mlp", self.mlp, ("gated", "plain"))
        check_choice("target", self.target, ("state", "increment"))
        check_choice("compat", self.compat, ("none", "geoarches"))
        sizes = {"dim": self.dim, "condition_dim": self.condition_dim, "column_heads": self.column_heads}
        for name in ("depths", "heads", "patch", "window"):
            sizes |= {f"{name}[{i}]": size for i, size in enumerate(getattr(self, name))}
        check_positive(window_levels=self.window_levels, **sizes)
        check_fraction(drop_path=self.drop_path)
        for stage, (heads, width) in enumerate(zip(self.heads, self.widths, strict=True)):
            if width % heads or (self.vertical == "columns" and width % self.column_heads):
                raise ConfigError(
                    f"the width of stage {stage + 1} must divide by its heads, got {width} wide, "
                    f"{heads} heads and {self.column_heads} column heads"
                )

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Width of each stage; the last takes the first stage's output beside its own."""
        return (self.dim, 2 * self.dim, 2 * self.dim, 2 * self.dim)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """All that a trained model must remember but its weights and statistics.

    Parameters
    ----------
    fields : FieldsConfig
        Its channels.
    network : NetworkConfig
        Its shape.
    lat, lon : tuple of float
        Its grid, degrees, ascending.
    lead_hours : int
        Its step: the state one lead ahead from the present state and the one a lead ago.
    """

    fields: FieldsConfig
    network: NetworkConfig
    lat: tuple[float, ...]
    lon: tuple[float, ...]
    lead_hours: int = 24

    def __post_init__(self) -> None:
        check_positive(lead_hours=self.lead_hours)
        for name in ("lat", "lon"):
            values = getattr(self, name)
            if len(values) < 2 or list(values) != sorted(set(values)):
                raise ConfigError(f"{name} must be at least two ascending degrees, got {list(values)[:4]}...")


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How a probabilistic model draws a state: from noise, along the flow.

    Parameters
    ----------
    steps : int
        Steps from noise to data.
    solver : {"euler", "heun"}
        One network evaluation a step, or two (but for the last) with an error that falls with the square of
        the number of steps.
    noise_scale : float
        Standard deviation of the noise to start from. Euler's steps lose spread, of unit Gaussian data the
        share (1 + pi / 2) / (2 steps): 5 % at 25, which 1.05 gives back. Heun's 12 steps lose 0.4 %.
    last_time : float, optional
        Last flow time at which the network is asked, published as 0.001; by default 1 / `steps`, which makes
        all steps equal. Heun's correction divides the network's error by it.
    """

    steps: int = 25
    solver: Literal["euler", "heun"] = "euler"
    noise_scale: float = 1.05
    last_time: float | None = None

    def __post_init__(self) -> None:
        check_choice("sampling.solver", self.solver, ("euler", "heun"))
        check_positive(
            **{f"sampling.{name}": getattr(self, name) for name in ("steps", "noise_scale", "last_time")}
        )
        least = 0.5 / self.steps if self.solver == "heun" else 0.0
        if self.last_time is not None and not least <= self.last_time < 1:
            raise ConfigError(
                f"sampling.last_time must be from {least:g} to below 1 for {self.steps} steps of "
                f"{self.solver}, got {self.last_time!r}"
            )


@dataclass(frozen=True, kw_only=True)
class GenerativeConfig(ModelConfig):
    """All that a trained probabilistic model must remember but its weights and statistics.

    `network` is the one that learns the residual.

    Parameters
    ----------
    deterministic : tuple of NetworkConfig
        The models whose mean the residual is taken from; of the same fields, grid and lead.
    prediction : {"data", "blend"}
        Whether the network gives the residual itself, as published, or what the best linear prediction from
        the noisy residual lacks; see `archesweather.flow.blend_weights`.
    sampling : SamplingConfig
        How it draws unless told otherwise.
    """

    deterministic: tuple[NetworkConfig, ...]
    prediction: Literal["data", "blend"] = "data"
    sampling: SamplingConfig = SamplingConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("prediction", self.prediction, ("data", "blend"))
        if not self.deterministic:
            raise ConfigError("deterministic must have at least one model, got none")
        if self.network.target != "state":
            raise ConfigError(
                f"network.target must be 'state' for a network of residuals, got {self.network.target!r}"
            )
