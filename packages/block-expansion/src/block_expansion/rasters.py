"""Rasters with many bands: files in the core's forms and GeoTIFFs, whole or patch by patch."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isopleth.errors import DataError, require

RASTER_ENDINGS = (".tif", ".tiff", ".nc", ".nc4", ".zarr")
_OPEN_FILES = 16


class Patch(NamedTuple):
    """A raster, whole, or the square around a place: pixels from the upper left, or its own coordinates."""

    path: Path
    row: int | None = None
    column: int | None = None
    y: float | None = None
    x: float | None = None


@dataclass(frozen=True)
class RasterReader:
    """Reads bands as floats in the file's units, shape (band, row, column); NaN for no data.

    North is up, in GeoTIFFs as they are stored.

    Parameters
    ----------
    size : int
        Pixels of a side. A patch is cut out as it is; of a whole raster the middle square is taken, and
        brought to this size by averaging or interpolating linearly.
    channels : int
        Bands.
    bands : tuple of str
        Their names: variables of a NetCDF file or zarr store (``reflectance_1`` is the first layer of one
        with a band dimension), descriptions of a GeoTIFF's bands, or their numbers from 1. All, in the
        file's order, if empty.
    """

    size: int
    channels: int
    bands: tuple[str, ...] = ()

    def __call__(self, patch: Patch) -> np.ndarray:
        """Read one.

        Raises
        ------
        DataError
            If the file is no raster, lacks a band, or the patch reaches beyond it.
        """
        stack = open_stack(patch.path, self.bands)
        if len(stack.names) != self.channels:
            raise DataError(
                f"a raster must have as many bands as the network has channels, {self.channels}, got "
                f"{len(stack.names)}: {', '.join(stack.names)}",
                where=patch.path, hint="name them in data.bands, or set backbone.channels",
            )  # fmt: skip
        values = self._read_middle(stack) if patch == Patch(patch.path) else self._cut(stack, patch)
        if np.isnan(values).all(axis=(1, 2)).any():
            raise DataError("every band of a patch must have a value, got none", where=describe_patch(patch))
        return values

    def _read_middle(self, stack: Stack) -> np.ndarray:
        from PIL import Image

        rows, columns = stack.shape
        side = min(rows, columns)
        top, left = (rows - side) // 2, (columns - side) // 2
        values = stack.read(slice(top, top + side), slice(left, left + side))
        if side == self.size:
            return values
        shape = (self.size, self.size)
        return np.stack(
            [np.asarray(Image.fromarray(b).resize(shape, Image.Resampling.BILINEAR)) for b in values]
        )

    def _cut(self, stack: Stack, patch: Patch) -> np.ndarray:
        row, column = stack.find(patch)
        top, left = row - self.size // 2, column - self.size // 2
        rows, columns = stack.shape
        if top < 0 or left < 0 or top + self.size > rows or left + self.size > columns:
            raise DataError(
                f"a patch of {self.size} pixels must lie within its raster of {rows} by {columns}, got its "
                f"middle at row {row}, column {column}",
                where=patch.path,
            )
        return stack.read(slice(top, top + self.size), slice(left, left + self.size))


@dataclass(frozen=True, eq=False)
class Stack:
    """Bands of an open raster, unread.

    Attributes
    ----------
    path : Path
    names : tuple of str
    layers : tuple of DataArray
        Each over (y, x) or (lat, lon).
    """

    path: Path
    names: tuple[str, ...]
    layers: tuple[Any, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.layers[0].shape
        return rows, columns

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Read a rectangle of every band."""
        try:
            parts = [np.asarray(layer[rows, columns].values, np.float32) for layer in self.layers]
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(f"a raster must be readable, got {error}", where=self.path) from error
        return np.stack(parts)

    def find(self, patch: Patch) -> tuple[int, int]:
        """Give the pixel in the middle of a patch."""
        if patch.row is not None and patch.column is not None:
            return patch.row, patch.column
        return self._nearest(0, patch.y, patch), self._nearest(1, patch.x, patch)

    def _nearest(self, axis: int, value: float | None, patch: Patch) -> int:
        layer = self.layers[0]
        name = layer.dims[axis]
        if value is None or name not in layer.coords:
            raise DataError(f"a raster must have coordinates along {name}, got none", where=patch.path)
        found = np.asarray(layer[name].values, np.float64)
        wanted = value % 360 if name == "lon" else value
        place = int(np.abs(found - wanted).argmin())
        if abs(found[place] - wanted) > np.abs(np.diff(found)).max(initial=0.0):
            raise DataError(
                f"a patch must lie within its raster, {name} from {found.min():g} to {found.max():g}, "
                f"got {value:g}",
                where=patch.path,
            )
        return place


def open_stack(path: Path, bands: tuple[str, ...] = ()) -> Stack:
    """Open a raster; the few last ones stay open, for patches come in crowds from one scene.

    Raises
    ------
    DataError
        If it is none, or lacks a band.
    """
    return _open_stack(path, path.stat().st_mtime_ns, bands)


@lru_cache(maxsize=_OPEN_FILES)
def _open_stack(path: Path, _stamp: int, bands: tuple[str, ...]) -> Stack:
    layers = _open_geotiff(path) if path.suffix.lower() in (".tif", ".tiff") else _open_gridded(path)
    if len({layer.shape for layer in layers.values()}) != 1:
        raise DataError("a raster must have bands on one grid, got none or several", where=path)
    if not bands:
        return Stack(path, tuple(layers), tuple(layers.values()))
    numbered = dict(zip(map(str, range(1, len(layers) + 1)), layers.values(), strict=True))
    known = numbered | layers
    for name in bands:
        if name not in known:
            raise DataError(f"a band must be one of {', '.join(layers)}, got {name!r}", where=path)
    return Stack(path, bands, tuple(known[name] for name in bands))


def _open_geotiff(path: Path) -> dict[str, Any]:
    rioxarray = require("rioxarray", install="block-expansion[geotiff]", purpose="read GeoTIFFs")
    with warnings.catch_warnings():
        # A patch without a place on Earth is a patch still.
        warnings.filterwarnings("ignore", message="Dataset has no geotransform")
        try:
            raster = rioxarray.open_rasterio(path, mask_and_scale=True)
        except Exception as error:  # rasterio has errors of its own
            raise DataError(f"a GeoTIFF must be readable, got {error}", where=path) from error
    given = raster.attrs.get("long_name", ())
    names = [given] if isinstance(given, str) else list(given)
    if len(names) != raster.sizes["band"]:
        names = [str(number) for number in range(1, raster.sizes["band"] + 1)]
    return {name: raster.isel(band=number) for number, name in enumerate(names)}


def _open_gridded(path: Path) -> dict[str, Any]:
    """Open NetCDF or zarr: by latitude and longitude through the core, or projected, over y and x."""
    import xarray as xr

    from isopleth.io import open_fields
    from isopleth.io.formats import open_raw

    raw = next(open_raw(str(path))).dataset
    if {"x", "y"} <= set(raw.dims) and not {"lat", "lon", "latitude", "longitude"} & set(raw.variables):
        return _split_layers(xr.decode_cf(raw), ("y", "x"))
    return _split_layers(open_fields(path), ("lat", "lon"))


def _split_layers(fields: Any, dims: tuple[str, str]) -> dict[str, Any]:
    """Give each layer of each variable over two dims, north first."""
    layers = {}
    for name, array in fields.data_vars.items():
        if not set(dims) <= set(array.dims):
            continue
        others = [dim for dim in array.dims if dim not in dims]
        ordered = _put_north_first(array.transpose(*others, *dims), dims[0])
        if not others:
            layers[str(name)] = ordered
            continue
        for number, place in enumerate(np.ndindex(*(array.sizes[dim] for dim in others)), start=1):
            layers[f"{name}_{number}"] = ordered.isel(dict(zip(others, place, strict=True)))
    return layers


def _put_north_first(array: Any, dim: str) -> Any:
    ascends = dim in array.coords and array.sizes[dim] > 1 and array[dim].values[0] < array[dim].values[-1]
    return array.isel({dim: slice(None, None, -1)}) if ascends else array


def describe_patch(patch: Patch) -> str:
    """Tell where a patch is, for an error."""
    given = {name: value for name, value in patch._asdict().items() if name != "path" and value is not None}
    return " ".join([str(patch.path), *(f"{name} {value:g}" for name, value in given.items())])
