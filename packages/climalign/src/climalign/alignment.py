"""Grids that nest: each coarse cell is a block of factor x factor fine ones."""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from isopleth.errors import ConfigError, DataError
from isopleth.grid import Grid, longitude_difference
from isopleth.io import regrid

Fields = TypeVar("Fields", xr.Dataset, xr.DataArray)
# A step this much longer than most is a hole.
_HOLE = 1.9
# Share of a coarse cell by which its centre may lie off the block's.
_TOLERANCE = 0.05


def block_centres(fine: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    """Give the centres of blocks of cells, shape (n / factor,)."""
    return np.asarray(fine.reshape(-1, factor).mean(1))


def trim(fields: xr.Dataset, factor: int, like: xr.Dataset | None = None) -> xr.Dataset:
    """Leave out rows and columns at the edges until blocks fill the grid.

    Parameters
    ----------
    fields : Dataset
        Fine fields on 1-D lat and lon.
    factor : int
    like : Dataset, optional
        Coarse fields: blocks begin where their cells do, if the grids nest anywhere.
    """
    chosen = {}
    for dim in ("lat", "lon"):
        values = fields[dim].values.astype(float)
        start = 0 if like is None else _find_start(values, like[dim].values.astype(float), factor)
        count = (len(values) - start) // factor
        if count < 1:
            raise DataError(f"the fine grid must have at least {factor} {dim}, got {len(values)}")
        chosen[dim] = slice(start, start + count * factor)
    return fields.isel(chosen)


def align_coarse(
    coarse: xr.Dataset, fine: xr.Dataset, factor: int, *, align: Literal["regrid", "strict"] = "regrid"
) -> xr.Dataset:
    """Bring coarse fields to the blocks of the fine grid.

    Parameters
    ----------
    coarse : Dataset
        On 1-D or 2-D lat and lon.
    fine : Dataset
        Trimmed, see `trim`.
    factor : int
    align : {"regrid", "strict"}
        Whether a grid that does not nest is interpolated (by area where its cells are the smaller ones, else
        bilinearly) or refused.

    Raises
    ------
    DataError
        If the coarse fields do not cover the fine ones, or do not nest and `align` is strict.
    """
    lat, lon = (block_centres(fine[dim].values.astype(float), factor) for dim in ("lat", "lon"))
    coarse = join_seam(coarse)
    found = _select_nested(coarse, lat, lon)
    if found is not None:
        return found
    if align == "strict":
        raise DataError(
            f"each coarse cell must be a block of {factor} x {factor} fine cells, got grids that do not nest",
            hint="choose another factor or region, or align=regrid",
        )
    target = Grid(lat, lon)
    # Pieces of coarse cells would lose the waves that they resolve; large ones must not become steps.
    finer = coarse["lat"].ndim == 1 and _spacing(coarse["lat"].values) < 0.75 * _spacing(lat)
    scattered = coarse["lat"].ndim == 2
    result = regrid(coarse, target, method="conservative" if finer and not scattered else "bilinear")
    known = result.to_dataarray().notnull().any(("variable", "time"))
    if not bool(known.all()):
        raise DataError(
            "the coarse fields must cover the fine ones, got "
            f"{int((~known).sum())} of {known.size} blocks without any value",
            hint="give coarse fields of a larger region, or cut the fine one by region",
        )
    return result


def join_seam(fields: Fields) -> Fields:
    """Let the longitudes of a region across Greenwich follow each other: 0, 5, 350, 355 as -10, -5, 0, 5."""
    lon = fields["lon"].values
    if lon.ndim != 1 or len(lon) < 3:
        return fields
    steps = np.diff(lon)
    last = int(steps.argmax())
    around = lon[0] + 360 - lon[-1]
    if steps[last] < _HOLE * np.median(steps) or around > _HOLE * np.median(steps):
        return fields
    order = np.r_[last + 1 : len(lon), : last + 1]
    return fields.isel(lon=order).assign_coords(lon=np.where(lon > lon[last], lon - 360, lon)[order])


def to_regular(fields: xr.Dataset, resolution: float | None) -> xr.Dataset:
    """Bring fields to a regular grid of so many degrees, by area.

    Raises
    ------
    ConfigError
        If the grid is curvilinear and no resolution is given.
    """
    if resolution is None:
        if fields["lat"].ndim == 2:
            raise ConfigError(
                "resolution must be given for a grid with 2-D coordinates, got none",
                hint="such as --resolution 0.25",
            )
        return join_seam(fields)
    lat, lon = fields["lat"].values, fields["lon"].values
    # Whole multiples: two sources at one resolution get one grid.
    axes = [
        np.arange(np.ceil(np.nanmin(v) / resolution), np.floor(np.nanmax(v) / resolution) + 1) * resolution
        for v in (lat, lon)
    ]
    return regrid(fields, Grid(axes[0], axes[1]), method="conservative")


def _find_start(fine: NDArray[np.float64], coarse: NDArray[np.float64], factor: int) -> int:
    """Find the first fine cell whose block is centred on a coarse cell; 0 where there is none."""
    if coarse.ndim != 1:
        return 0
    spacing = _spacing(fine) * factor
    for start in range(min(factor, len(fine) - factor + 1)):
        centre = fine[start : start + factor].mean()
        if np.abs(coarse - centre).min() < _TOLERANCE * spacing:
            return start
    return 0


def _select_nested(coarse: xr.Dataset, lat: NDArray, lon: NDArray) -> xr.Dataset | None:
    """Pick the coarse cells that are blocks; None where they are not."""
    if coarse["lat"].ndim != 1:
        return None
    rows = np.abs(lat[:, None] - coarse["lat"].values).argmin(1)
    away = np.abs(longitude_difference(lon[:, None], coarse["lon"].values[None].astype(float)))
    columns = away.argmin(1)
    off_lat = np.abs(lat - coarse["lat"].values[rows]).max()
    off_lon = away[np.arange(len(lon)), columns].max()
    same_size = abs(_spacing(coarse["lat"].values) / _spacing(lat) - 1) < _TOLERANCE if len(lat) > 1 else True
    if off_lat > _TOLERANCE * _spacing(lat) or off_lon > _TOLERANCE * _spacing(lon) or not same_size:
        return None
    return coarse.isel(lat=rows, lon=columns).assign_coords(lat=lat, lon=lon)


def _spacing(values: NDArray) -> float:
    return float(np.abs(np.diff(values)).mean()) if len(values) > 1 else 1.0
