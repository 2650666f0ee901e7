"""One coast for altimeter and models: cells that some have and others have not, counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from isopleth.errors import DataError
from isopleth.grid import EARTH_RADIUS_KM, Grid

# No sea surface stands further from the geoid: what does is another unit, or a fill value read as data.
HIGHEST_M = 10.0


@dataclass(frozen=True, eq=False)
class Coast:
    """A model's part in the common coast.

    Parameters
    ----------
    sea : DataArray of bool, dims (lat, lon)
        The common cells.
    source : array of int, shape (lat * lon,)
        From which of its cells each cell has its value: mostly from itself.
    filled, lost : int
        Common cells with a value from another one; cells of the altimeter that the model does not have and
        that are not filled.
    """

    sea: xr.DataArray
    source: NDArray[np.intp]
    filled: int
    lost: int


def match_coasts(
    observed: xr.DataArray, models: Mapping[str, xr.DataArray], *, coast: str, fill_km: float
) -> dict[str, Coast]:
    """Find the cells that all have, after filling where that is asked for.

    Parameters
    ----------
    observed : DataArray of bool, dims (lat, lon)
        Cells that the altimeter has at all times.
    models : mapping of str to DataArray of bool
        The same for models.
    coast : {"common", "fill"}
        Leave out what some model has not, or let it have the value of its nearest cell.
    fill_km : float
        How far that cell may be.

    Raises
    ------
    DataError
        If no cell is left.
    """
    reach = fill_km if coast == "fill" else 0.0
    sources = {name: _nearest(sea, observed.values, reach) for name, sea in models.items()}
    sea = observed.values & np.logical_and.reduce([s.reshape(observed.shape) >= 0 for s in sources.values()])
    if not sea.any():
        shares = ", ".join(f"{name} {int(mask.sum())}" for name, mask in models.items())
        raise DataError(
            f"altimetry and models must share sea cells, got none "
            f"(altimetry has {int(observed.sum())}, {shares})",
            hint="look at the masks of the files, or lower min_valid",
        )
    common = observed.copy(data=sea).rename("sea_mask").drop_attrs()
    return {
        name: _coast_of(common, source, models[name].values, observed.values)
        for name, source in sources.items()
    }


def fill_coast(field: xr.DataArray, coast: Coast) -> xr.DataArray:
    """Give a field the common coast: values from the model's own or nearest cells, NaN over land."""
    sea, source = coast.sea.values, np.where(coast.source >= 0, coast.source, 0)

    def run(block: NDArray) -> NDArray:
        flat = block.reshape(*block.shape[:-2], -1)
        return np.where(sea, flat[..., source].reshape(block.shape), np.nan).astype(block.dtype)

    return _map_maps(run, field)


def guard_sea(field: xr.DataArray, sea: xr.DataArray, *, where: str) -> xr.DataArray:
    """Refuse, as they are computed, missing values inside the coast and heights that no sea has.

    Raises
    ------
    DataError
        When a block is computed that has some.
    """
    mask = sea.values

    def run(block: NDArray) -> NDArray:
        inside = block[..., mask]
        if inside.size and not np.isfinite(inside).all():
            lost = int((~np.isfinite(inside)).sum())
            raise DataError(
                f"a model must have values over its sea at all times, got {lost} missing",
                where=where,
                hint="a damaged month, or a coast that changes: leave the member out, or fetch it again",
            )
        highest = float(np.abs(inside).max(initial=0.0))
        if highest > HIGHEST_M:
            raise DataError(
                f"sea surface height must lie within {HIGHEST_M:g} m, got {highest:g} m",
                where=where,
                hint="a wrong unit in the file, or a fill value that it does not declare",
            )
        return block

    return _map_maps(run, field)


def _map_maps(function: Callable[[NDArray], NDArray], field: xr.DataArray) -> xr.DataArray:
    """Apply a function of whole maps to each chunk."""
    return xr.apply_ufunc(
        function,
        field.transpose(..., "lat", "lon"),
        input_core_dims=[["lat", "lon"]],
        output_core_dims=[["lat", "lon"]],
        dask="parallelized",
        output_dtypes=[field.dtype],
        keep_attrs=True,
    )


def _nearest(sea: xr.DataArray, wanted: NDArray[np.bool_], reach_km: float) -> NDArray[np.intp]:
    """Say for each cell from which it has its value: itself, the nearest within reach, or none (-1)."""
    own = sea.values.ravel().astype(bool)
    source = np.where(own, np.arange(own.size), -1)
    empty = np.flatnonzero(wanted.ravel() & ~own)
    if reach_km <= 0.0 or not empty.size or not own.any():
        return source
    grid = Grid.of(sea)
    lat, lon = (np.radians(axis.ravel()) for axis in np.meshgrid(grid.lat, grid.lon, indexing="ij"))
    points = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    known = np.flatnonzero(own)
    found = cKDTree(points[known]).query(points[empty])
    chord, nearest = np.asarray(found[0]), np.asarray(found[1], dtype=np.intp)
    arc_km = 2.0 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord / 2.0, 1.0))
    near = arc_km <= reach_km
    source[empty[near]] = known[nearest[near]]
    return source


def _coast_of(
    common: xr.DataArray, source: NDArray[np.intp], own: NDArray[np.bool_], observed: NDArray[np.bool_]
) -> Coast:
    filled = common.values & ~own
    lost = observed & (source.reshape(observed.shape) < 0)
    return Coast(common, source, int(filled.sum()), int(lost.sum()))
