"""Rows to learn from: one a cell (and time), with what models say, what was observed, and its area."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from isopleth.errors import DataError
from isopleth.fields import decimal_years
from isopleth.grid import Grid

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# No sea level and no trend in any unit of use comes near; what does is a fill value read as data.
_LARGEST = 1e9


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """A table of cells, complete in its inputs.

    Attributes
    ----------
    inputs : array, shape (n, feature)
        What each model says, in `units`.
    target : array, shape (n,)
        What is to be learned, in `units`; NaN throughout where nothing is known, as for the future.
    weight : array, shape (n,)
        Area of the cell over the mean area of all cells of its grid.
    lat, lon : array, shape (n,)
        Centre of the cell, degrees.
    cell : array of int, shape (n,)
        Place of the cell in the flattened grid.
    segment : array of int, shape (n,)
        Region of the cell; 0 without a partition.
    step : array of int, shape (n,)
        Place in `times`; 0 where there is no time.
    features : tuple of str
        Names of the inputs.
    grid : Grid
    times : array, optional
        The time axis, where rows have one.
    units : str
    left_out : mapping of str to int
        Cells that know something but not all, counted by what is missing. A cell may miss several.
    """

    inputs: Floats
    target: Floats
    weight: Floats
    lat: Floats
    lon: Floats
    cell: Integers
    segment: Integers
    step: Integers
    features: tuple[str, ...]
    grid: Grid
    times: NDArray[Any] | None = None
    units: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.cell)

    @cached_property
    def years(self) -> Floats:
        """Time of each row in decimal years; 0 where there is no time."""
        if self.times is None:
            return np.zeros(len(self))
        return np.asarray(decimal_years(self.times), dtype=np.float64)[self.step]

    def take(self, which: NDArray[Any]) -> Rows:
        """Give some of the rows, by positions or by a mask."""
        names = ("inputs", "target", "weight", "lat", "lon", "cell", "segment", "step")
        return replace(self, **{name: getattr(self, name)[which] for name in names})

    def with_inputs(self, inputs: NDArray[Any]) -> Rows:
        """Give the same places with other inputs, shape (n, feature)."""
        inputs = np.asarray(inputs, dtype=np.float64)
        if inputs.shape != self.inputs.shape or not np.isfinite(inputs).all():
            raise DataError(
                f"inputs must be finite and of shape {self.inputs.shape}, got shape {inputs.shape} with "
                f"{np.isnan(inputs).sum()} NaN"
            )
        return replace(self, inputs=inputs)

    def with_segments(self, segments: xr.DataArray) -> Rows:
        """Give the rows that lie in a partition, labelled by it; others are counted as left out."""
        segment = _labels_on(segments, self.grid)[self.cell]
        inside = segment >= 0
        outside = int(np.unique(self.cell[~inside]).size)
        left_out = {**self.left_out, "segment": outside} if outside else self.left_out
        return replace(replace(self, segment=segment).take(inside), left_out=left_out)

    def to_field(self, values: NDArray[Any], *, name: str | None = None, **attrs: Any) -> xr.DataArray:
        """Lay values of the rows out on the grid, NaN elsewhere: (lat, lon), or (time, lat, lon) with times.

        Parameters
        ----------
        values : array, shape (n,)
        name : str, optional
        **attrs
            Attributes; `units` is the rows' own unless given.
        """
        steps = 1 if self.times is None else len(self.times)
        full = np.full((steps, self.grid.lat.size * self.grid.lon.size), np.nan)
        full[self.step, self.cell] = values
        coords: dict[str, Any] = {"lat": self.grid.lat, "lon": self.grid.lon}
        dims = ("lat", "lon") if self.times is None else ("time", "lat", "lon")
        if self.times is not None:
            coords["time"] = self.times
        shape = self.grid.shape if self.times is None else (steps, *self.grid.shape)
        return xr.DataArray(full.reshape(shape), coords, dims, name, {"units": self.units, **attrs})


def build_rows(
    inputs: xr.DataArray,
    target: xr.DataArray | None = None,
    *,
    segments: xr.DataArray | None = None,
    dim: str = "model",
) -> Rows:
    """Make rows of the cells in which every model, and the target if there is one, has a value.

    Parameters
    ----------
    inputs : DataArray, dims (dim, [time,] lat, lon)
        One field a model; NaN over what it takes for land.
    target : DataArray, dims ([time,] lat, lon), optional
        On the same grid and times.
    segments : DataArray of int, dims (lat, lon), optional
        A partition (see `isopleth.fields.regions`); cells outside it are left out.
    dim : str
        The dimension of the inputs' names.

    Returns
    -------
    Rows
        In the order of time, then of cells.

    Raises
    ------
    DataError
        If dimensions, grids, times or units differ, a value is infinite or a fill value read as data, or no
        row is complete.
    """
    inputs = _ordered(inputs, (dim,), what="inputs")
    grid = Grid.of(inputs)
    stacked = [inputs.isel({dim: k}, drop=True) for k in range(inputs.sizes[dim])]
    features = tuple(map(str, inputs[dim].values)) if dim in inputs.coords else _numbered(len(stacked))
    if target is not None:
        target = _like(_ordered(target, (), what="target"), stacked[0])
    fields = {name: _values(layer, name) for name, layer in zip(features, stacked, strict=True)}
    if target is not None:
        fields["target"] = _values(target, "target")
    known = np.stack([np.isfinite(values) for values in fields.values()])
    complete = known.all(axis=0)
    if not complete.any():
        missing = {name: int((~one).sum()) for name, one in zip(fields, known, strict=True)}
        raise DataError(f"a cell must have all inputs and the target, got none that has; missing: {missing}")
    step, cell = np.nonzero(complete)
    lat, lon = (axis.ravel()[cell] for axis in np.meshgrid(grid.lat, grid.lon, indexing="ij"))
    area = grid.cell_areas_km2.ravel()
    rows = Rows(
        inputs=np.stack([fields[name][complete] for name in features], axis=1),
        target=fields["target"][complete] if target is not None else np.full(cell.size, np.nan),
        weight=(area / area.mean())[cell],
        lat=lat,
        lon=lon,
        cell=cell,
        segment=np.zeros(cell.size, np.int64),
        step=step,
        features=features,
        grid=grid,
        times=inputs["time"].values if "time" in inputs.dims else None,
        units=str(inputs.attrs.get("units", "")),
        left_out=_count_missing(tuple(fields), known),
    )
    return rows if segments is None else rows.with_segments(segments)


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"input_{k}" for k in range(count))


def _ordered(da: xr.DataArray, first: tuple[str, ...], *, what: str) -> xr.DataArray:
    """Return the array with dims (first, [time,] lat, lon)."""
    allowed = [(*first, "lat", "lon"), (*first, "time", "lat", "lon")]
    if not isinstance(da, xr.DataArray) or {str(name) for name in da.dims} not in [set(a) for a in allowed]:
        found = da.dims if isinstance(da, xr.DataArray) else type(da).__name__
        raise DataError(f"{what} must have the dimensions {allowed[0]}, perhaps with time, got {found}")
    return da.transpose(*(dims for dims in allowed[1] if dims in da.dims))


def _like(target: xr.DataArray, layer: xr.DataArray) -> xr.DataArray:
    """Refuse a target that is on other points, or in other units, than the inputs."""
    units = {str(da.attrs["units"]) for da in (target, layer) if da.attrs.get("units")}
    if len(units) > 1:
        raise DataError(f"inputs and target must be in the same units, got {sorted(units)}")
    if target.dims != layer.dims:
        raise DataError(f"the target must have the dimensions {layer.dims}, got {target.dims}")
    for dim in layer.dims:
        if not np.array_equal(target[dim].values, layer[dim].values):
            raise DataError(
                f"inputs and target must be on one {dim} axis, got {layer.sizes[dim]} and "
                f"{target.sizes[dim]} points that differ"
            )
    return target


def _values(da: xr.DataArray, name: str) -> Floats:
    """Return values of shape (time, cell) in float64, one time where there is none."""
    values = np.asarray(da.values, dtype=np.float64)
    values = values.reshape(-1, da.sizes["lat"] * da.sizes["lon"])
    largest = np.abs(values[~np.isnan(values)]).max(initial=0.0)
    if largest > _LARGEST:
        raise DataError(
            f"values must be finite sea levels or trends, got {largest:g}",
            where=name,
            hint="a fill value was read as data: mask it, or name it in the variable's _FillValue",
        )
    return values


def _count_missing(names: tuple[str, ...], known: NDArray[np.bool_]) -> dict[str, int]:
    """Count cells in which something, but never all at once, is known, by what is always missing there."""
    partly = known.any(axis=(0, 1)) & ~known.all(axis=0).any(axis=0)
    missing = (partly & ~known.any(axis=1)).sum(axis=1)
    counts = {name: int(count) for name, count in zip(names, missing, strict=True) if count}
    # A cell may know everything at some time, and never all of it at once.
    never_together = int((partly & known.any(axis=1).all(axis=0)).sum())
    return counts | ({"the same times": never_together} if never_together else {})


def _labels_on(segments: xr.DataArray, grid: Grid) -> Integers:
    segments = _ordered(segments, (), what="segments")
    if Grid.of(segments) != grid:
        raise DataError(f"segments must be on the rows' {grid}, got {Grid.of(segments)}")
    values = segments.values
    if values.dtype.kind not in "iu":
        raise DataError(f"segments must be whole numbers, -1 outside, got {values.dtype}")
    return np.asarray(values, dtype=np.int64).ravel()
