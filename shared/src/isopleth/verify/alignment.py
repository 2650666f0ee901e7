"""Alignment: forecast, truth, climatology and weights are on one set of coordinates, or refused."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from isopleth.errors import ConfigError, DataError

Field: TypeAlias = xr.DataArray | ArrayLike
Dims: TypeAlias = str | Iterable[str] | None
NanPolicy: TypeAlias = Literal["omit", "raise"]

MEMBER = "member"
AREA_DIMS = ("lat", "lon", "y", "x")
# Coordinates that differ by no more than the rounding of float32 are the same coordinates.
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Pair:
    """Hold a forecast and its truth on the same coordinates, in float64, and what follows from them."""

    forecast: xr.DataArray
    truth: xr.DataArray
    climatology: xr.DataArray | None = None

    @cached_property
    def error(self) -> xr.DataArray:
        """Forecast minus truth."""
        return self.forecast - self.truth

    @cached_property
    def anomalies(self) -> tuple[xr.DataArray, xr.DataArray]:
        """Anomalies of forecast and truth, both missing where either is."""
        if self.climatology is None:
            raise ConfigError(
                "climatology must be given for an anomaly score, got None",
                hint="pass climatology=, e.g. climatology.sel(dayofyear=truth.time.dt.dayofyear)",
            )
        forecast, truth = self.forecast - self.climatology, self.truth - self.climatology
        return forecast.where(truth.notnull()), truth.where(forecast.notnull())

    @cached_property
    def ensemble(self) -> xr.DataArray:
        """The forecast, which must have members; they stand last and in one dask chunk."""
        if MEMBER not in self.forecast.dims:
            raise DataError(
                f"an ensemble forecast must have the dimension {MEMBER!r}, got {self.forecast.dims}",
                hint=f"rename it, or forecast.expand_dims({MEMBER!r}) for a single one",
            )
        if not self.forecast.sizes[MEMBER]:
            raise DataError("an ensemble forecast must have at least one member, got 0")
        members_last = self.forecast.transpose(..., MEMBER)
        return members_last.chunk({MEMBER: -1}) if members_last.chunks else members_last

    @property
    def dims(self) -> tuple[Hashable, ...]:
        """All dimensions of the two, in the forecast's order."""
        return tuple(dict.fromkeys((*self.forecast.dims, *self.truth.dims)))


def align(
    forecast: Field, truth: Field, climatology: Field | None = None, *, nan: NanPolicy = "omit"
) -> Pair:
    """Pair a forecast with its truth, and refuse what does not belong together.

    Raises
    ------
    DataError
        If a shared dimension has other values or another length in one of them (coordinates within
        the rounding of float32 pass), if their units differ, if one is not numeric, or if `nan` is
        ``"raise"`` and a value is missing.
    """
    if nan not in ("omit", "raise"):
        raise ConfigError(f"nan must be 'omit' or 'raise', got {nan!r}")
    forecast, truth = _named(forecast, truth)
    forecast, truth = _numbers(forecast, "forecast"), _numbers(truth, "truth")
    forecast = match(forecast, truth, "forecast", "truth")
    if climatology is not None:
        climatology = _numbers(_like(climatology, truth), "climatology")
        climatology = match(
            match(climatology, truth, "climatology", "truth"), forecast, "climatology", "forecast"
        )
    if nan == "raise":
        _refuse_missing(forecast=forecast, truth=truth, climatology=climatology)
    return Pair(forecast, truth, climatology)


def match(values: xr.DataArray, other: xr.DataArray, name: str, other_name: str) -> xr.DataArray:
    """Return `values` with the coordinates of `other` on the dimensions that they share, or refuse.

    Raises
    ------
    DataError
        If sizes, coordinates or units differ; the message describes both.
    """
    shared = [dim for dim in values.dims if dim in other.dims]
    for dim in shared:
        if not _same_coordinate(values, other, dim):
            raise DataError(
                f"{name} and {other_name} must share the coordinate {dim!r}, got {_describe(values, dim)} "
                f"in {name} and {_describe(other, dim)} in {other_name}",
                hint="sort, select or regrid one of them",
            )
    units, other_units = values.attrs.get("units"), other.attrs.get("units")
    if units is not None and other_units is not None and units != other_units:
        raise DataError(
            f"{name} and {other_name} must be in the same units, got {units!r} and {other_units!r}",
            hint="convert one of them, or mend attrs['units']",
        )
    return values.assign_coords({dim: other[dim] for dim in shared if dim in other.indexes})


def resolve_dims(dims: Dims, available: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
    """Return the dimensions to average over; None means all.

    Raises
    ------
    ConfigError
        If a dimension is not there.
    """
    if dims is None:
        return available
    wanted = (dims,) if isinstance(dims, str) else tuple(dims)
    unknown = [dim for dim in wanted if dim not in available]
    if unknown:
        raise ConfigError(f"dims must be among {available}, got {wanted}")
    return wanted


def as_weights(weights: Field | None, pair: Pair) -> xr.DataArray | None:
    """Return weights with names and coordinates; a bare vector as long as ``lat`` weighs its rows.

    Raises
    ------
    DataError
        If they are negative, NaN or infinite (unless they are lazy), if they share no dimension with
        the fields, or if their coordinates differ.
    """
    if weights is None:
        return None
    bare = not isinstance(weights, xr.DataArray)
    fields = max((pair.forecast, pair.truth), key=lambda field: field.ndim)
    if bare and np.ndim(weights) == 1 and "lat" in fields.dims:
        weights = xr.DataArray(np.asarray(weights), dims="lat")
    named = _numbers(_like(weights, fields), "weights").drop_attrs()
    if named.ndim and not set(named.dims) & set(pair.dims):
        raise DataError(f"weights must share a dimension with the fields {pair.dims}, got {named.dims}")
    if not named.chunks and not (np.isfinite(named).all() and (named >= 0).all()):
        raise DataError(f"weights must be finite and not negative, got a minimum of {float(named.min())}")
    return match(match(named, pair.truth, "weights", "truth"), pair.forecast, "weights", "forecast")


def _named(forecast: Field, truth: Field) -> tuple[xr.DataArray, xr.DataArray]:
    """Name the dimensions of bare arrays from the last one; one leading axis more is the member."""
    if isinstance(forecast, xr.DataArray):
        return forecast, _like(truth, forecast)
    if isinstance(truth, xr.DataArray):
        return _like(forecast, truth), truth
    forecast, truth = np.asarray(forecast), np.asarray(truth)
    extra = [MEMBER] if forecast.ndim == truth.ndim + 1 else []
    axes = [f"axis_{index}" for index in range(max(truth.ndim, forecast.ndim - len(extra)))]
    names = [*extra, *axes]
    return (
        xr.DataArray(forecast, dims=names[len(names) - forecast.ndim :]),
        xr.DataArray(truth, dims=axes[len(axes) - truth.ndim :]),
    )


def _like(values: Any, named: xr.DataArray) -> xr.DataArray:
    """Name a bare array after the last dimensions of one that has names."""
    if isinstance(values, xr.DataArray):
        return values
    values = np.asarray(values)
    if values.ndim > named.ndim:
        raise DataError(
            f"a bare array must have at most the dimensions {named.dims}, got shape {values.shape}"
        )
    return xr.DataArray(values, dims=named.dims[named.ndim - values.ndim :])


def _numbers(values: xr.DataArray, name: str) -> xr.DataArray:
    """Return float64 values with index coordinates only: others could only disagree."""
    if values.dtype.kind not in "fiub":
        raise DataError(f"{name} must hold real numbers, got dtype {values.dtype}")
    return values.reset_coords(drop=True).astype(float)


def _same_coordinate(values: xr.DataArray, other: xr.DataArray, dim: Hashable) -> bool:
    if values.sizes[dim] != other.sizes[dim]:
        return False
    if dim not in values.indexes or dim not in other.indexes:
        return True
    mine, yours = values.indexes[dim], other.indexes[dim]
    if mine.dtype.kind == "f" or yours.dtype.kind == "f":
        scale = max(np.abs(yours.to_numpy(float)).max(initial=0.0), 1e-300)
        return bool(np.allclose(mine.to_numpy(float), yours.to_numpy(float), rtol=0, atol=_ROUNDING * scale))
    return bool(mine.equals(yours))


def _describe(values: xr.DataArray, dim: Hashable) -> str:
    size = values.sizes[dim]
    if dim not in values.indexes or not size:
        return f"{size} without labels"
    labels = values[dim].to_numpy()
    return f"{size} values from {labels[0]} to {labels[-1]}"


def _refuse_missing(**fields: xr.DataArray | None) -> None:
    for name, values in fields.items():
        if values is not None and (missing := int(values.isnull().sum())):
            raise DataError(
                f"{name} must hold no missing value, got {missing} of {values.size}",
                hint="nan='omit' leaves those cells out and renormalises the weights",
            )
