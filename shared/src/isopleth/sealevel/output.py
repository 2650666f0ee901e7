"""What a projection leaves behind: a CF dataset, GeoTIFF on request, a table of coastal cities, a summary."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from isopleth.errors import ConfigError, DataError, require
from isopleth.io.write import Provenance, atomic_path, write_json, write_netcdf, write_text, write_zarr
from isopleth.sealevel.cities import City, find_cities, locate_cities, sample_cities
from isopleth.sealevel.global_mean import ocean_mean
from isopleth.sealevel.settings import check_formats

_QUANTILES = (0.05, 0.5, 0.95)


def describe_output(
    central: xr.DataArray,
    *,
    name: str,
    long_name: str,
    lower: xr.DataArray | None = None,
    upper: xr.DataArray | None = None,
    level: float | None = None,
    spread: xr.DataArray | None = None,
    segment: xr.DataArray | None = None,
    contributions: xr.DataArray | None = None,
    extra: Mapping[str, xr.DataArray] | None = None,
) -> xr.Dataset:
    """Put a prediction and what belongs to it into one dataset with CF attributes.

    Parameters
    ----------
    central : DataArray, dims ([time,] lat, lon)
        The prediction, with units in its attributes.
    name, long_name : str
        Of the variable; the others are called after it.
    lower, upper : DataArray, optional
        Ends of the interval; both or none, with its `level`.
    level : float, optional
        Nominal coverage of the interval, in (0, 1).
    spread : DataArray, optional
        Standard deviation.
    segment : DataArray of int, dims (lat, lon), optional
        Partition, with `flag_values` and `flag_meanings`.
    contributions : DataArray, dims (model, ..., lat, lon), optional
        What each model adds to the prediction.
    extra : mapping of str to DataArray, optional
        Other fields, under their own names.

    Returns
    -------
    Dataset

    Raises
    ------
    ConfigError
        If an interval lacks an end or its level.
    DataError
        If the prediction has no units, or a lower end lies above its upper.
    """
    units = str(central.attrs.get("units", ""))
    if not units:
        raise DataError("a prediction must have units, got none", where=name)
    if not ((lower is None) == (upper is None) == (level is None)):
        raise ConfigError("lower, upper and level must be given together, got some of them")
    if lower is not None and upper is not None and bool((lower > upper).any()):
        raise DataError("lower ends must not lie above upper ends, got some that do", where=name)
    attached = _attach(name, long_name, units, level, {"lower": lower, "upper": upper, "spread": spread})
    beside = {"ancillary_variables": " ".join(attached)} if attached else {}
    parts = {name: central.assign_attrs(long_name=long_name, units=units, **beside), **attached}
    if segment is not None:
        parts["segment"] = segment
    if contributions is not None:
        text = f"contribution of each model to {long_name}"
        parts[f"{name}_contribution"] = contributions.assign_attrs(long_name=text, units=units)
    return _join({**parts, **(extra or {})})


def _attach(
    name: str, long_name: str, units: str, level: float | None, fields: Mapping[str, xr.DataArray | None]
) -> dict[str, xr.DataArray]:
    """Name and describe what a prediction has beside it."""
    what = {
        "lower": f"lower end of the {100 * (level or 0):g} % interval of",
        "upper": f"upper end of the {100 * (level or 0):g} % interval of",
        "spread": "standard deviation of",
    }
    of_interval = {"lower": {"level": level}, "upper": {"level": level}}
    return {
        f"{name}_{kind}": field.assign_attrs(
            long_name=f"{what[kind]} {long_name}", units=units, **of_interval.get(kind, {})
        )
        for kind, field in fields.items()
        if field is not None
    }


def _join(parts: Mapping[str, xr.DataArray]) -> xr.Dataset:
    try:
        xr.align(*parts.values(), join="exact", copy=False)
    except ValueError as error:
        raise DataError(f"the fields of an output must be on one grid, got {error}") from error
    return xr.Dataset(dict(parts))


def write_output(
    ds: xr.Dataset,
    folder: str | Path,
    name: str,
    *,
    formats: Sequence[str] = ("netcdf",),
    provenance: Provenance | None = None,
) -> dict[str, str]:
    """Write a dataset in each of some formats.

    Parameters
    ----------
    ds : Dataset
        As from `describe_output`.
    folder : path
    name : str
        Of the files, without ending.
    formats : sequence of {"netcdf", "zarr", "geotiff"}
        GeoTIFF writes one file for each variable with dims (lat, lon).
    provenance : Provenance, optional

    Returns
    -------
    dict of str to str
        Where each went, by format; the folder for GeoTIFF.
    """
    check_formats(tuple(formats))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, str] = {}
    for one in dict.fromkeys(formats):
        if one == "netcdf":
            written[one] = str(write_netcdf(ds, folder / f"{name}.nc", provenance=provenance))
        elif one == "zarr":
            dim = "time" if "time" in ds.dims else "lat"
            written[one] = str(write_zarr(ds, folder / f"{name}.zarr", provenance=provenance, dim=dim))
        else:
            written[one] = str(write_geotiffs(ds, folder / f"{name}_geotiff"))
    return written


def write_geotiffs(ds: xr.Dataset, folder: str | Path) -> Path:
    """Write every variable with dims (lat, lon) as a GeoTIFF: north up, from 180°W, EPSG:4326, float32.

    Raises
    ------
    MissingDependencyError
        Without rioxarray.
    DataError
        If no variable is a map, or the grid is not regular.
    """
    require("rioxarray", install="rioxarray", purpose="write GeoTIFF")
    maps = [str(variable) for variable in ds.data_vars if set(ds[variable].dims) == {"lat", "lon"}]
    if not maps:
        raise DataError("a dataset must have maps (lat, lon) to be written as GeoTIFF, got none")
    for axis in ("lat", "lon"):
        if ds.sizes[axis] < 2 or not np.allclose(np.diff(ds[axis]), np.diff(ds[axis])[0], rtol=1e-4):
            raise DataError(f"the {axis} axis must be regular to be written as GeoTIFF, got one that is not")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    west = (ds["lon"] + 180.0) % 360.0 - 180.0
    turned = ds[maps].assign_coords(lon=west).sortby("lon").sortby("lat", ascending=False)
    for variable in maps:
        _write_geotiff(turned[variable].transpose("lat", "lon"), folder / f"{variable}.tif")
    return folder


def _write_geotiff(field: xr.DataArray, path: Path) -> None:
    integers = field.dtype.kind in "iu"
    raster = field.astype(np.int16 if integers else np.float32).drop_attrs()
    raster = raster.rename(lat="y", lon="x").rio.write_crs("EPSG:4326")
    raster = raster.rio.write_nodata(-1 if integers else np.nan)
    tags = {key: str(value) for key, value in field.attrs.items() if isinstance(value, str | float | int)}
    with atomic_path(path) as partial:
        raster.rio.to_raster(partial, driver="GTiff", compress="deflate", tags=tags)


def tabulate_cities(
    ds: xr.Dataset, names: Sequence[str] | None = None, *, limit_km: float = 300.0
) -> list[dict[str, Any]]:
    """Read every map of an output at the sea cells nearest to coastal cities; the far ones are left out.

    Parameters
    ----------
    ds : Dataset
        As from `describe_output`; variables with other dims are not read.
    names : sequence of str, optional
        Of `isopleth.sealevel.cities.CITIES`; all by default.
    limit_km : float
        How far a sea cell may be.

    Returns
    -------
    list of dict
        A row a city.
    """
    maps = {
        str(name): field.astype(np.float64)
        for name, field in ds.data_vars.items()
        if set(field.dims) == {"lat", "lon"} and name != "segment"
    }
    if not maps:
        return []
    valid = next(iter(maps.values())).notnull()
    for field in maps.values():
        valid = valid & field.notnull()
    cells, _ = locate_cities(valid, find_cities(names), limit_km=limit_km)
    near: list[City] = [cell.city for cell in cells]
    return list(sample_cities(maps, near, limit_km=limit_km)) if near else []


def write_table(rows: Sequence[Mapping[str, Any]], path: str | Path, *, decimals: int = 4) -> Path:
    """Write rows with the same keys as CSV, numbers rounded; an empty table is an empty file."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows([{key: _rounded(value, decimals) for key, value in row.items()} for row in rows])
    return write_text(path, text.getvalue())


def _rounded(value: Any, decimals: int) -> Any:
    return round(float(value), decimals) if isinstance(value, float | np.floating) else value


def summarise(ds: xr.Dataset, name: str) -> dict[str, Any]:
    """Sum a map up in a few numbers, by area, over all and by segment.

    Parameters
    ----------
    ds : Dataset
        As from `describe_output`, with dims (lat, lon).
    name : str
        Of the predicted variable.

    Returns
    -------
    dict
        Cells, units, area mean, root mean square, 5th, 50th and 95th area-weighted percentile, and, with an
        interval, its mean width and the share of the area where it excludes zero; the mean in each segment.
    """
    field = ds[name].transpose("lat", "lon")
    summary: dict[str, Any] = {
        "units": field.attrs.get("units", ""),
        "cells": int(field.notnull().sum()),
        "mean": float(ocean_mean(field)),
        "rms": float(np.sqrt(ocean_mean(field**2))),
        **{f"p{100 * q:02.0f}": value for q, value in zip(_QUANTILES, _quantiles(field), strict=True)},
    }
    if f"{name}_lower" in ds:
        low, high = ds[f"{name}_lower"], ds[f"{name}_upper"]
        away = ((low > 0) | (high < 0)).where(field.notnull()).astype(np.float64)
        summary |= {
            "level": float(low.attrs["level"]),
            "mean_width": float(ocean_mean(high - low)),
            "share_away_from_zero": float(ocean_mean(away)),
        }
    if "segment" in ds:
        labels = ds["segment"].transpose("lat", "lon")
        numbers = np.unique(labels.values[field.notnull().values])
        summary["segments"] = {
            str(int(number)): float(ocean_mean(field.where(labels == number))) for number in numbers
        }
    return summary


def _quantiles(field: xr.DataArray) -> list[float]:
    """Return area-weighted quantiles: the least values that so much of the area does not exceed."""
    from isopleth.grid import Grid

    areas = Grid.of(field).cell_areas_km2.ravel()
    values = field.values.ravel()
    known = np.isfinite(values)
    order = np.argsort(values[known])
    share = np.cumsum(areas[known][order])
    place = np.searchsorted(share / share[-1], _QUANTILES).clip(max=known.sum() - 1)
    return [float(value) for value in values[known][order][place]]


def write_summary(ds: xr.Dataset, name: str, path: str | Path, **more: Any) -> Path:
    """Write `summarise` as JSON, with what else is to stand there."""
    return write_json(path, {**summarise(ds, name), **more})
