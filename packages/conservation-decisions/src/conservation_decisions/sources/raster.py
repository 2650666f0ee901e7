"""Landscapes from GeoTIFFs: one for the cost, one a feature, the bands of a feature its members."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd  # type: ignore[import-untyped]
import numpy as np
import rioxarray
import xarray as xr
from numpy.typing import NDArray

from conservation_decisions.geometry import grid_edges
from conservation_decisions.landscape import Floats, Landscape
from isopleth.errors import DataError

_FLAGS = ("protected", "locked_in", "locked_out")
_SUFFIXES = (".tif", ".tiff")


def read_rasters(folder: Path) -> Landscape:
    """Read a folder of GeoTIFFs of one grid.

    ``cost.tif`` says where units are: cells with a cost. ``protected.tif``, ``locked_in.tif``,
    ``locked_out.tif`` (1 is yes), ``group.tif`` (whole numbers), ``threat.tif`` are optional; every other
    file is a feature. No data in a feature is an amount of 0.
    """
    files = {path.stem.lower(): path for path in sorted(folder.iterdir()) if path.suffix.lower() in _SUFFIXES}
    known = {name: files.pop(name) for name in ("cost", *_FLAGS, "group", "threat") if name in files}
    if not files:
        raise DataError("a folder of rasters must hold a GeoTIFF for each feature, got none", where=folder)
    return from_rasters(known.pop("cost"), files, **known)


def from_rasters(cost: str | Path, features: Mapping[str, str | Path], **others: str | Path) -> Landscape:
    """Build a landscape from GeoTIFFs of one grid.

    Parameters
    ----------
    cost : path
        No data where no unit is.
    features : mapping of name to path
        Bands are members; one band beside several is the same in all members.
    **others : path
        ``protected``, ``locked_in``, ``locked_out``, ``group``, ``threat``.

    Raises
    ------
    DataError
        If a file cannot be read, has no coordinate reference system, or lies on another grid; or if no unit
        is left.
    """
    base = _open(cost)
    if base.rio.crs is None:
        raise DataError("a raster must have a coordinate reference system, got none", where=cost)
    values = base.values[0]
    rows, cols = np.nonzero(np.isfinite(values))
    if not rows.size:
        raise DataError("the cost must be known in at least one cell, got none", where=cost)
    stacks = {name: _read_like(path, base) for name, path in features.items()}
    members = max(len(stack) for stack in stacks.values())
    amount = np.stack([_repeat(stack, members, name) for name, stack in stacks.items()], axis=1)
    amount = np.nan_to_num(amount, nan=0.0)
    extra = {name: _read_like(path, base)[..., rows, cols] for name, path in others.items()}
    heights, widths, areas = measure_cells(base)
    edges, exposed = grid_edges(rows, cols, heights, widths)
    inside = amount[..., rows, cols]
    return Landscape.build(
        values[rows, cols],
        inside if members > 1 else inside[0],
        features=list(features),
        units=np.ravel_multi_index((rows, cols), values.shape),
        edges=edges,
        exposed=exposed,
        area=areas[rows],
        total=amount.mean(axis=0).sum(axis=(1, 2)),
        x=base["x"].values[cols],
        y=base["y"].values[rows],
        row=rows,
        col=cols,
        attrs=describe_raster(base),
        **_arrange(extra),  # type: ignore[arg-type]
    )


def describe_raster(raster: xr.DataArray) -> dict[str, Any]:
    """Note a raster's grid as attributes that any store can hold."""
    return {
        "crs": raster.rio.crs.to_wkt(),
        "raster_shape": list(raster.shape[-2:]),
        "raster_transform": [float(value) for value in raster.rio.transform()][:6],
    }


def measure_cells(raster: xr.DataArray) -> tuple[Floats, tuple[Floats, Floats], Floats]:
    """Measure the cells of each row on the ground.

    Returns
    -------
    heights, (upper, lower widths), areas
        Each of shape (row,), m and m2: geodesic where the raster is in degrees.
    """
    a, b, _, d, e, top = list(raster.rio.transform())[:6]
    if b or d:
        raise DataError("a raster must not be rotated, got a transform with shear")
    count = raster.sizes["y"]
    crs = gpd.GeoSeries([], crs=raster.rio.crs).crs
    if not crs.is_geographic:
        unit = float(crs.axis_info[0].unit_conversion_factor)
        wide, high = np.full(count, abs(a) * unit), np.full(count, abs(e) * unit)
        return high, (wide, wide), wide * high
    geod = crs.get_geod()
    lat = np.clip(top + e * np.arange(count + 1), -90.0, 90.0)
    zero = np.zeros(count + 1)
    around = geod.inv(zero, lat, zero + abs(a), lat)[2]
    along = geod.inv(zero[1:], lat[:-1], zero[1:], lat[1:])[2]
    box = [[0.0, abs(a), abs(a), 0.0], [0, 0, 1, 1]]
    areas = [
        abs(geod.polygon_area_perimeter(box[0], [lat[k], lat[k], lat[k + 1], lat[k + 1]])[0])
        for k in range(count)
    ]
    return np.asarray(along), (np.asarray(around[:-1]), np.asarray(around[1:])), np.array(areas)


def _open(path: str | Path) -> xr.DataArray:
    """Open one GeoTIFF as (band, y, x), NaN where it has no data."""
    try:
        with rioxarray.open_rasterio(path, masked=True) as found:  # type: ignore[union-attr]
            return found.load().astype(np.float64)  # type: ignore[return-value]
    except Exception as error:  # GDAL raises kinds of its own
        raise DataError("a raster must be a GeoTIFF that can be read", where=path) from error


def _read_like(path: str | Path, base: xr.DataArray) -> Floats:
    raster = _open(path)
    alike = raster.shape[-2:] == base.shape[-2:] and raster.rio.crs == base.rio.crs
    if not alike or not np.allclose(list(raster.rio.transform()), list(base.rio.transform()), rtol=1e-9):
        raise DataError(
            f"rasters must lie on one grid, got {raster.shape[-2:]} cells beside {base.shape[-2:]}",
            where=path,
            hint="gdalwarp or rioxarray's reproject_match brings one onto another's grid",
        )
    return raster.values


def _repeat(stack: Floats, members: int, name: str) -> Floats:
    if len(stack) not in (1, members):
        raise DataError(f"features must have 1 or {members} bands, got {len(stack)} for {name!r}")
    return np.broadcast_to(stack, (members, *stack.shape[1:]))


def _arrange(extra: Mapping[str, Floats]) -> dict[str, NDArray[Any]]:
    """Bring the optional rasters, (band, unit), to the layout's types."""
    found: dict[str, NDArray[Any]] = {}
    for name, values in extra.items():
        if name == "threat":
            found[name] = values if len(values) > 1 else values[0]
        elif name == "group":
            found[name] = np.where(np.isfinite(values[0]), values[0], -1).astype(np.int64)
        else:
            found[name] = values[0] == 1
    return found
