"""Bringing fields onto another grid: conservative, bilinear, nearest; from any grid onto a rectilinear one.

Between rectilinear grids every method is a product of two small sparse matrices, over rows and over columns
(:mod:`isopleth.io.separable`); from curvilinear grids it is one matrix (:mod:`isopleth.io.curvilinear`).
Either is applied to a chunk at a time, to the values and to what is not missing.

Why not xarray-regrid 0.4.2, to which the tests hold this: its linear method is right (the two agree to 1e-9)
but makes a missing corner a missing cell, and a hundred dask tasks of each chunk; single rows and columns
fail; its conservative method splits a row that straddles two target rows by degrees, not by sine, and takes
one height for all rows, so that the area mean is off by up to 5e-5 on coarse grids. Here it is kept to 1e-12.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Literal, Protocol, TypeVar, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from isopleth.errors import ConfigError, DataError
from isopleth.grid import Grid
from isopleth.io.curvilinear import scattered_weights
from isopleth.io.separable import interpolation, overlaps

Method = Literal["conservative", "bilinear", "nearest"]
Fields = TypeVar("Fields", xr.Dataset, xr.DataArray)
Floats = NDArray[np.float64]
_Dims = tuple[Hashable, Hashable]
_Function = Callable[[xr.DataArray], xr.DataArray]

# Float64 copies are made of this much input at a time.
_SLAB_BYTES = 32 * 2**20
# What a DataArray is called while it is in a Dataset.
_UNNAMED = "_array"


class _Weights(Protocol):
    """Sums source cells into target cells; the weights of a covered target cell add up to one."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the target."""
        ...

    def apply(self, values: Floats) -> Floats:
        """Return sums of shape (n, n_lat, n_lon) of values of shape (n, rows, columns)."""
        ...


def regrid(ds: Fields, target: Grid, *, method: Method = "conservative", min_valid: float = 0.5) -> Fields:
    r"""Bring fields onto another grid.

    *conservative* gives each target cell the mean of what it covers, by area,

    .. math:: y_t = \frac{\sum_s A_{ts} v_s x_s}{\sum_s A_{ts} v_s}, \qquad
              f_t = \frac{\sum_s A_{ts} v_s}{A_t},

    with the overlap :math:`A_{ts}` and :math:`v_s` 1 where the source has a value. The integral over the
    valid source area, :math:`\sum_t A_t f_t y_t = \sum_s A_s v_s x_s`, is kept to rounding wherever
    ``min_valid`` drops no cell and the target covers the source; :func:`valid_fraction` gives :math:`f_t`.
    (Jones 1999, MWR 127, 2204, first order.)

    *bilinear* interpolates between the four source centres around a target centre, across the seam at 0/360
    and up to the poles, where a grid without polar rows takes the mean of its last row; beyond the outermost
    centres of a regional source the target is missing. *nearest* takes the value of the nearest row and
    column, if the target centre lies in that cell (a tie goes north and east). A single row or column holds
    for the width of its cells.

    Sources with 2-D ``lat`` and ``lon`` (POP, NEMO) are scattered centres: *nearest* is the nearest one,
    *bilinear* the mean of the nearest four by inverse squared distance, *conservative* the area mean of those
    that lie in the target cell, which so needs target cells larger than the source's. See
    :func:`isopleth.io.curvilinear.scattered_weights`.

    Parameters
    ----------
    ds : Dataset or DataArray
        Fields on 1-D ``lat`` and ``lon`` in any order, or with 2-D ``lat(y, x)`` and ``lon(y, x)``, whose
        places may be NaN over land. Variables without a horizontal dimension pass through.
    target : Grid
        The grid to come to; its order is that of the result.
    method : {"conservative", "bilinear", "nearest"}
        How.
    min_valid : float
        Least share of a target cell's weight, in [0, 1], that must have values; below, the cell is missing. 0
        keeps every cell that has any. (*nearest* has all or nothing.)

    Returns
    -------
    Dataset or DataArray
        Of the same type: float dtypes are kept, others become float; sums are float64. Attributes and
        coordinates stay but for coordinates over the old horizontal dimensions. Dask arrays stay lazy, with
        their chunks along all other dimensions; horizontal chunks are merged into one.

    Raises
    ------
    DataError
        If the target does not overlap the source, or a variable has one horizontal dimension without the
        other, or is not numeric.
    ConfigError
        If the method is unknown or ``min_valid`` lies outside [0, 1].
    """
    if method not in get_args(Method):
        raise ConfigError(f"method must be one of {', '.join(get_args(Method))}, got {method!r}")
    if not 0 <= min_valid <= 1:
        raise ConfigError(f"min_valid must lie in [0, 1], got {min_valid}")
    if isinstance(ds, xr.DataArray):
        fields = ds.to_dataset(name=_UNNAMED)
        return regrid(fields, target, method=method, min_valid=min_valid)[_UNNAMED].rename(ds.name)
    dims, function = _plan(ds, target, method, min_valid)
    return _assemble(ds, target, dims, function)


def valid_fraction(ds: Fields, target: Grid) -> Fields:
    r"""Return the share of each target cell's area on which a conservative regridding has values.

    The :math:`f_t` of :func:`regrid`: area means over regridded fields weigh cells by area times this.

    Parameters
    ----------
    ds : Dataset or DataArray
        Fields on a rectilinear grid.
    target : Grid
        The grid to come to.

    Returns
    -------
    Dataset or DataArray
        float64 in [0, 1].
    """
    if isinstance(ds, xr.DataArray):
        return valid_fraction(ds.to_dataset(name=_UNNAMED), target)[_UNNAMED].rename("valid_fraction")
    weights, dims = overlaps(Grid.of(ds), target), ("lat", "lon")

    def share(array: xr.DataArray) -> xr.DataArray:
        return _map_blocks(array.notnull(), dims, weights, weights.apply, np.float64)

    return _assemble(ds, target, dims, share)


def _plan(ds: xr.Dataset, target: Grid, method: Method, min_valid: float) -> tuple[_Dims, _Function]:
    """Return the horizontal dimensions, and what brings one variable over."""
    weights: _Weights
    if "lat" in ds.coords and ds["lat"].ndim == 2:
        dims, weights = (ds["lat"].dims[0], ds["lat"].dims[1]), scattered_weights(ds, target, method)
    else:
        dims, source = ("lat", "lon"), Grid.of(ds)
        weights = (
            overlaps(source, target) if method == "conservative" else interpolation(source, target, method)
        )
    return dims, lambda array: _map_blocks(
        array, dims, weights, lambda x: _weighted_mean(weights, x, min_valid), _float_dtype(array.dtype)
    )


def _assemble(ds: xr.Dataset, target: Grid, dims: _Dims, function: _Function) -> xr.Dataset:
    """Bring the horizontal variables over and put them back among the others, dimensions in their order."""
    variables = {}
    for name, array in ds.data_vars.items():
        if not set(dims) & set(array.dims):
            variables[name] = array.variable
            continue
        order = [{dims[0]: "lat", dims[1]: "lon"}.get(d, d) for d in array.dims]
        variables[name] = function(_checked(array, dims)).variable.transpose(*order)
    places = {"lat", "lon"}
    kept = {name: c for name, c in ds.coords.items() if name not in places and not set(dims) & set(c.dims)}
    axes = {
        "lat": ("lat", target.lat, ds["lat"].attrs),
        "lon": ("lon", target.lon, ds["lon"].attrs),
    }
    return xr.Dataset(variables, coords={**kept, **axes}, attrs=ds.attrs)


def _checked(array: xr.DataArray, dims: _Dims) -> xr.DataArray:
    if not set(dims) <= set(array.dims):
        raise DataError(f"a field must have both {dims[0]} and {dims[1]}, got {array.dims}", where=array.name)
    if array.dtype.kind not in "fiub":
        raise DataError(f"a field to regrid must be numeric, got {array.dtype}", where=array.name)
    return array


def _float_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype if dtype.kind == "f" else np.result_type(dtype, np.float32)


def _map_blocks(
    array: xr.DataArray,
    dims: _Dims,
    weights: _Weights,
    function: Callable[[Floats], Floats],
    dtype: np.dtype[Any] | type[np.float64],
) -> xr.DataArray:
    """Apply a function of (n, rows, columns) to every chunk, a slab at a time in float64."""
    if array.chunks is not None:
        array = array.chunk(dict.fromkeys(dims, -1))

    def run(block: NDArray[Any]) -> NDArray[Any]:
        flat = block.reshape(-1, *block.shape[-2:])
        out = np.empty((flat.shape[0], *weights.shape), dtype)
        step = max(1, _SLAB_BYTES // max(1, flat[:1].size * 8))
        for start in range(0, flat.shape[0], step):
            out[start : start + step] = function(flat[start : start + step].astype(np.float64))
        return out.reshape(*block.shape[:-2], *weights.shape)

    # Names of their own: the old horizontal dimensions may be called lat and lon too.
    new = ("_target_lat", "_target_lon")
    result = xr.apply_ufunc(
        run,
        array.drop_vars([c for c in array.coords if set(dims) & set(array[c].dims)]),
        input_core_dims=[list(dims)],
        output_core_dims=[list(new)],
        dask="parallelized",
        output_dtypes=[dtype],
        keep_attrs=True,
        dask_gufunc_kwargs={"output_sizes": dict(zip(new, weights.shape, strict=True))},
    )
    return result.rename(dict(zip(new, ("lat", "lon"), strict=True)))


def _weighted_mean(weights: _Weights, values: Floats, min_valid: float) -> Floats:
    """Return means over what has values; NaN where that is less than asked."""
    valid = ~np.isnan(values)
    share = weights.apply((valid[:1] if valid.all() else valid).astype(np.float64))
    total = weights.apply(np.where(valid, values, 0.0))
    # Rounding must not drop a full cell, nor keep one of which only a sliver of rounding is covered.
    enough = (share >= min_valid - 1e-9) & (share > 1e-9)
    return np.divide(total, share, out=np.full_like(total, np.nan), where=enough)
