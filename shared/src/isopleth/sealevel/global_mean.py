"""The global mean of sea level: taken, removed, and put back."""

from __future__ import annotations

import numpy as np
import xarray as xr

from isopleth.grid import Grid


def ocean_mean(field: xr.DataArray) -> xr.DataArray:
    r"""Return the area mean over the cells that have values.

    .. math:: \bar\eta = \frac{\sum_i A_i \eta_i}{\sum_i A_i},\quad \eta_i \text{ not missing}

    with the exact areas of cells on the sphere, :math:`A \propto \sin\varphi_n - \sin\varphi_s`.

    Parameters
    ----------
    field : DataArray, dims (..., lat, lon)
        NaN over land; lazy or not.

    Returns
    -------
    DataArray of float64, dims (...)
        NaN where a field has no value at all.
    """
    areas = Grid.of(field).cell_areas_km2
    weights = xr.DataArray(areas / areas.max(), dims=("lat", "lon"))
    ordered = field.transpose(..., "lat", "lon").astype(np.float64)
    share = weights.where(ordered.notnull(), 0.0).sum(("lat", "lon"))
    total = (ordered * weights).sum(("lat", "lon"))
    return (total / share.where(share > 0.0)).assign_attrs(field.attrs)


def remove_ocean_mean(field: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Split a field into its departure from the ocean's mean, and that mean.

    Returns
    -------
    tuple of DataArray
        Departures (..., lat, lon) in the field's dtype, whose mean is 0 to rounding, and the mean (...),
        float64. `add_ocean_mean` of both is the field again, to rounding.
    """
    mean = ocean_mean(field)
    return (field - mean).astype(field.dtype).assign_attrs(field.attrs), mean


def add_ocean_mean(departures: xr.DataArray, mean: xr.DataArray) -> xr.DataArray:
    """Put a mean back that `remove_ocean_mean` took, or another one, such as the observed mean's trend.

    Parameters
    ----------
    departures : DataArray, dims (..., lat, lon)
    mean : DataArray, dims (...)
        In the same units; NaN makes the field NaN.
    """
    return (departures + mean).astype(departures.dtype).assign_attrs(departures.attrs)
