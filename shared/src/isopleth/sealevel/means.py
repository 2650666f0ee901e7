"""Means of years and of calendar months, lazily and in any calendar."""

from __future__ import annotations

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.sealevel.months import count_months, middles, month_lengths


def mean_of_years(field: xr.DataArray, calendar: str) -> xr.DataArray:
    r"""Average whole years of months, each month weighed by its length.

    .. math:: \bar\eta_y = \sum_{m=1}^{12} d_m \eta_{y,m} \Big/ \sum_{m=1}^{12} d_m

    Parameters
    ----------
    field : DataArray, dims (..., time, ...)
        Months, from January to December without a gap; dask or not.
    calendar : str
        In whose days months are weighed: that of the model.

    Returns
    -------
    DataArray
        ``time`` the middles of years; a cell is missing where one of its months is.

    Raises
    ------
    DataError
        If the months are no whole years.
    """
    months = count_months(field["time"])
    if months.size % 12 or months[0] % 12 or (np.diff(months) != 1).any():
        raise DataError(f"months must make whole years from January on, got {months.size} from {months[0]}")
    if field.chunks is not None:
        # Chunks of whole years, so that a year is made of one of them.
        longest = max(field.chunksizes["time"])
        field = field.chunk(time=12 * max(1, longest // 12))
    weights = xr.DataArray(month_lengths(months, calendar), dims="time")
    years = weights.coarsen(time=12).sum()
    share = weights / xr.DataArray(np.repeat(years.values, 12), dims="time")
    weighted = field * share.astype(field.dtype)
    means = weighted.coarsen(time=12).reduce(np.sum)
    return means.assign_coords(time=middles(months[::12], "year")).assign_attrs(field.attrs)


def remove_seasonal_cycle(field: xr.DataArray, years: tuple[int, int]) -> xr.DataArray:
    """Take the mean of each calendar month over some years from all months; the mean over those years stays.

    Parameters
    ----------
    field : DataArray, dims (..., time, ...)
        Months. The cycle is computed at once, the rest stays lazy.
    years : tuple of int
        First and last, both included.
    """
    base = field.sel(time=slice(str(years[0]), str(years[1])))
    cycle = base.groupby("time.month").mean().compute()
    departures = cycle - cycle.mean("month")
    months = xr.DataArray(field["time"].dt.month.values, dims="time")
    return (
        (field - departures.sel(month=months).drop_vars("month"))
        .astype(field.dtype)
        .assign_attrs(field.attrs)
    )
