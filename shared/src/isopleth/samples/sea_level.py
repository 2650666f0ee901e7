"""Large ensembles and an altimeter of a simulated ocean whose future is known: `sea_level`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from isopleth.config import check_choice
from isopleth.errors import ConfigError
from isopleth.fields.land import land_fraction
from isopleth.grid import Grid
from isopleth.samples.ocean import FORCINGS, MODELLED, ModelError, Ocean, Terms
from isopleth.samples.waves import Floats, RandomWaves, unit_vectors

Frequency = Literal["month", "year"]
Part = Literal["all", "forced", "internal"]

# Models and their families; those of a family share half of what is wrong with them.
FAMILIES = {
    "CESM1": 0,
    "CESM2": 0,
    "GFDL-ESM2M": 1,
    "MPI-GE": 2,
    "MPI-ESM1-2-HR": 2,
    "MPI-ESM1-2-LR": 2,
}
# Ensembles of CESM2 in which one forcing acts alone: what each is called, and which it is.
SINGLE_FORCING = {
    "CESM2-GHG": "greenhouse_gases",
    "CESM2-AAER": "aerosols",
    "CESM2-BMB": "biomass_burning",
}
ALTIMETER_YEARS = (1993, 2022)
# White noise of a month, and noise over 300 km of the same month, mm.
_ALTIMETER_NOISE = (10.0, 8.0)
_TRUTH, _ALTIMETER, _MODEL = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class SeaLevelSample:
    """Models, altimeter and truth; everything is computed when it is asked for.

    All on a global grid, NaN over land, in metres (trends in mm/year), as departures: the ocean's global mean
    is 0 at 2007.5, a field's own mean over time is not. ``time`` is the middle of each month or year,
    datetime64. The same arguments give the same numbers; member k is the same however many there are.

    Parameters
    ----------
    seed : int
        Chooses the world and its weather.
    members : int
        Of every ensemble.
    first_year, last_year : int
        Of truth and models, both whole.
    frequency : {"year", "month"}
        Means of years or of months. Both are of the same months.
    resolution_deg : float
        Of `grid`.
    nonlinearity : float
        How strongly a model's error depends on the pattern's sign and on latitude, in [0, 1]; see
        `isopleth.samples.ocean.ModelError`.
    """

    seed: int = 0
    members: int = 5
    first_year: int = 1960
    last_year: int = 2055
    frequency: Frequency = "year"
    resolution_deg: float = 2.0
    nonlinearity: float = 0.3

    def __post_init__(self) -> None:
        check_choice("frequency", self.frequency, ("year", "month"))
        if self.members < 1 or self.seed < 0:
            raise ConfigError(f"members must be above 0 and seed not below, got {self.members}, {self.seed}")
        if not 1860 <= self.first_year <= self.last_year - 2 <= 2190:
            raise ConfigError(
                "first_year and last_year must lie in 1860 to 2192, two years apart, "
                f"got {self.first_year} and {self.last_year}"
            )
        if not 0.25 <= self.resolution_deg <= 15.0 or 180.0 % self.resolution_deg:
            raise ConfigError(f"resolution_deg must divide 180, from 0.25 to 15, got {self.resolution_deg}")
        if not 0.0 <= self.nonlinearity <= 1.0:
            raise ConfigError(f"nonlinearity must lie in [0, 1], got {self.nonlinearity}")

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the large ensembles, then of the single-forcing ones."""
        return (*FAMILIES, *SINGLE_FORCING)

    @cached_property
    def ocean(self) -> Ocean:
        """The world itself."""
        return Ocean(self.seed)

    @cached_property
    def grid(self) -> Grid:
        """Where the sample's own fields lie: rows between the poles, columns from longitude 0."""
        rows = round(180.0 / self.resolution_deg)
        return Grid.regular(rows, 2 * rows)

    @cached_property
    def sea(self) -> NDArray[np.bool_]:
        """Cells that are at least half sea, shape (lat, lon)."""
        return np.asarray(land_fraction(self.grid).values <= 0.5)

    @cached_property
    def months(self) -> Floats:
        """Middles of all months, in years."""
        count = 12 * (self.last_year - self.first_year + 1)
        return np.asarray(self.first_year + (np.arange(count) + 0.5) / 12.0, np.float64)

    @cached_property
    def times(self) -> NDArray[np.datetime64]:
        """Middles of the months (the 15th at noon, or so) or years (1 July)."""
        return _middles(self.first_year, self.last_year, self.frequency)

    def truth(self, part: Part = "all") -> xr.DataArray:
        """Return the true sea level, without measurement noise: (time, lat, lon).

        Parameters
        ----------
        part : {"all", "forced", "internal"}
            What the forcings do together with the global mean, what the ocean does by itself, or all, with
            mean state and seasonal cycle.
        """
        values = self.evaluate(self._sea_points, "truth", part=part)
        return self._on_grid(values, {"part": part})

    def model(self, name: str, part: Part = "all") -> xr.DataArray:
        """Return all members of a model on the sample's grid: (member, time, lat, lon).

        Models have no global mean (as CMIP6 ``zos`` and CESM's ``SSH`` have none); see `steric_mean`.
        """
        terms = self.terms(self._sea_points, name)
        members = [
            self._on_grid(
                self.evaluate(self._sea_points, name, member=k, part=part, terms=terms), {"part": part}
            )
            for k in range(self.members)
        ]
        return xr.concat(members, dim=pd.RangeIndex(self.members, name="member"))

    def forced_model(self, name: str) -> xr.DataArray:
        """Return a model's forced response, to which the mean over ever more members tends."""
        return self._on_grid(self.evaluate(self._sea_points, name, part="forced"), {"part": "forced"})

    def altimeter(self) -> xr.DataArray:
        """Return what the altimeter sees of the truth, 1993 to 2022: (time, lat, lon)."""
        first, last = self.altimeter_years
        values = self.observe(self._sea_points)
        times = _middles(first, last, self.frequency)
        return self._on_grid(values, {"part": "altimeter"}, times)

    @property
    def altimeter_years(self) -> tuple[int, int]:
        """First and last year of the altimeter, as far as the sample reaches."""
        return max(ALTIMETER_YEARS[0], self.first_year), min(ALTIMETER_YEARS[1], self.last_year)

    def trend(
        self, years: tuple[int, int], *, model: str = "truth", part: Part = "all", member: int = 0
    ) -> xr.DataArray:
        """Return a least-squares trend over whole years, both included: (lat, lon), mm/year.

        Computed from annual means, whatever the sample's frequency.
        """
        first, last = years
        if not self.first_year <= first < last <= self.last_year:
            raise ConfigError(f"years must lie in {self.first_year} to {self.last_year}, got {years}")
        months = slice(12 * (first - self.first_year), 12 * (last + 1 - self.first_year))
        axis = np.arange(first, last + 1) - (first + last) / 2.0
        weights = np.repeat(axis / (axis @ axis) / 12.0, 12)
        series = [s[:, months] @ weights for s in self._series(model, member)]
        terms = self.terms(self._sea_points, model)
        slope = _combine(terms, series, part) + self._mean_level(model, part)[months] @ weights
        attrs = {
            "units": "mm year-1",
            "long_name": "sea level trend",
            "years": f"{first}-{last}",
            "part": part,
        }
        return self._map(slope).assign_attrs(attrs)

    def terms(self, points: Floats, model: str = "truth") -> Terms:
        """Return the maps behind a model (or the truth) at points (n, 3)."""
        return self.ocean.terms(points, self.error(model))

    def error(self, model: str) -> ModelError | None:
        """Return what is wrong with a model; None for the truth."""
        if model == "truth":
            return None
        check_choice("model", model, self.models)
        parent = model if model in FAMILIES else "CESM2"
        position = list(FAMILIES).index(parent)
        return self.ocean.draw_error(FAMILIES[parent], position, nonlinearity=self.nonlinearity)

    def evaluate(
        self, points: Floats, model: str, *, member: int = 0, part: Part = "all", terms: Terms | None = None
    ) -> NDArray[np.float32]:
        """Compute sea level at points on the unit sphere: (time, n), float32 metres.

        Parameters
        ----------
        points : array, shape (n, 3)
        model : str
            One of `models`, or ``"truth"``.
        member : int
            Whose internal variability.
        part : {"all", "forced", "internal"}
        terms : Terms, optional
            From `terms`, where many members are wanted at the same points.
        """
        check_choice("part", part, ("all", "forced", "internal"))
        terms = self.terms(points, model) if terms is None else terms
        series = [self._averaged(s) for s in self._series(model, member)]
        level = self._averaged(self._mean_level(model, part))
        rows = _rows(terms, series, part)
        weights = np.concatenate([s for _, s in rows]).astype(np.float32)
        maps = np.concatenate([m for m, _ in rows]).astype(np.float32)
        return np.asarray((weights.T @ maps + level[:, None].astype(np.float32)) / np.float32(1000.0))

    def observe(self, points: Floats) -> NDArray[np.float32]:
        """Compute what the altimeter sees at points: (time, n), float32 metres, over its own years.

        Departures from the mean over them, with white noise and noise over 300 km, each of a month.
        """
        first, last = self.altimeter_years
        steps = 12 if self.frequency == "month" else 1
        begin, end = steps * (first - self.first_year), steps * (last + 1 - self.first_year)
        seen = self.evaluate(points, "truth")[begin:end]
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, 9, _ALTIMETER]))
        waves = RandomWaves.draw(rng, length_km=300.0, waves=300)
        white, smooth = (sd / 1000.0 / np.sqrt(12 // steps) for sd in _ALTIMETER_NOISE)
        weights = rng.normal(scale=smooth, size=(end - begin, waves.size)).astype(np.float32)
        seen = seen + weights @ waves.basis(points)
        seen += white * rng.standard_normal(seen.shape, dtype=np.float32)
        return np.asarray(seen - seen.mean(axis=0), dtype=np.float32)

    def steric_mean(self, model: str) -> Floats:
        """Return a model's global mean thermosteric sea level (CMIP6 ``zostoga``): (time,), metres."""
        error = self.error(model)
        gains = dict.fromkeys(MODELLED, 1.0) if error is None else error.gains
        total = sum(
            gains[f.name] * f.global_mean * f.curve(self.months)
            for f in FORCINGS
            if f.in_models and self._acts(f.name, model)
        )
        return self._averaged(np.asarray(total)) / 1000.0

    def global_mean(self) -> Floats:
        """Return the true global mean, steric and of mass: (time,), metres, 0 at 2007.5."""
        return self._averaged(self._mean_level("truth", "forced")) / 1000.0

    @cached_property
    def _sea_points(self) -> Floats:
        lat, lon = np.meshgrid(self.grid.lat, self.grid.lon, indexing="ij")
        return unit_vectors(lat[self.sea], lon[self.sea])

    def _acts(self, forcing: str, model: str) -> bool:
        return SINGLE_FORCING.get(model, forcing) == forcing

    def _series(self, model: str, member: int) -> tuple[Floats, ...]:
        """Return monthly series for forcings, modes, noise, season and mean state: each (terms, months)."""
        key = [_TRUTH, 0] if model == "truth" else [_MODEL, self.models.index(model)]
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, 8, *key, member]))
        forced = np.stack([f.curve(self.months) * self._acts(f.name, model) for f in FORCINGS])
        modes, noise = self.ocean.internal_series(rng, self.months.size)
        year = 2.0 * np.pi * self.months
        return forced, modes, noise, np.stack([np.cos(year), np.sin(year)]), np.ones((1, self.months.size))

    def _mean_level(self, model: str, part: Part) -> Floats:
        if model != "truth" or part == "internal":
            return np.zeros(self.months.size)
        return np.asarray(sum(f.global_mean * f.curve(self.months) for f in FORCINGS))

    def _averaged(self, series: Floats) -> Floats:
        """Return means of years where the sample has years."""
        if self.frequency == "month":
            return series
        return np.asarray(series.reshape(*series.shape[:-1], -1, 12).mean(axis=-1))

    def _on_grid(
        self, values: NDArray, attrs: dict[str, str], times: NDArray[np.datetime64] | None = None
    ) -> xr.DataArray:
        times = self.times if times is None else times
        full = np.full((len(times), *self.sea.shape), np.nan, np.float32)
        full[:, self.sea] = values
        coords = {"time": times, "lat": self.grid.lat, "lon": self.grid.lon}
        described = {"units": "m", "long_name": "sea surface height", **attrs}
        return xr.DataArray(full, coords, ("time", "lat", "lon"), "sea_surface_height", described)

    def _map(self, values: Floats) -> xr.DataArray:
        full = np.full(self.sea.shape, np.nan)
        full[self.sea] = values
        coords = {"lat": self.grid.lat, "lon": self.grid.lon}
        return xr.DataArray(full, coords, ("lat", "lon"), "sea_level_trend")


def sea_level(
    *,
    seed: int = 0,
    members: int = 5,
    first_year: int = 1960,
    last_year: int = 2055,
    frequency: Frequency = "year",
    resolution_deg: float = 2.0,
    nonlinearity: float = 0.3,
) -> SeaLevelSample:
    """Make a world of sea level: six large ensembles, three of single forcings, an altimeter, and the truth.

    The arguments are those of `SeaLevelSample`; what is in it, and what is left out, says
    `isopleth.samples.ocean`.

    Examples
    --------
    >>> sample = sea_level(members=2, resolution_deg=6.0)
    >>> sample.model("CESM1").dims
    ('member', 'time', 'lat', 'lon')
    >>> future = sample.trend((2023, 2052))
    """
    return SeaLevelSample(
        seed=seed,
        members=members,
        first_year=first_year,
        last_year=last_year,
        frequency=frequency,
        resolution_deg=resolution_deg,
        nonlinearity=nonlinearity,
    )


def _rows(terms: Terms, series: list[Floats], part: Part) -> list[tuple[Floats, Floats]]:
    """Pair the maps of a part with their series."""
    pairs = list(
        zip((terms.forced, terms.modes, terms.noise, terms.seasonal, terms.mean), series, strict=True)
    )
    return {"all": pairs, "forced": pairs[:1], "internal": pairs[1:3]}[part]


def _combine(terms: Terms, series: list[Floats], part: Part) -> Floats:
    return np.asarray(sum(weights @ maps for maps, weights in _rows(terms, series, part)))


def _middles(first_year: int, last_year: int, frequency: Frequency) -> NDArray[np.datetime64]:
    unit: Literal["M", "Y"] = "M" if frequency == "month" else "Y"
    edges = np.arange(f"{first_year}", f"{last_year + 1}", dtype=f"datetime64[{unit}]")
    starts = edges.astype("datetime64[ns]")
    ends = (edges + np.timedelta64(1, unit)).astype("datetime64[ns]")
    return starts + (ends - starts) // 2
