"""Latitude and longitude as every file has them, and as they are here: ascending, and in [0, 360)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.grid import wrap_longitude
from isopleth.io.axes import Horizontal, find_rotated
from isopleth.io.decode import plan_decoding
from isopleth.io.units import Conversion, convert

LAT_ATTRS = {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north", "axis": "Y"}
LON_ATTRS = {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east", "axis": "X"}
_WIDEST_LON = 1000.0  # CMIP ocean files hold longitudes beyond this where they mean "no cell"


def place_fields(fields: xr.Dataset, raw: xr.Dataset, grid: Horizontal) -> tuple[xr.Dataset, list[str]]:
    """Rename the horizontal dims, attach canonical coordinates and put cells in order, reading no field.

    Parameters
    ----------
    fields : xr.Dataset
        Decoded variables on the file's own horizontal dims, without coordinates there.
    raw : xr.Dataset
        The file, for its coordinate variables.
    grid : Horizontal
        Which of them to use.

    Returns
    -------
    tuple
        The dataset, and what was done to it in words.

    Raises
    ------
    DataError
        For a missing, repeated or impossible coordinate.
    """
    if grid.kind == "rectilinear":
        return _place_rectilinear(fields, raw, grid)
    return _place_curvilinear(fields, raw, grid)


def read_degrees(raw: xr.Variable) -> np.ndarray:
    """Read a coordinate in float64 degrees, unpacked, its fill values NaN."""
    if raw.dtype.kind not in "iuf":
        raise DataError(f"a coordinate must be numbers, got dtype {raw.dtype}")
    values = np.asarray(
        plan_decoding(raw, None, Conversion(1.0, 0.0)).apply(np.asarray(raw.values)), np.float64
    )
    if str(raw.attrs.get("units", "")).lower().startswith("rad"):
        return convert(values, "radian", "degree")
    return values


def unrotate(rlat: np.ndarray, rlon: np.ndarray, pole: xr.Variable) -> tuple[np.ndarray, np.ndarray]:
    """Compute latitude and longitude from those of a rotated pole (CF 1.11, appendix F).

    With the rotated pole at latitude p and longitude m:

        sin(lat) = cos(p) cos(rlat) cos(rlon) + sin(p) sin(rlat)
        lon - m - 180 = atan2(cos(rlat) sin(rlon), sin(p) cos(rlat) cos(rlon) - cos(p) sin(rlat))

    Parameters
    ----------
    rlat, rlon : np.ndarray
        1-D, degrees.
    pole : xr.Variable
        The grid mapping, with ``grid_north_pole_latitude`` and ``grid_north_pole_longitude``.

    Returns
    -------
    tuple of np.ndarray
        ``(rlat, rlon)`` latitudes and longitudes in degrees.
    """
    p, m, turn = (
        float(np.ravel(pole.attrs.get(f"{name}", 0.0))[0])
        for name in ("grid_north_pole_latitude", "grid_north_pole_longitude", "north_pole_grid_longitude")
    )
    phi, lam = np.meshgrid(np.deg2rad(rlat), np.deg2rad(rlon - turn), indexing="ij")
    p = np.deg2rad(p)
    x, y, z = np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)
    lat = np.arcsin(np.clip(np.cos(p) * x + np.sin(p) * z, -1.0, 1.0))
    lon = np.arctan2(y, np.sin(p) * x - np.cos(p) * z)
    return np.rad2deg(lat), np.rad2deg(lon) + m + 180.0


def _place_rectilinear(fields: xr.Dataset, raw: xr.Dataset, grid: Horizontal) -> tuple[xr.Dataset, list[str]]:
    lat, lon = read_degrees(raw.variables[grid.lat]), read_degrees(raw.variables[grid.lon])
    for values, name in ((lat, grid.lat), (lon, grid.lon)):
        if not np.isfinite(values).all():
            bad = int(np.argmin(np.isfinite(values)))
            raise DataError(f"coordinate {name!r} must be finite, got {values[bad]} at position {bad}")
    _check_lat(lat, grid.lat)
    wrapped = np.asarray(wrap_longitude(lon))
    columns, notes = _order_columns(lon, wrapped, grid.lon)
    rows = np.argsort(lat, kind="stable")
    if (np.diff(rows) < 0).any():
        notes.append("put latitude in ascending order")
    placed = _rename(fields, grid.dims, ("lat", "lon"))
    placed = placed.assign_coords(lat=("lat", lat, LAT_ATTRS), lon=("lon", wrapped, LON_ATTRS))
    return placed.isel(lat=_as_slice(rows), lon=_as_slice(columns)), notes


def _order_columns(lon: np.ndarray, wrapped: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    notes = []
    columns = np.arange(lon.size)
    if lon.size > 2 and np.isclose(abs(lon[-1] - lon[0]), 360.0):
        columns = columns[:-1]
        notes.append("left out the last column, which repeats the first one 360 degrees on")
    columns = columns[np.argsort(wrapped[columns], kind="stable")]
    repeated = np.flatnonzero(np.diff(wrapped[columns]) == 0)
    if repeated.size:
        raise DataError(f"longitudes {name!r} must be unique, got {wrapped[columns][repeated[0]]:g} twice")
    if (wrapped != lon).any():
        notes.append("brought longitude to [0, 360)")
    elif (np.diff(columns) < 0).any():
        notes.append("put longitude in ascending order")
    return columns, notes


def _check_lat(lat: np.ndarray, name: str) -> None:
    if np.abs(lat).max(initial=0.0) > 90.0 + 1e-4:
        raise DataError(f"latitudes {name!r} must lie within 90 degrees, got {lat[np.argmax(np.abs(lat))]:g}")
    ordered = np.sort(lat)
    repeated = np.flatnonzero(np.diff(ordered) == 0)
    if repeated.size:
        raise DataError(f"latitudes {name!r} must be unique, got {ordered[repeated[0]]:g} twice")


def _place_curvilinear(fields: xr.Dataset, raw: xr.Dataset, grid: Horizontal) -> tuple[xr.Dataset, list[str]]:
    lat, lon, notes = _read_curved(raw, grid)
    missing = ~(
        np.isfinite(lat) & np.isfinite(lon) & (np.abs(lat) <= 90.0 + 1e-4) & (np.abs(lon) < _WIDEST_LON)
    )
    if missing.all():
        raise DataError(
            f"coordinates {grid.lat!r} and {grid.lon!r} must hold places, got only missing values"
        )
    lat, lon = np.where(missing, np.nan, lat), np.where(missing, np.nan, np.asarray(wrap_longitude(lon)))
    if missing.any():
        notes.append(f"{int(missing.sum())} cells have no latitude and longitude")
    placed = _rename(fields, grid.dims, ("y", "x")).assign_coords(
        lat=(("y", "x"), lat, _without_axis(LAT_ATTRS)), lon=(("y", "x"), lon, _without_axis(LON_ATTRS))
    )
    for dim, name in zip(grid.dims, ("y", "x"), strict=True):
        if dim in raw.variables and raw[dim].dtype.kind in "iuf":
            axis = (name, np.asarray(raw[dim].values, np.float64), _axis_attrs(raw.variables[dim]))
            placed = placed.assign_coords({name: axis})
    return placed, notes


def _read_curved(raw: xr.Dataset, grid: Horizontal) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read 2-D latitudes and longitudes; where the file holds none, compute them from its rotated pole."""
    if grid.kind == "curvilinear":
        lat, lon = read_degrees(raw.variables[grid.lat]), read_degrees(raw.variables[grid.lon])
        rotated = find_rotated(raw)
        if rotated is None or (np.isfinite(lat) & np.isfinite(lon)).any():
            return lat, lon, []
        grid = rotated
    pole = next(v for v in raw.variables.values() if "grid_north_pole_latitude" in v.attrs)
    rlat, rlon = (read_degrees(raw.variables[name]) for name in (grid.lat, grid.lon))
    return *unrotate(rlat, rlon, pole), ["computed latitude and longitude from the rotated pole"]


def _rename(fields: xr.Dataset, old: tuple[str, str], new: tuple[str, str]) -> xr.Dataset:
    return fields.rename_dims({a: b for a, b in zip(old, new, strict=True) if a != b})


def _without_axis(attrs: dict[str, str]) -> dict[str, str]:
    """Two-dimensional coordinates are no axes."""
    return {key: value for key, value in attrs.items() if key != "axis"}


def _axis_attrs(raw: xr.Variable) -> dict[str, str]:
    return {key: raw.attrs[key] for key in ("standard_name", "long_name", "units") if key in raw.attrs}


def _as_slice(order: np.ndarray) -> slice | np.ndarray:
    """Prefer a range, forwards or backwards: it reads in one piece."""
    if order.size > 1 and (np.diff(order) == -1).all() and order[-1] == 0:
        return slice(None, None, -1)
    return slice(int(order[0]), int(order[-1]) + 1) if (np.diff(order) == 1).all() else order
