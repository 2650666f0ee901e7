"""What a pair of flows is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isopleth.config import check_choice, check_positive
from isopleth.errors import ConfigError

Kind = Literal["temperature", "precipitation"]
Conserve = Literal["none", "value", "anomaly"]
KINDS: tuple[Kind, ...] = ("temperature", "precipitation")


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """The two flows, of one shape.

    Parameters
    ----------
    levels, steps : int
        Scales (L), and steps of each (K).
    filters, max_filters : int
        Hidden channels of the couplings at the finest scale; they double with each level up to the limit.
    reversible : bool
        Rebuild activations from outputs while training: less memory, more time, equal gradients.
    """

    levels: int = 3
    steps: int = 8
    filters: int = 32
    max_filters: int = 256
    reversible: bool = False

    def __post_init__(self) -> None:
        check_positive(
            levels=self.levels, steps=self.steps, filters=self.filters, max_filters=self.max_filters
        )

    def filters_at(self, level: int) -> int:
        """Give the hidden channels of a level, counted from 0."""
        return min(self.filters * 2**level, self.max_filters)


@dataclass(frozen=True, kw_only=True)
class FieldConfig:
    """What is downscaled, and how it is brought to numbers that a flow can learn.

    Parameters
    ----------
    kind : {"temperature", "precipitation"}
        Temperature: anomalies from the training years' monthly means. Precipitation: cube root of mm/day.
    variable : str
        Its canonical name (`isopleth.io.LEXICON`).
    factor : int
        Fine cells along a side of a coarse one.
    noise : float
        Standard deviation of the noise that is added to the upsampled coarse field, in units of its standard
        deviation: equal values in a block have no density.
    rounding : float
        Step that the fine values were rounded to, in their units; uniform noise of one step undoes it.
    dry_mm : float
        Below so many mm/day (published: 1) a day is dry: its cube root is drawn from there down to 0.
    """

    kind: Kind = "temperature"
    variable: str = "maximum_2m_temperature"
    factor: int = 4
    noise: float = 0.1
    rounding: float = 0.0
    dry_mm: float = 1.0

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)
        check_positive(dry_mm=self.dry_mm)
        if self.factor < 2:
            raise ConfigError(f"factor must be at least 2, got {self.factor}")
        if self.noise < 0 or self.rounding < 0:
            raise ConfigError(f"noise and rounding must not be below 0, got {self.noise}, {self.rounding}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A pair of flows for one region.

    Parameters
    ----------
    field, flow
        The parts.
    lat, lon : tuple of float
        Centres of the fine cells, degrees.
    seed : int
        Of the initial weights.
    """

    field: FieldConfig = FieldConfig()
    flow: FlowConfig = FlowConfig()
    lat: tuple[float, ...] = ()
    lon: tuple[float, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for name, values in (("lat", self.lat), ("lon", self.lon)):
            if len(values) % self.field.factor:
                raise ConfigError(
                    f"the number of {name} must be a multiple of {self.field.factor}, got {len(values)}"
                )


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How fields are drawn.

    Parameters
    ----------
    members : int
        Samples of each day; 0 gives the one field that stands at the same latent.
    temperature : float
        Standard deviation of the noise that is added to the latent.
    noise : float, optional
        Of the noise added to the upsampled field, as in training by default.
    conserve : {"none", "value", "anomaly"}
        Whether means over blocks equal the coarse value; or, of temperature, its anomaly, so that a bias of
        the coarse data stays corrected.
    tile : int
        Rows and columns of fine cells that are worked on at once, where the region is larger.
    overlap : int
        Fine cells over which neighbouring tiles are blended.
    seed : int
    """

    members: int = 10
    temperature: float = 0.5
    noise: float | None = None
    conserve: Conserve = "none"
    tile: int = 128
    overlap: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("conserve", self.conserve, ("none", "value", "anomaly"))
        check_positive(tile=self.tile)
        if self.members < 0 or self.temperature < 0 or (self.noise or 0) < 0:
            raise ConfigError(
                "members, temperature and noise must not be below 0, got "
                f"{self.members}, {self.temperature}, {self.noise}"
            )
        if not 0 <= self.overlap <= self.tile // 2:
            raise ConfigError(f"overlap must lie between 0 and half a tile, got {self.overlap}")
