"""Valid cells of a gridded array as a list, and which of them are neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.grid import Grid


@dataclass(frozen=True)
class Pairs:
    """Pairs of cells that share an edge: flat indices, and the length of the edge in degrees of latitude."""

    first: np.ndarray
    second: np.ndarray
    length: np.ndarray


def neighbour_pairs(grid: Grid) -> Pairs:
    """List every pair of cells of a grid that share an edge, each once, round the globe where it is periodic."""
    rows, columns = grid.shape
    index = np.arange(rows * columns).reshape(rows, columns)
    height = np.ptp(grid.lat_bounds, axis=1)
    width = np.ptp(grid.lon_bounds, axis=1)
    between = (
        grid.lat_bounds.max(axis=1)[:-1]
        if rows > 1 and grid.lat[1] > grid.lat[0]
        else grid.lat_bounds.min(axis=1)[:-1]
    )
    east = np.roll(index, -1, axis=1) if grid.is_periodic and columns > 2 else index[:, 1:]
    first = [index[:, : east.shape[1]].ravel(), index[:-1].ravel()]
    second = [east.ravel(), index[1:].ravel()]
    length = [
        np.repeat(height, east.shape[1]),
        (np.cos(np.radians(between))[:, None] * width).ravel(),
    ]
    return Pairs(np.concatenate(first), np.concatenate(second), np.concatenate(length))


def on_grid(da: xr.DataArray, *, what: str) -> tuple[xr.DataArray, Grid]:
    """Return the array as (..., lat, lon), and its grid."""
    if not isinstance(da, xr.DataArray):
        raise DataError(f"{what} must be an xarray.DataArray, got {type(da).__name__}")
    if not {"lat", "lon"} <= set(da.dims):
        raise DataError(f"{what} must have the dimensions lat and lon, got {da.dims}", where=da.name)
    return da.transpose(..., "lat", "lon"), Grid.of(da)
