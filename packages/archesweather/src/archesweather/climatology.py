"""The normal state of each hour and day of the year, made from training years alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archesweather.clock import month_and_hour
from archesweather.states import Seconds, States, check_same_grid, stack_channels
from isopleth.data.times import Period, TimeAxis
from isopleth.errors import DataError
from isopleth.grid import Grid
from isopleth.io import find_sources, open_fields
from isopleth.io.formats import open_raw

Floats = NDArray[np.float64]

_DAYS = {"360_day": 360, "noleap": 365, "365_day": 365}
_CALENDARS = {360: "360_day", 365: "noleap", 366: "proleptic_gregorian"}
# Sums of all days of a year are held for as many channels as fit in this.
_BUDGET_BYTES = 2**30
_READ_STEPS = 8


@dataclass(frozen=True, eq=False)
class Climatology:
    r"""Means of the training years over a window of days, for each hour of the day.

    .. math:: c_{h,d} = \frac{\sum_j w_j S_{h,d+j}}{\sum_j w_j N_{h,d+j}}, \quad w_j = 1 - \frac{|j|}{m + 1},
              \quad |j| \le m = (W - 1) / 2

    with the sum S and the number N of the training states of hour h and day of year d, which goes round the
    turn of the year. So the 366th day, which leap years alone have, is as well known as its neighbours.

    Parameters
    ----------
    fields : ndarray of float32, shape (hour, day, channel, lat, lon)
        In physical units. One day stands for all in a climatology without seasons.
    hours : tuple of int
        Hours of the day that there are.
    calendar : str
        Whose days of the year these are; CF name.
    """

    fields: NDArray[np.float32]
    hours: tuple[int, ...]
    calendar: str = "proleptic_gregorian"

    def at(self, seconds: Seconds) -> Floats:
        """Return the normal state of given times, (time, channel, lat, lon), float64.

        Parameters
        ----------
        seconds : array of int64
            Since 1970-01-01, counted in the climatology's calendar.

        Raises
        ------
        DataError
            If the training years have no state at one of the hours.
        """
        hour, day = hours_and_days(seconds, self.calendar)
        unknown = sorted(set(hour.tolist()) - set(self.hours))
        if unknown:
            raise DataError(
                f"the climatology must have the hour of every time, got none for {unknown[0]} UTC",
                hint=f"it has {', '.join(map(str, self.hours))}: choose every_hours to match",
            )
        rows = np.searchsorted(self.hours, hour)
        return self.fields[rows, (day - 1) % self.fields.shape[1]].astype(np.float64)


def fit_climatology(
    states: States, period: Period, *, window_days: int = 61, hours: Sequence[int] | None = None
) -> Climatology:
    """Average the states of a period by hour of day and, smoothed, by day of year.

    One pass over the period, more if a year of daily sums does not fit in memory; a state is read
    at most once a pass.

    Parameters
    ----------
    states : States
        Missing values leave out their cell.
    period : (start, end)
        The training years, ends included.
    window_days : int
        Length of the window, odd; 0 for one mean of all days.
    hours : sequence of int, optional
        Hours of the day that are needed; all there are by default.

    Raises
    ------
    DataError
        If the period has no state, or none within the window of some day.
    """
    rows = np.flatnonzero(states.axis.select(period))
    if not rows.size:
        raise DataError(
            f"the training years must hold states to average, got none in {period}",
            where=states.place,
            hint=f"the states reach from {states.axis[0]} to {states.axis[len(states.axis) - 1]}",
        )
    hour, day = hours_and_days(states.axis.seconds[rows], states.axis.calendar)
    kept = [int(each) for each in np.unique(hour) if hours is None or each in hours]
    days = days_in_year(states.axis.calendar) if window_days else 1
    fields = np.empty((len(kept), days, len(states.channels), *states.grid.shape), dtype=np.float32)
    for number, each in enumerate(kept):
        chosen = hour == each
        fields[number] = _mean_by_day(states, rows[chosen], (day[chosen] - 1) % days, days, window_days)
    return Climatology(fields, tuple(kept), states.axis.calendar)


def open_climatology(source: str, channels: Sequence[str], grid: Grid) -> Climatology:
    """Read a climatology over (hour, dayofyear), as WeatherBench 2 publishes them.

    Raises
    ------
    DataError
        If it has other dimensions, lacks a channel, or is on another grid.
    """
    dataset = open_fields(source)
    missing = {"hour", "dayofyear"} - set(map(str, dataset.dims))
    if missing:
        raise DataError(
            f"a climatology must have the dimensions hour and dayofyear, got {tuple(dataset.dims)}",
            where=source,
        )
    check_same_grid(grid, Grid.of(dataset), "a climatology", source)
    fields = stack_channels(dataset, channels, ("hour", "dayofyear"))
    hours, calendar = _read_hours(source), _CALENDARS.get(dataset.sizes["dayofyear"])
    if calendar is None or len(hours) != dataset.sizes["hour"]:
        raise DataError(
            f"a climatology must have the hours and all days of a year, got {dict(dataset.sizes)}",
            where=source,
        )
    order = np.argsort(hours)
    return Climatology(fields[order].astype(np.float32), tuple(sorted(hours)), calendar)


def hours_and_days(seconds: Seconds, calendar: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return hour of day and day of year (from 1) of times in seconds since 1970-01-01 of a calendar."""
    seconds = np.asarray(seconds, dtype=np.int64)
    _, hour = month_and_hour(seconds, calendar)
    if calendar == "proleptic_gregorian":
        days = seconds.astype("datetime64[s]").astype("datetime64[D]")
        return hour, (days - days.astype("datetime64[Y]")).astype(np.int64) + 1
    unique, where = np.unique(seconds, return_inverse=True)
    stamps = TimeAxis(unique, calendar, is_cftime=True).stamps
    day = np.array([each.dayofyr for each in stamps], dtype=np.int64)
    return hour, day[where].reshape(seconds.shape)


def days_in_year(calendar: str) -> int:
    """Return the length of the longest year of a CF calendar, in days."""
    return _DAYS.get(calendar, 366)


def smooth_over_days(totals: Floats, window_days: int) -> Floats:
    """Add up days in a window that goes round the turn of the year, with linearly falling weights.

    Parameters
    ----------
    totals : ndarray, shape (day, ...)
    window_days : int
        Odd, up to twice the year.
    """
    reach = (window_days - 1) // 2
    smooth = np.zeros_like(totals)
    for offset in range(-reach, reach + 1):
        smooth += (1 - abs(offset) / (reach + 1)) * np.roll(totals, -offset, axis=0)
    return smooth


def _read_hours(source: str) -> list[int]:
    """Read the hours themselves: `open_fields` keeps no coordinate of an axis that it does not know."""
    for place in find_sources(source):
        for raw in open_raw(place):
            with raw.dataset as dataset:
                if "hour" in dataset.variables:
                    return [int(hour) for hour in np.atleast_1d(dataset["hour"].values)]
    return []


def _mean_by_day(
    states: States, rows: NDArray[np.int64], day: NDArray[np.int64], days: int, window_days: int
) -> Floats:
    """Average the states of one hour; a group of channels at a time where all do not fit."""
    n_channels, cells = len(states.channels), int(np.prod(states.grid.shape))
    group = max(1, int(_BUDGET_BYTES // (16 * days * cells)))
    means = [
        _mean_of_channels(states, rows, day, days, window_days, slice(first, first + group))
        for first in range(0, n_channels, group)
    ]
    return np.concatenate(means, axis=1)


def _mean_of_channels(
    states: States,
    rows: NDArray[np.int64],
    day: NDArray[np.int64],
    days: int,
    window_days: int,
    channels: slice,
) -> Floats:
    chosen = len(states.channels[channels])
    sums = np.zeros((days, chosen, *states.grid.shape))
    counts = np.zeros_like(sums)
    for first in range(0, rows.size, _READ_STEPS):
        part = slice(first, first + _READ_STEPS)
        block = states.read(rows[part])[:, channels]
        present = np.isfinite(block)
        for number, values, there in zip(day[part], np.where(present, block, 0.0), present, strict=True):
            sums[number] += values
            counts[number] += there
    if window_days:
        sums, counts = smooth_over_days(sums, window_days), smooth_over_days(counts, window_days)
    empty = (counts == 0).all(axis=(1, 2, 3))
    if empty.any():
        raise DataError(
            f"the training years must have states within {window_days // 2} days of every day of the year, "
            f"got none around day {int(empty.argmax()) + 1}",
            where=states.place,
            hint="climatology.window_days=0 takes one mean of all days",
        )
    with np.errstate(invalid="ignore"):
        return sums / counts
