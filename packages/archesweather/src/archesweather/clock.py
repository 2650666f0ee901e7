"""Months, hours and steps of a time axis, in whatever calendar it has."""

from __future__ import annotations

import cftime  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from isopleth.data.times import TimeAxis
from isopleth.errors import ConfigError

_HOUR, _DAY = 3600, 86_400
_EPOCH = "seconds since 1970-01-01 00:00:00"

Integers = NDArray[np.int64]


def month_and_hour(seconds: Integers, calendar: str) -> tuple[Integers, Integers]:
    """Read month (1 to 12) and hour (0 to 23) off stamps in seconds since 1970-01-01 of a calendar.

    Parameters
    ----------
    seconds : ndarray of int64, any shape
    calendar : str
        CF name, such as that of `isopleth.data.times.TimeAxis`.

    Returns
    -------
    month, hour : ndarray of int64, of the shape of `seconds`

    Examples
    --------
    >>> month_and_hour(np.array([-3600, 59 * 86400]), "360_day")  # 30 December 1969, 30 February 1970
    (array([12,  2]), array([23,  0]))
    """
    seconds = np.asarray(seconds, dtype=np.int64)
    hour = seconds % _DAY // _HOUR
    if calendar == "proleptic_gregorian":
        months = seconds.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
        return months % 12 + 1, hour
    days, where = np.unique(seconds - seconds % _DAY, return_inverse=True)
    dates = cftime.num2date(days, _EPOCH, calendar=calendar, only_use_cftime_datetimes=True)
    month = np.array([date.month for date in np.atleast_1d(dates)], dtype=np.int64)
    return month[where].reshape(seconds.shape), hour


def step_hours(axis: TimeAxis) -> int:
    """Return the most frequent spacing of an axis in hours.

    Raises
    ------
    ConfigError
        If it is not a whole number of hours, or there is only one stamp.
    """
    spacings, counts = np.unique(np.diff(axis.seconds), return_counts=True)
    usual = int(spacings[counts.argmax()]) if spacings.size else 0
    if usual < _HOUR or usual % _HOUR:
        raise ConfigError(f"states must be whole hours apart, got {usual} s", hint=f"from {axis[0]} on")
    return usual // _HOUR


def steps_in_lead(axis: TimeAxis, lead_hours: int) -> int:
    """Return how many steps of an axis a lead is.

    Raises
    ------
    ConfigError
        If it is no whole number of them.
    """
    step = step_hours(axis)
    if lead_hours < step or lead_hours % step:
        raise ConfigError(
            f"lead_hours must be a multiple of the {step} hours between the states, got {lead_hours}"
        )
    return lead_hours // step
