"""Time stamps of any calendar as decimal years and as exact ticks."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from isopleth.errors import ConfigError, DataError

TICKS_PER_DAY = 86_400_000_000  # a tick is a microsecond


def decimal_years(times: Any) -> np.ndarray:
    """Write time stamps as years and fractions of the year they fall in.

    .. math:: y + (t - t_y) / (t_{y+1} - t_y)

    where t_y is the first instant of year y in the stamps' own calendar, so that a 360-day or a no-leap year
    is as long as any other.

    Parameters
    ----------
    times : array_like, shape (time,)
        ``datetime64``, ``cftime`` objects, or numbers that are years already.

    Returns
    -------
    ndarray of float64, shape (time,)

    Raises
    ------
    DataError
        If a stamp is missing (NaT, NaN) or the values are not time stamps.
    """
    values = _checked(times)
    if values.dtype.kind == "M":
        year = values.astype("datetime64[Y]")
        start, end = year.astype("datetime64[us]"), (year + np.timedelta64(1, "Y")).astype("datetime64[us]")
        share = (values.astype("datetime64[us]") - start) / (end - start)
        return year.astype(np.int64) + 1970 + share
    if values.dtype == object:
        return np.array([_decimal_year(time) for time in values], dtype=np.float64)
    return values.astype(np.float64)


def _decimal_year(time: Any) -> float:
    start = time.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    return time.year + (time - start) / (start.replace(year=time.year + 1) - start)


def ticks(times: Any) -> np.ndarray:
    """Return times as numbers that differences can be taken of: microseconds, or the given numbers.

    Parameters
    ----------
    times : array_like, shape (time,)
        ``datetime64`` or ``cftime`` objects (microseconds since 1970, respectively since the first stamp), or
        plain numbers (returned as float64).

    Returns
    -------
    ndarray of int64 or float64, shape (time,)

    Raises
    ------
    DataError
        As for `decimal_years`.
    """
    values = _checked(times)
    if values.dtype.kind == "M":
        return values.astype("datetime64[us]").astype(np.int64)
    if values.dtype == object:
        return np.array([_microseconds(time - values[0]) for time in values], dtype=np.int64)
    return values.astype(np.float64)


def _microseconds(span: dt.timedelta) -> int:
    return span // dt.timedelta(microseconds=1)


def duration_ticks(duration: Any, axis: np.ndarray, *, name: str) -> float:
    """Express a duration in the unit of an axis made by `ticks`.

    Parameters
    ----------
    duration : str, timedelta, timedelta64 or number
        A length such as ``"30D"``; a plain number if, and only if, the axis is numbers (0 always stands).
    axis : ndarray
        What `ticks` returned.
    name : str
        The argument's name, for the message.

    Raises
    ------
    ConfigError
        If it is negative, not finite, or not in the unit of the axis.
    """
    # numpy counts a timedelta64 among the integers.
    number = isinstance(duration, int | float | np.number) and not isinstance(duration, np.timedelta64)
    if number and (axis.dtype.kind == "f" or duration == 0):
        value = float(duration)
    elif number or axis.dtype.kind == "f":
        unit = "a number, as the times are" if axis.dtype.kind == "f" else "a duration such as '30D'"
        raise ConfigError(f"{name} must be {unit}, got {duration!r}")
    else:
        value = _parse(duration, name)
    if not 0 <= value < np.inf:
        raise ConfigError(f"{name} must be finite and not negative, got {duration!r}")
    return value


def _parse(duration: Any, name: str) -> float:
    try:
        return float(pd.Timedelta(duration) / pd.Timedelta(1, "us"))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{name} must be a duration such as '30D', got {duration!r}") from error


def describe_gap(gap: float, axis: np.ndarray) -> str:
    """Write a gap between two ticks for a reader: in days, or as the bare number."""
    return f"{gap / TICKS_PER_DAY:g} days" if axis.dtype.kind == "i" else f"{gap:g}"


def _checked(times: Any) -> np.ndarray:
    values = np.asarray(times)
    if values.ndim != 1 or values.size == 0:
        raise DataError(f"times must be a non-empty 1-D array, got shape {values.shape}")
    if values.dtype == object:
        values = _checked_objects(values)
    if values.dtype == object:
        return values
    if values.dtype.kind not in "Miuf":
        raise _not_times(values)
    missing = np.isnat(values) if values.dtype.kind == "M" else ~np.isfinite(values)
    if missing.any():
        raise DataError(f"times must be known, got {missing.sum()} missing, the first at {missing.argmax()}")
    return values


def _checked_objects(values: np.ndarray) -> np.ndarray:
    if all(isinstance(time, dt.datetime) for time in values):
        return values.astype("datetime64[us]")
    if not all(hasattr(time, "calendar") for time in values):
        raise _not_times(values)
    calendars = sorted({str(time.calendar) for time in values})
    if len(calendars) > 1:
        raise DataError(f"times must be of one calendar, got {calendars}")
    return values


def _not_times(values: np.ndarray) -> DataError:
    return DataError(
        f"times must be datetime64, cftime or numbers, got {values.dtype} ({values.flat[0]!r})",
        hint="decode them with xarray.decode_cf",
    )
