"""The embedded sample: daily temperature and rain over a coast and its mountains, at high resolution.

Waves of weather move east over a range of mountains that runs along a coast. Temperature falls with height at
a rate that changes from day to day, cold air lies in valleys on calm days, the sea damps what is near it;
rain falls where moist air is lifted, and not in the lee. The coarse twin is what a coarse model would give:
means over blocks of cells, smoothed, with a bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climalign.config import SplitConfig, WorldConfig

SOURCE = "climalign.sample"
TEMPERATURE, PRECIPITATION = "maximum_2m_temperature", "mean_total_precipitation_rate"
FIRST_YEAR = 2000
_SOUTH, _WEST, _STEP = 40.0, 234.0, 0.25
_SECONDS = 86400.0

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class World:
    """A generated region.

    Attributes
    ----------
    fine : Dataset, dims (time, lat, lon)
        Temperature (K) and rain (kg m-2 s-1); missing over the sea, as observations are.
    coarse : Dataset, dims (time, lat, lon)
        The same days as a coarse model has them; known everywhere.
    height : DataArray, dims (lat, lon)
        m; 0 over the sea.
    """

    fine: xr.Dataset
    coarse: xr.Dataset
    height: xr.DataArray


def plan_years(config: WorldConfig) -> SplitConfig:
    """Divide the years of a world: coarse and fine ones of the training are not the same."""
    ends = np.cumsum([config.train_years, config.train_years, 2 * config.validate_years, config.test_years])
    first = [FIRST_YEAR, *(FIRST_YEAR + ends[:-1])]
    spans = [(str(a), str(FIRST_YEAR + b - 1)) for a, b in zip(first, ends, strict=True)]
    middle = int(first[2]) + config.validate_years
    return SplitConfig(
        train_coarse=spans[0],
        train_fine=spans[1],
        validate_coarse=(spans[2][0], str(middle - 1)),
        # A week less: the test days begin with the next year.
        validate_fine=(str(middle), f"{spans[2][1]}-12-24"),
        test=spans[3],
    )


def make_world(seed: int, config: WorldConfig | None = None) -> World:
    """Generate a region and all its years.

    Parameters
    ----------
    seed : int
        Equal seeds give equal bits; another seed is another landscape and other weather.
    config : WorldConfig, optional
    """
    config = config or WorldConfig()
    land_rng, weather_rng = (np.random.default_rng([seed, stream]) for stream in (0, 1))
    years = 2 * config.train_years + 2 * config.validate_years + config.test_years
    end = f"{FIRST_YEAR + years}-01-01"
    time = np.arange(f"{FIRST_YEAR}-01-01", end, dtype="datetime64[D]").astype("datetime64[ns]")
    height, sea = _make_landscape(land_rng, config)
    weather = _Weather.of(weather_rng, len(time), height.shape)
    season = _season(time)
    temperature = _make_temperature(weather, season, height, sea)
    rain = _make_rain(weather, season, height)
    coords = {
        "time": time,
        "lat": _SOUTH + _STEP * np.arange(config.rows),
        "lon": _WEST + _STEP * np.arange(config.columns),
    }
    whole = _as_dataset(temperature, rain, coords)
    land = xr.DataArray(~sea, {"lat": coords["lat"], "lon": coords["lon"]}, ("lat", "lon"))
    relief = xr.DataArray(height, land.coords, ("lat", "lon"), attrs={"units": "m"}, name="height")
    return World(whole.where(land), _make_coarse(whole, config.factor), relief)


@dataclass(frozen=True, eq=False)
class _Weather:
    """What moves over the region, each (time, lat, lon) or (time, 1, 1), with mean 0 and variance about 1."""

    air: Floats
    moisture: Floats
    small: Floats
    showers: Floats
    wind: Floats
    calm: Floats

    @classmethod
    def of(cls, rng: np.random.Generator, days: int, shape: tuple[int, int]) -> _Weather:
        return cls(
            air=_moving_waves(rng, days, shape, slope=4.5, memory=4.0, speed=5.0),
            moisture=_moving_waves(rng, days, shape, slope=3.5, memory=1.5, speed=8.0),
            small=_moving_waves(rng, days, shape, slope=2.2, memory=1.5, speed=2.0),
            showers=_moving_waves(rng, days, shape, slope=1.8, memory=0.5, speed=8.0),
            wind=_persistent(rng, days, memory=2.0),
            calm=_persistent(rng, days, memory=3.0),
        )


def _make_landscape(rng: np.random.Generator, config: WorldConfig) -> tuple[Floats, NDArray[np.bool_]]:
    """Raise a range along a winding coast in the west, with ridges and valleys."""
    rows, columns = config.rows, config.columns
    y, x = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    winding = _noise(rng, (rows, columns), slope=3.5)
    inland = x - 0.18 - 0.05 * winding - 0.05 * np.sin(2 * np.pi * y)
    ridge = np.exp(-(((inland - 0.28) / 0.13) ** 2)) + 0.6 * np.exp(-(((inland - 0.62) / 0.10) ** 2))
    rough = _noise(rng, (rows, columns), slope=2.4)
    height = 1900 * ridge * (1 + 0.35 * rough) + 350 * np.clip(inland, 0, 1) + 120 * rough
    sea = inland < 0
    return np.where(sea, 0.0, np.clip(height, 5.0, None)), sea


def _make_temperature(weather: _Weather, season: Floats, height: Floats, sea: NDArray[np.bool_]) -> Floats:
    """Put together daily maximum temperature, K."""
    km = height / 1000
    relief = km - _smooth(km)
    coast = np.exp(-_distance(sea) / 3.0)
    lapse = 6.0 + 1.0 * season + 1.2 * weather.calm
    pool = np.clip(weather.calm, 0, None) * np.clip(-relief, 0, None) * 5.0
    swing = 9.0 * (1 - 0.55 * coast)
    anomaly = 4.0 * weather.air * (1 - 0.4 * coast) + 0.9 * weather.small * (1 + 0.8 * np.abs(relief))
    return np.asarray(
        289.0 + swing * season - lapse * km - pool + anomaly - 1.2 * np.clip(weather.moisture, 0, 2)
    )


def _make_rain(weather: _Weather, season: Floats, height: Floats) -> Floats:
    """Put together daily rain, mm."""
    km = height / 1000
    upslope = np.gradient(_smooth(km, 1), axis=1)
    upslope = upslope / upslope.std()
    wind = 1 + 0.5 * weather.wind
    lift = wind * upslope
    # Air that was wrung out over the ridge to the west is dry in the lee.
    wrung = np.cumsum(np.clip(upslope, 0, None), axis=1) / upslope.shape[1]
    dryness = wind * np.clip(wrung - np.clip(upslope, 0, None) / 6, 0, None)
    supply = 1.0 * weather.moisture + 0.45 * lift - 0.9 * dryness - 0.45 * season - 0.35
    showers = np.exp(0.55 * weather.showers - 0.15)
    return np.asarray(8.0 * np.clip(supply + 0.25 * weather.showers, 0, None) ** 1.25 * showers)


def _make_coarse(whole: xr.Dataset, factor: int) -> xr.Dataset:
    """Give what a coarse model has: block means, a little smoothed, too warm in summer, with drizzle."""
    blocks = whole.coarsen(lat=factor, lon=factor).mean()
    smoothed = blocks.copy()
    for name, field in blocks.data_vars.items():
        smoothed[name] = field.copy(data=0.7 * field.values + 0.3 * _smooth(field.values, 1))
    season = _season(blocks["time"].values)[:, 0, 0]
    smoothed[TEMPERATURE] = smoothed[TEMPERATURE] + 1.0 + 0.8 * xr.DataArray(season, dims="time")
    smoothed[PRECIPITATION] = 0.85 * smoothed[PRECIPITATION] + 0.3 / _SECONDS
    for name in smoothed.data_vars:
        smoothed[name].attrs = dict(whole[name].attrs)
    return smoothed.astype(np.float32)


def _as_dataset(temperature: Floats, rain: Floats, coords: dict[str, NDArray]) -> xr.Dataset:
    dims = ("time", "lat", "lon")
    return xr.Dataset(
        {
            TEMPERATURE: (dims, temperature.astype(np.float32), {"units": "K"}),
            PRECIPITATION: (dims, (rain / _SECONDS).astype(np.float32), {"units": "kg m-2 s-1"}),
        },
        coords,
    )


def _season(time: NDArray) -> Floats:
    """Give the warm season as a wave between -1 in mid-January and 1 in mid-July, shape (time, 1, 1)."""
    day = (time - time.astype("datetime64[Y]")) / np.timedelta64(1, "D")
    return np.asarray(-np.cos(2 * np.pi * (day - 15) / 365.25))[:, None, None]


def _moving_waves(
    rng: np.random.Generator, days: int, shape: tuple[int, int], *, slope: float, memory: float, speed: float
) -> Floats:
    """Let random waves of a power-law spectrum move east and forget, short ones sooner; cut a window out.

    Parameters
    ----------
    slope : float
        Of the power over the wave number.
    memory : float
        Days after which the longest waves are forgotten.
    speed : float
        Cells a day to the east.
    """
    rows, columns = (2 * size for size in shape)
    ky, kx = np.meshgrid(np.fft.fftfreq(rows) * rows, np.fft.rfftfreq(columns) * columns, indexing="ij")
    wave = np.hypot(ky, kx)
    amplitude = np.where(wave > 0, np.maximum(wave, 1.0) ** (-(slope + 1) / 2), 0)
    decay = np.exp(-np.sqrt(np.maximum(wave, 1)) / memory)
    factor = decay * np.exp(-2j * np.pi * kx * speed / columns)
    kick = np.sqrt(1 - decay**2)
    state = _complex_noise(rng, wave.shape)
    fields = np.empty((days, *shape))
    for day in range(days):
        state = factor * state + kick * _complex_noise(rng, wave.shape)
        fields[day] = np.fft.irfft2(amplitude * state, s=(rows, columns))[: shape[0], : shape[1]]
    return fields / fields.std()


def _complex_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.complex128]:
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def _persistent(rng: np.random.Generator, days: int, *, memory: float) -> Floats:
    """Draw a series that forgets, shape (time, 1, 1)."""
    keep = np.exp(-1 / memory)
    kicks = rng.standard_normal(days) * np.sqrt(1 - keep**2)
    series, value = np.empty(days), 0.0
    for day, kick in enumerate(kicks):
        value = keep * value + kick
        series[day] = value
    return series[:, None, None]


def _noise(rng: np.random.Generator, shape: tuple[int, int], *, slope: float) -> Floats:
    return _moving_waves(rng, 1, shape, slope=slope, memory=1.0, speed=0.0)[0]


def _smooth(values: NDArray, radius: int = 2) -> NDArray:
    """Average over a square of cells around each; edges are repeated."""
    width = [(0, 0)] * (values.ndim - 2) + [(radius, radius)] * 2
    padded = np.pad(values, width, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * radius + 1,) * 2, axis=(-2, -1))
    return np.asarray(windows.mean((-2, -1)))


def _distance(sea: NDArray[np.bool_]) -> Floats:
    """Count the cells to the nearest cell of the sea; far away where there is none."""
    if not sea.any():
        return np.full(sea.shape, float(sum(sea.shape)))
    wet = np.argwhere(sea)
    cells = np.argwhere(np.ones_like(sea))
    nearest = np.sqrt(((cells[:, None] - wet[None]) ** 2).sum(-1)).min(1)
    return np.asarray(nearest.reshape(sea.shape), dtype=float)
