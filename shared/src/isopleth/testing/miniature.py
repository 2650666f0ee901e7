"""What the writers of miniature files share: seeded smooth fields, packing, and raw NetCDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from isopleth.errors import require
from isopleth.io.stored import Stored, pack, write_stored

__all__ = [
    "Stored",
    "Written",
    "daily",
    "days_since",
    "make_field",
    "mask_land",
    "pack",
    "to_west_east",
    "write_raw",
]


@dataclass(frozen=True)
class Written:
    """A miniature file, and what a reader must make of it.

    ``truth`` is canonical and holds the values as stored, packing included, so that a reader differs from it
    by float32 rounding only.
    """

    path: Path
    truth: xr.Dataset


def write_raw(
    path: Path,
    variables: Mapping[str, Stored],
    *,
    attrs: Mapping[str, Any] | None = None,
    kind: str = "NETCDF4",
    unlimited: str | None = None,
) -> Path:
    """Write variables as given, in any kind of NetCDF; see `isopleth.io.stored.write_stored`."""
    if kind == "NETCDF4":
        return write_stored(path, variables, attrs=attrs, unlimited=unlimited)
    netcdf = require("netCDF4", install="netCDF4", purpose="write miniature files")
    path.parent.mkdir(parents=True, exist_ok=True)
    with netcdf.Dataset(path, "w", format=kind) as file:
        for variable in variables.values():
            for dim, size in zip(variable.dims, np.shape(variable.values), strict=True):
                if dim not in file.dimensions:
                    file.createDimension(dim, None if dim == unlimited else size)
        for name, variable in variables.items():
            _write_variable(file, name, variable)
        file.setncatts(dict(attrs or {}))
    return path


def _write_variable(file: Any, name: str, variable: Stored) -> None:
    values = np.asarray(variable.values)
    dtype = str if values.dtype.kind in "UO" else values.dtype
    created = file.createVariable(name, dtype, variable.dims, fill_value=variable.fill)
    if dtype is not str:
        created.set_auto_maskandscale(False)
    created.setncatts(dict(variable.attrs))
    created[...] = values


def make_field(
    rng: np.random.Generator,
    coords: Mapping[str, np.ndarray],
    *,
    mean: float,
    spread: float,
    waves: int = 4,
) -> xr.DataArray:
    """Make a smooth seeded field: a few waves around the globe that move along every other dimension.

    Parameters
    ----------
    rng : np.random.Generator
        Whose state decides the field.
    coords : mapping
        Coordinates by dim, in order; the last two are latitude and longitude in degrees.
    mean, spread : float
        Its level and about half its range.

    Returns
    -------
    xr.DataArray
        float64, without missing values.
    """
    dims = tuple(coords)
    lat, lon = (np.deg2rad(np.asarray(coords[dim], float)) for dim in dims[-2:])
    leading = tuple(np.size(coords[dim]) for dim in dims[:-2])
    drift = np.zeros((*leading, 1, 1))
    for axis, size in enumerate(leading):
        shape = [1] * drift.ndim
        shape[axis] = size
        drift = drift + rng.uniform(0.3, 1.0) * np.arange(size).reshape(shape)
    values = np.zeros((*leading, lat.size, lon.size))
    for _ in range(waves):
        number, tilt = rng.integers(1, 4), rng.uniform(-2, 2)
        phase = number * lon + tilt * lat[:, None] + rng.uniform(0, 2 * np.pi) + rng.uniform(0.5, 1.5) * drift
        values += rng.normal() * np.cos(lat)[:, None] * np.sin(phase)
    return xr.DataArray(
        mean + spread * values / max(1e-9, np.abs(values).max()), dims=dims, coords=dict(coords)
    )


def to_west_east(data: xr.DataArray) -> xr.DataArray:
    """Bring longitude to [-180, 180), ascending, as many providers have it."""
    return data.assign_coords(lon=(data["lon"] + 180.0) % 360.0 - 180.0).sortby("lon")


def days_since(times: Sequence[Any] | np.ndarray, start: str, *, per_day: float = 1.0) -> np.ndarray:
    """Count datetime64 times in days (or ``per_day`` parts of them) since a date."""
    return (np.asarray(times) - np.datetime64(start, "ns")) / np.timedelta64(1, "D") * per_day


def daily(start: str, count: int, *, hours: int = 24) -> np.ndarray:
    """Make a regular axis of datetime64[ns]."""
    return np.datetime64(start, "ns") + np.arange(count) * np.timedelta64(hours, "h")


def mask_land(data: xr.DataArray) -> xr.DataArray:
    """Set the same cells, a continent by decree, to missing at all times."""
    lat, lon = xr.broadcast(data["lat"], data["lon"])
    land = (np.abs(lat - 20.0) < 25.0) & (np.abs(lon - 40.0) < 40.0)
    return data.where(~land)
