"""What is written of units: tables, GeoTIFF, GeoPackage, GeoJSON, zarr; coarsened where one asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from conservation_decisions import __version__
from conservation_decisions.config import OutputConfig
from conservation_decisions.landscape import Landscape
from isopleth.errors import DataError
from isopleth.io import Provenance, atomic_path, write_text, write_zarr

_PROVENANCE = Provenance(tool="conservation-decisions", version=__version__)


def write_layers(
    landscape: Landscape, layers: Mapping[str, NDArray[Any]], folder: Path, name: str, output: OutputConfig
) -> list[Path]:
    """Write numbers of the units in every format that is asked for.

    Parameters
    ----------
    landscape : Landscape
    layers : mapping of name to array (unit,)
        NaN where nothing is known.
    folder : Path
    name : str
        Of the files, without ending.
    output : OutputConfig
        With `coarsen_m`, every format holds the means over squares of that side, and no unit numbers.

    Returns
    -------
    list of Path

    Raises
    ------
    DataError
        If a format needs a grid or shapes that the landscape has not, or there are no centres to coarsen by.
    """
    table = pd.DataFrame({"unit": landscape.dataset["unit"].values, **layers})
    if output.coarsen_m:
        grid = coarsen(landscape, layers, output.coarsen_m)
        table = grid.to_dataframe().dropna(how="all").reset_index()
    elif {"geotiff"} & set(output.formats):
        grid = to_grid(landscape, layers)
    written = []
    for kind in output.formats:
        match kind:
            case "csv":
                written.append(write_text(folder / f"{name}.csv", table.to_csv(index=False)))
            case "zarr":
                stored = grid if output.coarsen_m else _to_dataset(landscape, layers)
                written.append(
                    write_zarr(
                        stored,
                        folder / f"{name}.zarr",
                        provenance=_PROVENANCE,
                        dim=str(next(iter(stored.sizes))),
                    )
                )
            case "geotiff":
                written.append(_write_geotiff(grid, folder / f"{name}.tif"))
            case _:
                shapes = _grid_shapes(grid, output.coarsen_m) if output.coarsen_m else _unit_shapes(landscape)
                written.append(_write_vector(table, shapes, landscape, folder, name, kind))
    return written + _draw_maps(landscape, layers, folder, name, output)


def _draw_maps(
    landscape: Landscape, layers: Mapping[str, NDArray[Any]], folder: Path, name: str, output: OutputConfig
) -> list[Path]:
    if not output.maps or not {"x", "y"} <= set(landscape.dataset):
        return []
    from conservation_decisions.figures import draw_units

    caption = f"{name.capitalize()}: {', '.join(layers).replace('_', ' ')}."
    return [draw_units(folder, name, landscape, layers, caption, coarsen_m=output.coarsen_m)]


def coarsen(landscape: Landscape, layers: Mapping[str, NDArray[Any]], side_m: float) -> xr.Dataset:
    """Average numbers of units over squares, so that no single unit can be read off.

    Parameters
    ----------
    landscape : Landscape
        With centres; where those are degrees, squares are as many degrees as the side is along a meridian.
    layers : mapping of name to array (unit,)
    side_m : float

    Returns
    -------
    Dataset
        (y, x), y descending, NaN where no unit is.
    """
    from conservation_decisions.geometry import is_geographic

    centres = landscape.centres
    side = side_m / 111_195.0 if is_geographic(landscape) else side_m
    place = np.floor(centres / side).astype(np.int64)
    low = place.min(axis=0)
    width, height = place.max(axis=0) - low + 1
    cell = (place[:, 1] - low[1]) * width + place[:, 0] - low[0]
    coords = {
        "y": (np.arange(height)[::-1] + low[1] + 0.5) * side,
        "x": (np.arange(width) + low[0] + 0.5) * side,
    }
    found = {}
    for name, values in layers.items():
        known = np.isfinite(np.asarray(values, np.float64))
        count = np.bincount(cell[known], minlength=width * height)
        total = np.bincount(cell[known], np.asarray(values, np.float64)[known], width * height)
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        found[name] = (("y", "x"), mean.reshape(height, width)[::-1])
    return xr.Dataset(
        found, coords=coords, attrs={"crs": landscape.dataset.attrs.get("crs", ""), "side_m": side_m}
    )


def to_grid(landscape: Landscape, layers: Mapping[str, NDArray[Any]]) -> xr.Dataset:
    """Put numbers of units back on the raster that they came from; NaN where no unit is.

    Raises
    ------
    DataError
        If the units came from no raster.
    """
    attrs = landscape.dataset.attrs
    if "raster_transform" not in attrs:
        raise DataError(
            "units must come from a raster to become one, got none", hint="use gpkg, geojson or csv"
        )
    a, _, left, _, e, top = attrs["raster_transform"]
    height, width = (int(size) for size in attrs["raster_shape"])
    rows, cols = (landscape.dataset[name].values for name in ("row", "col"))
    found = {}
    for name, values in layers.items():
        field = np.full((height, width), np.nan)
        field[rows, cols] = values
        found[name] = (("y", "x"), field)
    coords = {"y": top + e * (np.arange(height) + 0.5), "x": left + a * (np.arange(width) + 0.5)}
    return xr.Dataset(found, coords=coords, attrs={"crs": attrs.get("crs", "")})


def _to_dataset(landscape: Landscape, layers: Mapping[str, NDArray[Any]]) -> xr.Dataset:
    variables = {name: ("unit", np.asarray(values)) for name, values in layers.items()}
    return xr.Dataset(variables, coords={"unit": landscape.dataset["unit"].values})


def _write_geotiff(grid: xr.Dataset, path: Path) -> Path:
    """Write one band a layer, 32-bit, NaN for no data."""
    import rioxarray  # noqa: F401 - gives xarray its .rio

    stack = grid.to_dataarray("band").astype(np.float32).assign_attrs(long_name=tuple(map(str, grid)))
    stack = stack.assign_coords(band=np.arange(1, stack.sizes["band"] + 1)).rio.write_nodata(np.nan)
    if grid.attrs["crs"]:
        stack = stack.rio.write_crs(grid.attrs["crs"])
    with atomic_path(path) as partial:
        stack.rio.to_raster(partial, compress="deflate")
    return path


def _grid_shapes(grid: xr.Dataset, side_m: float) -> list[Any]:
    import shapely  # type: ignore[import-untyped]

    filled = grid.to_dataframe().dropna(how="all").reset_index()
    # One cell has no neighbour to tell the side by.
    steps = [abs(float(np.diff(grid[axis].values[:2])[0])) for axis in ("y", "x") if grid.sizes[axis] > 1]
    half = (steps[0] if steps else side_m) / 2
    return [
        shapely.box(x - half, y - half, x + half, y + half)
        for x, y in zip(filled["x"], filled["y"], strict=True)
    ]


def _unit_shapes(landscape: Landscape) -> list[Any]:
    import shapely

    from conservation_decisions.geometry import unpack_shapes

    ds = landscape.dataset
    if "shape_bytes" in ds:
        return unpack_shapes(ds["shape_bytes"].values, ds["shape_end"].values)
    if "raster_transform" not in ds.attrs:
        raise DataError("units must have shapes or come from a raster to become a vector file, got neither")
    a, _, left, _, e, top = ds.attrs["raster_transform"]
    x, y = left + a * ds["col"].values, top + e * ds["row"].values
    return list(
        shapely.box(np.minimum(x, x + a), np.minimum(y, y + e), np.maximum(x, x + a), np.maximum(y, y + e))
    )


def _write_vector(
    table: pd.DataFrame, shapes: list[Any], landscape: Landscape, folder: Path, name: str, kind: str
) -> Path:
    import geopandas as gpd  # type: ignore[import-untyped]

    frame = gpd.GeoDataFrame(table, geometry=shapes, crs=landscape.dataset.attrs.get("crs") or None)
    path = folder / f"{name}.{kind}"
    if kind == "geojson" and frame.crs is not None:
        frame = frame.to_crs("EPSG:4326")  # RFC 7946 knows no other
    with atomic_path(path) as partial:
        frame.to_file(partial, driver={"gpkg": "GPKG", "geojson": "GeoJSON"}[kind])
    return path
