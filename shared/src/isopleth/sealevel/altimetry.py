"""Altimetry: DUACS and CMEMS, C3S's two satellites, MEaSUREs; AVISO's map of trends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.fields.times import decimal_years
from isopleth.grid import Grid
from isopleth.io.read import Source, open_fields
from isopleth.io.regridding import regrid
from isopleth.io.units import find_conversion
from isopleth.sealevel.months import Frequency, check_complete, count_months, middles, whole_years
from isopleth.sealevel.products import find_product, recognise_product

ANOMALY = "sea_level_anomaly"
TREND = "sea_level_trend"
_HEIGHT = "sea_surface_height"


def open_altimetry(
    source: Source, *, years: tuple[int, int] | None = None, product: str | None = None
) -> xr.Dataset:
    """Open maps of sea level anomaly as means of months or of years, lazily.

    Daily and five-daily maps are averaged over the calendar months they lie in. Where a product has no
    ``sla`` its ``adt`` serves: the two differ by a mean over time.

    Parameters
    ----------
    source : str, path, sequence of them, or Dataset
        Files of DUACS/CMEMS, C3S, or MEaSUREs; also a prepared file with ``ssh`` or ``sla``.
    years : tuple of int, optional
        First and last year, both included and all of them needed; otherwise all whole years.
    product : str, optional
        Name of the product; recognised by its metadata otherwise.

    Returns
    -------
    Dataset
        ``sea_level_anomaly`` (time, lat, lon) in metres, dask; ``time`` the middles of months or years.
        Attributes: ``frequency``, ``product``.

    Raises
    ------
    DataError
        If a month or year is missing, or there is no sea level.
    """
    fields = _open_first(source, (ANOMALY, _HEIGHT))
    where = f"altimetry, {fields.attrs.get('source', '')}"
    name = ANOMALY if ANOMALY in fields else _HEIGHT
    if "time" not in fields.dims:
        raise DataError("altimetry must have times, got a single map", where=where)
    stored = tuple(str(v.attrs.get("source_name", "")) for v in fields.data_vars.values())
    known = find_product(product) if product else recognise_product(fields.attrs, (*stored, where))
    anomaly = _as_months(fields[name])
    months = count_months(anomaly["time"])
    frequency: Frequency = "year" if _is_yearly(months) else "month"
    first, last = years or whole_years(months, frequency, where=where)
    inside = check_complete(months, first, last, where=where)
    anomaly = anomaly.isel(time=inside).assign_coords(time=middles(months[inside], frequency))
    attrs = {"frequency": frequency, "product": known.name if known else "unknown"}
    anomaly.attrs = {**fields[name].attrs, "units": "m"}
    kept = anomaly.drop_vars([c for c in anomaly.coords if c not in {"time", "lat", "lon"}])
    return kept.to_dataset(name=ANOMALY).assign_attrs({**fields.attrs, **attrs})


def open_trend_map(source: Source) -> xr.DataArray:
    """Open a map of sea level trends such as AVISO's: (lat, lon), mm/year, NaN over land.

    Raises
    ------
    DataError
        If the file holds no trends, or more than one map.
    """
    trend = open_fields(source, variables=[TREND])[TREND].squeeze(drop=True)
    if trend.dims != ("lat", "lon"):
        raise DataError(f"a map of trends must have dims lat and lon, got {trend.dims}", where=TREND)
    return trend


def correct_gia(
    field: xr.DataArray, gia: str | float | xr.DataArray, *, reference_year: float
) -> xr.DataArray:
    r"""Take the effect of glacial isostatic adjustment out of altimetry.

    .. math:: \eta'(t) = \eta(t) - r\,(t - t_0) / 1000

    with the effect r in the record in mm/year (about -0.3 in the global mean: the sea floor sinks, and what
    an altimeter sees of the ocean's volume is too little).

    Parameters
    ----------
    field : DataArray, dims (time, lat, lon)
        Metres.
    gia : str, float or DataArray
        ``"none"``; a rate that is the same everywhere; or a map of rates: a path, or an array (lat, lon) on
        any grid, in mm/year unless its units say otherwise.
    reference_year : float
        Where nothing changes.

    Returns
    -------
    DataArray
        As `field`; missing where a given map is.

    Raises
    ------
    ConfigError
        If the correction is neither.
    DataError
        If a map cannot be read, or its rates exceed 100 mm/year.
    """
    rate = _gia_rate(field, gia)
    if rate is None:
        return field
    years = xr.DataArray(decimal_years(field["time"].values) - reference_year, dims="time")
    return (
        (field - rate * years / 1000.0).astype(field.dtype).transpose(*field.dims).assign_attrs(field.attrs)
    )


def _gia_rate(field: xr.DataArray, gia: str | float | xr.DataArray) -> float | xr.DataArray | None:
    if isinstance(gia, str) and gia.strip().lower() == "none":
        return None
    if isinstance(gia, xr.DataArray):
        return _gia_map(gia, field)
    try:
        rate = float(gia)
    except ValueError:
        return _gia_map(_read_gia(str(gia)), field)
    if not np.isfinite(rate) or abs(rate) > 5.0:
        raise ConfigError(
            f"a uniform gia must be a rate in mm/year, within 5, got {gia}", hint="about -0.3 is usual"
        )
    return rate


def _read_gia(path: str) -> xr.DataArray:
    if not Path(path).exists() and "://" not in path:
        raise ConfigError(f"gia must be none, a rate in mm/year or the path of a map, got {path!r}")
    fields = open_fields(path)
    maps = [array.squeeze(drop=True) for array in fields.data_vars.values()]
    flat = [array for array in maps if set(array.dims) == {"lat", "lon"}]
    if len(flat) != 1:
        names = ", ".join(map(str, fields.data_vars))
        raise DataError(f"a map of gia must hold one field of lat and lon, got {names}", where=path)
    return flat[0]


def _gia_map(rates: xr.DataArray, field: xr.DataArray) -> xr.DataArray:
    """Bring a map of rates to mm/year and to the field's grid."""
    scale = find_conversion(str(rates.attrs.get("units") or "mm year-1"), "mm year-1").scale
    largest = float(np.nanmax(np.abs(rates.values))) * scale
    if largest > 100.0:
        raise DataError(f"rates of gia must be in mm/year, within 100, got {largest:g}", where=rates.name)
    there = regrid(rates * scale, Grid.of(field), method="bilinear")
    return there.assign_coords(lat=field["lat"], lon=field["lon"])


def _open_first(source: Source, names: tuple[str, ...]) -> xr.Dataset:
    """Open the first of several variables that the source has."""
    problem: DataError | None = None
    for name in names:
        try:
            return open_fields(source, variables=[name], chunks={})
        except DataError as error:
            if not error.what.startswith("variable must be one of"):
                raise
            problem = error
    raise DataError(
        f"altimetry must hold {' or '.join(names)}, got {problem.what if problem else 'nothing'}",
        where=problem.where if problem else None,
    )


def _is_yearly(months: np.ndarray) -> bool:
    return months.size > 1 and bool((np.diff(months) >= 12).all())


def _as_months(anomaly: xr.DataArray) -> xr.DataArray:
    """Average what comes more often than monthly over calendar months, as far as it is there."""
    months = count_months(anomaly["time"])
    if np.unique(months).size == months.size:
        return anomaly
    groups = xr.DataArray(months, dims="time", name="month")
    means = anomaly.groupby(groups).mean()
    stamps = middles(means["month"].values.astype(np.int64), "month")
    return means.rename(month="time").assign_coords(time=stamps).transpose("time", ...)
