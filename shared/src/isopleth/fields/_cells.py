"""Cells of a grid: which are neighbours, and which lie in a polygon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.grid import Grid, longitude_difference, wrap_longitude

OUTSIDE = -1  # the label of a cell in no region


@dataclass(frozen=True)
class Pairs:
    """Pairs of cells that share an edge: flat indices, and the length of the edge in degrees of latitude."""

    first: np.ndarray
    second: np.ndarray
    length: np.ndarray


def neighbour_pairs(grid: Grid) -> Pairs:
    """List every pair of cells that share an edge, each once, round the globe where the grid is periodic."""
    rows, columns = grid.shape
    index = np.arange(rows * columns).reshape(rows, columns)
    height = np.ptp(grid.lat_bounds, axis=1)
    width = np.ptp(grid.lon_bounds, axis=1)
    ascends = rows > 1 and grid.lat[1] > grid.lat[0]
    between = grid.lat_bounds[:-1, 1 if ascends else 0]
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


def inside_polygon(corners: np.ndarray, grid: Grid, name: str) -> np.ndarray:
    """Count crossings of a polygon's edges by the meridian south of each cell centre; odd is inside."""
    if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
        raise DataError(
            f"a basin must be finite (longitude, latitude) corners, got shape {corners.shape}", where=name
        )
    if np.array_equal(corners[0], corners[-1]):
        corners = corners[:-1]
    if len(corners) < 3:
        raise DataError(f"a basin must have three corners, got {len(corners)}", where=name)
    step = longitude_difference(np.roll(corners[:, 0], -1), corners[:, 0])
    if abs(step.sum()) > 1:
        raise DataError("a basin must not go round a pole", where=name, hint="cut it along a meridian")
    start, end = corners[:, 1], np.roll(corners[:, 1], -1)
    odd = np.zeros(grid.shape, dtype=bool)
    for lon, lat, width, north in zip(corners[:, 0], start, step, end, strict=True):
        # Eastward distance from the edge's western end; the half-open edge counts a corner once.
        along = wrap_longitude(grid.lon - (lon if width > 0 else lon + width))
        crossed = along < abs(width)
        share = along / width if width > 0 else 1 + along / width if width < 0 else along
        height = lat + share * (north - lat)
        odd ^= crossed & (grid.lat[:, None] > height)
    return odd
