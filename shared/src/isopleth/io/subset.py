"""Parts of fields: a period of time and a region of the globe, neither of which loads anything."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.io.calendars import format_time

Period = tuple[str | None, str | None]
Region = tuple[float, float, float, float]

_PARTS = ("year", "month", "day", "hour", "minute", "second")
_DATE = re.compile(r"^(\d{4})(?:-(\d\d?)(?:-(\d\d?)(?:[T ](\d\d?)(?::(\d\d)(?::(\d\d))?)?)?)?)?$")
_TOLERANCE_DEG = 1e-6


def select_period(fields: xr.Dataset, period: Period | None) -> xr.Dataset:
    """Keep the times within a period, both ends included.

    An end counts as precisely as it is written, in any calendar: ("2001", "2002-02") runs to the end of
    February. None leaves an end open.

    Raises
    ------
    ConfigError
        If the period is not a pair of dates in order.
    DataError
        If no time lies in it.
    """
    if period is None:
        return fields
    low, high = _parse_period(period)
    if "time" not in fields.coords:
        raise DataError("fields must have times to be cut to a period, got none", hint="leave out period=")
    time = fields["time"]
    inside: Any = np.ones(time.shape, bool)
    if low:
        inside &= _rank_times(time, len(low)) >= _rank(low)
    if high:
        inside &= _rank_times(time, len(high)) <= _rank(high)
    if not inside.any():
        first, last = np.ravel(time.values)[[0, -1]]
        raise DataError(
            f"period must overlap the times of the fields, got {period[0]} to {period[1]} "
            f"against {format_time(first)} to {format_time(last)}"
        )
    return fields if time.ndim == 0 else fields.isel(time=_as_slice(np.flatnonzero(inside)))


def select_region(fields: xr.Dataset, region: Region | None) -> xr.Dataset:
    """Keep the cells whose centre lies within a region, edges included.

    Parameters
    ----------
    fields : xr.Dataset
        Canonical.
    region : tuple of float, optional
        ``(lat_min, lat_max, lon_min, lon_max)`` in degrees, longitudes in any convention, from west to east:
        (-30, 30, 160, -140) crosses the dateline, (0, 60, -10, 10) Greenwich. Longitudes of the result stay
        sorted in [0, 360), so a region across Greenwich comes in two blocks.

    Returns
    -------
    xr.Dataset
        On a curvilinear grid, the smallest block of rows and columns that holds the region.

    Raises
    ------
    ConfigError
        If the region is not one.
    DataError
        If no cell lies in it.
    """
    if region is None:
        return fields
    lat_min, lat_max, west, width = _check_region(region)
    lat, lon = fields["lat"].values, fields["lon"].values
    rows: Any = (lat >= lat_min - _TOLERANCE_DEG) & (lat <= lat_max + _TOLERANCE_DEG)
    eastward = np.mod(lon - west + _TOLERANCE_DEG, 360.0)
    columns = eastward <= width + 2 * _TOLERANCE_DEG
    dims = ("lat", "lon")
    if lat.ndim == 2:
        inside = rows & columns
        rows, columns, dims = inside.any(axis=1), inside.any(axis=0), ("y", "x")
    if not (rows.any() and columns.any()):
        south, north, first, last = np.nanmin(lat), np.nanmax(lat), np.nanmin(lon), np.nanmax(lon)
        raise DataError(
            f"region must overlap the grid, got {tuple(region)} against latitudes {south:g} to {north:g} "
            f"and longitudes {first:g} to {last:g}"
        )
    kept = {
        dim: _as_slice(np.flatnonzero(m))
        for dim, m in zip(dims, (rows, columns), strict=True)
        if dim in fields.dims
    }
    return fields.isel(kept)


def _check_region(region: Region) -> tuple[float, float, float, float]:
    """Return (lat_min, lat_max, west, width)."""
    try:
        lat_min, lat_max, west, east = (float(limit) for limit in region)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"region must be (lat_min, lat_max, lon_min, lon_max), got {region!r}") from error
    if not np.isfinite([lat_min, lat_max, west, east]).all() or lat_min > lat_max:
        raise ConfigError(
            f"region must be (lat_min, lat_max, lon_min, lon_max) in order, got {tuple(region)}"
        )
    width = east - west
    return lat_min, lat_max, west, width if width >= 360.0 else width % 360.0


def _parse_period(period: Period) -> tuple[list[int], list[int]]:
    if isinstance(period, str) or len(period) != 2:
        raise ConfigError(f"period must be (start, end), got {period!r}", hint="such as ('1993-01', '2022')")
    low, high = (_parse_date(text) for text in period)
    depth = min(len(low), len(high))
    if depth and _rank(low[:depth]) > _rank(high[:depth]):
        raise ConfigError(f"period must start before it ends, got {period[0]} to {period[1]}")
    return low, high


def _parse_date(text: str | None) -> list[int]:
    if text is None:
        return []
    match = _DATE.match(str(text).strip())
    parts = [int(group) for group in match.groups() if group is not None] if match else []
    limits = ((0, 9999), (1, 12), (1, 31), (0, 23), (0, 59), (0, 59))
    if not parts or any(not low <= part <= high for part, (low, high) in zip(parts, limits, strict=False)):
        raise ConfigError(f"a date must be like '2001', '2001-02' or '2001-02-28T12', got {text!r}")
    return parts


def _rank(parts: list[int]) -> int:
    """Write date parts as one number that sorts as they do, so that no calendar's dates need be made."""
    rank = 0
    for part in parts:
        rank = rank * 100 + part
    return rank


def _rank_times(time: xr.DataArray, depth: int) -> np.ndarray:
    ranks = np.zeros(time.shape, np.int64)
    flat = time if time.ndim else time.expand_dims("time")
    for part in _PARTS[:depth]:
        ranks = ranks * 100 + getattr(flat.dt, part).values.reshape(time.shape)
    return ranks


def _as_slice(positions: np.ndarray) -> slice | np.ndarray:
    """Prefer a range: it reads in one piece."""
    contiguous = int(positions[-1] - positions[0]) + 1 == positions.size
    return slice(int(positions[0]), int(positions[-1]) + 1) if contiguous else positions
