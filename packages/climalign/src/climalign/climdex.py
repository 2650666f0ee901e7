"""Indices of extremes, by xclim: those of the paper, for each season or year."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from climalign.config import Kind
from isopleth.errors import DataError

_RAIN_UNITS = {"kg m-2 s-1": "kg m-2 s-1", "m": "m d-1", "mm": "mm d-1", "mm day-1": "mm d-1"}
_DAY = 86400.0
INDICES: dict[Kind, tuple[str, ...]] = {
    "temperature": ("TXx", "TXn"),
    "precipitation": ("CDD", "CWD", "Rx1day", "Rx5day", "SDII"),
}
UNITS = {
    "TXx": "K", "TXn": "K", "TNn": "K", "CDD": "d", "CWD": "d", "Rx1day": "mm", "Rx5day": "mm",
    "SDII": "mm day-1",
}  # fmt: skip


def compute_indices(field: xr.DataArray, kind: Kind, *, freq: str = "YS") -> dict[str, xr.DataArray]:
    """Compute Climdex indices of daily fields.

    TXx and TXn, the largest and least daily maximum (of daily minima TNn); CDD and CWD, the longest dry and
    wet spells (1 mm); Rx1day and Rx5day, the most rain in one and five days; SDII, the mean of wet days.

    Parameters
    ----------
    field : DataArray, dims (time, lat, lon)
        With units; daily maxima or minima of temperature, or rain.
    kind : {"temperature", "precipitation"}
    freq : str
        Over what each is taken, such as "YS" (years) or "QS" (quarters).

    Returns
    -------
    dict of str to DataArray
        On (time, lat, lon), in the units of `UNITS`; NaN in cells without values.
    """
    from xclim import indices, set_options

    known = field.notnull().any("time")
    # No work goes to the sea.
    places = field.stack(cell=("lat", "lon")).isel(cell=np.flatnonzero(known.values.ravel()))
    columns = places.drop_vars(("cell", "lat", "lon"))
    # Spells of all cells at once instead of a call for each.
    with warnings.catch_warnings(), set_options(run_length_ufunc=False):
        # Notes on how xclim asks pandas for frequencies.
        warnings.simplefilter("ignore")
        if kind == "temperature":
            if "minimum" in str(field.name):
                found = {"TNn": indices.tn_min(columns, freq=freq)}
            else:
                found = {"TXx": indices.tx_max(columns, freq=freq), "TXn": indices.tx_min(columns, freq=freq)}
        else:
            found = _rain_indices(_as_rate(columns), freq, indices)
    return {name: _put_back(index, known) for name, index in found.items()}


def _put_back(index: xr.DataArray, known: xr.DataArray) -> xr.DataArray:
    """Put columns back on the map; NaN elsewhere."""
    columns = index.transpose("time", "cell")
    values = np.full((columns.sizes["time"], *known.shape), np.nan)
    values[:, known.values] = columns.values
    return xr.DataArray(values, {"time": columns["time"], **known.coords}, ("time", *known.dims))


def _rain_indices(rain: xr.DataArray, freq: str, indices: Any) -> dict[str, xr.DataArray]:
    calls: dict[str, Callable[[], xr.DataArray]] = {
        "CDD": lambda: indices.maximum_consecutive_dry_days(rain, thresh="1 mm/d", freq=freq),
        "CWD": lambda: indices.maximum_consecutive_wet_days(rain, thresh="1 mm/d", freq=freq),
        "Rx1day": lambda: indices.max_1day_precipitation_amount(rain, freq=freq),
        "Rx5day": lambda: indices.max_n_day_precipitation_amount(rain, window=5, freq=freq),
        "SDII": lambda: indices.daily_pr_intensity(rain, thresh="1 mm/d", freq=freq),
    }
    return {name: call() for name, call in calls.items()}


def _as_rate(field: xr.DataArray) -> xr.DataArray:
    """Give rain in mm/day, as xclim understands it."""
    units = str(field.attrs.get("units", ""))
    if units not in _RAIN_UNITS:
        raise DataError(f"rain must be in one of {', '.join(_RAIN_UNITS)}, got {units!r}")
    factor = {"kg m-2 s-1": _DAY, "m": 1000.0}.get(units, 1.0)
    return (field * factor).assign_attrs(units="mm d-1", standard_name="precipitation_flux")
