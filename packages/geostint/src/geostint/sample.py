"""The embedded sample: simulated weather, a tracer that it carries, and a short real sequence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter

from geostint.config import SampleConfig
from isopleth.grid import EARTH_RADIUS_KM, Grid, great_circle_km
from isopleth.io import open_fields
from isopleth.samples import QuasiGeostrophicParameters, atmosphere

Floats = NDArray[np.float64]

TRACER, WIND = "tracer_mass_fraction", "v_component_of_wind"
LEVEL = 500.0
_STEP_HOURS = 3
_SPIN_UP_DAYS = 10
_SOURCES, _RADIUS_KM, _LIFETIME_DAYS = 16, 900.0, 4.0
# Rows and columns around the grid that a cubic spline needs.
_RIM = 4


def make_sequence(config: SampleConfig) -> xr.Dataset:
    """Simulate fields whose structures move and deform, at the fine step.

    Weather is the core's quasi-geostrophic atmosphere on a 64 x 32 grid. At its 500 hPa winds a passive
    tracer is carried that comes from sixteen places, each for some days at a time, and decays over four days:
    plumes that are drawn out into filaments.

    Parameters
    ----------
    config : SampleConfig

    Returns
    -------
    Dataset
        ``v_component_of_wind`` (time, level, lat, lon) in m s-1 and ``tracer_mass_fraction`` (time, lat,
        lon) in kg kg-1, float32, between 0 and about 1, none missing.
    """
    usual = QuasiGeostrophicParameters()
    weather = atmosphere(
        config.days + _SPIN_UP_DAYS,
        step_hours=_STEP_HOURS,
        seed=config.seed,
        parameters=replace(usual, baroclinicity=config.storminess * usual.baroclinicity),
    )
    weather = weather.sel(level=[LEVEL])
    tracer = advect_tracer(weather, seed=config.seed)
    fields = weather[[WIND]].assign({TRACER: tracer})
    first = _SPIN_UP_DAYS * 24 // _STEP_HOURS
    fields = fields.isel(time=slice(first, None, config.step_hours // _STEP_HOURS))
    return fields.assign_attrs(title="Simulated weather and a tracer", kind="simulated")


def advect_tracer(weather: xr.Dataset, *, seed: int) -> xr.DataArray:
    """Carry a tracer with the wind: semi-Lagrangian, cubic in space (Robert 1981).

    Parameters
    ----------
    weather : Dataset
        Winds in m s-1 of one level, at equal steps, on a global grid.
    seed : int
        Of the sources.

    Returns
    -------
    DataArray, dims (time, lat, lon)
    """
    grid, random = Grid.of(weather), np.random.default_rng(seed)
    seconds = _STEP_HOURS * 3600.0
    sources = _source_maps(grid, random)
    strength = _switches(weather.sizes["time"], random)
    east, north = (weather[f"{name}_component_of_wind"].isel(level=0).values for name in "uv")
    decay = np.exp(-_STEP_HOURS / (24 * _LIFETIME_DAYS))
    field, steps = np.zeros(grid.shape), [np.zeros(grid.shape)]
    for step in range(1, weather.sizes["time"]):
        u, v = (0.5 * (part[step - 1] + part[step]).astype(float) for part in (east, north))
        carried = _sample_at(field, grid, *_departure(grid, u, v, seconds))
        target = np.einsum("s,sij->ij", strength[step], sources)
        # A cubic spline overshoots; a mass fraction does not.
        field = np.maximum(np.maximum(carried * decay, target), 0.0)
        steps.append(field)
    attrs = {"units": "kg kg-1", "long_name": "tracer mass fraction"}
    values = np.stack(steps).astype(np.float32)
    coords = {name: weather[name] for name in ("time", "lat", "lon")}
    return xr.DataArray(values, coords, ("time", "lat", "lon"), attrs=attrs)


def open_sea_temperature() -> xr.Dataset:
    """Open a real sequence: the tropics' monthly sea surface temperature, April 2006 to September 2010.

    OSTIA on 18 x 432 cells, as the package iris-sample-data ships it (Open Government Licence).
    """
    import iris_sample_data  # type: ignore[import-untyped]

    fields = open_fields(str(Path(iris_sample_data.path) / "ostia_monthly.nc"))
    return fields.drop_vars("lead", errors="ignore")


def _source_maps(grid: Grid, random: np.random.Generator) -> Floats:
    """Return what each source holds the tracer at, shape (source, lat, lon)."""
    lat = np.rad2deg(np.arcsin(random.uniform(-0.9, 0.9, _SOURCES)))
    lon = random.uniform(0, 360, _SOURCES)
    distance = great_circle_km(
        grid.lat[None, :, None], grid.lon[None, None, :], lat[:, None, None], lon[:, None, None]
    )
    return np.exp(-0.5 * (np.asarray(distance) / _RADIUS_KM) ** 2)


def _switches(steps: int, random: np.random.Generator) -> Floats:
    """Return how strong each source is at each step: some days on, some days off, with soft edges."""
    phase = random.uniform(0, 2 * np.pi, _SOURCES)
    period = random.uniform(4, 12, _SOURCES) * 24 / _STEP_HOURS
    wave = np.sin(2 * np.pi * np.arange(steps)[:, None] / period + phase)
    return 1 / (1 + np.exp(-6 * wave))


def _departure(grid: Grid, east: Floats, north: Floats, seconds: float) -> tuple[Floats, Floats]:
    """Return latitude and longitude where air came from, in degrees; no pole is in the way."""
    lat, lon = np.deg2rad(grid.lat)[:, None], np.deg2rad(grid.lon)[None, :]
    up = np.stack(np.broadcast_arrays(np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)))
    to_east = np.stack(np.broadcast_arrays(-np.sin(lon), np.cos(lon), 0 * lat))
    to_north = np.stack(
        np.broadcast_arrays(-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat))
    )
    point = up - seconds / (1000 * EARTH_RADIUS_KM) * (east * to_east + north * to_north)
    point /= np.linalg.norm(point, axis=0)
    return np.rad2deg(np.arcsin(point[2])), np.rad2deg(np.arctan2(point[1], point[0])) % 360


def _sample_at(field: Floats, grid: Grid, lat: Floats, lon: Floats) -> Floats:
    """Interpolate by cubic splines; beyond a pole lies the other half of the globe."""
    half = grid.shape[1] // 2
    south, north = (np.roll(field[rows], half, axis=1) for rows in (slice(_RIM), slice(-_RIM, None)))
    tall = np.concatenate([south[::-1], field, north[::-1]])
    wide = np.concatenate([tall[:, -_RIM:], tall, tall[:, :_RIM]], axis=1)
    lat_axis = np.concatenate([-180 - grid.lat[:_RIM][::-1], grid.lat, 180 - grid.lat[-_RIM:][::-1]])
    rows = np.interp(lat, lat_axis, np.arange(len(lat_axis)))
    columns = lon / (360 / grid.shape[1]) + _RIM
    return map_coordinates(spline_filter(wide), [rows, columns], prefilter=False)
