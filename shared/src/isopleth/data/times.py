"""A store's time axis: whole seconds in the calendar the data came with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cftime  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from isopleth.errors import ConfigError, DataError

Period = tuple[str | None, str | None]
Integers = NDArray[np.int64]

_EPOCH = "since 1970-01-01 00:00:00"
_DAY = 86_400
# Months are 28 to 31 days long and years 360 to 366, whatever the calendar.
_MONTH, _YEAR = (28 * _DAY, 31 * _DAY), (360 * _DAY, 366 * _DAY)


@dataclass(frozen=True, eq=False)
class TimeAxis:
    """Strictly increasing time stamps of one calendar.

    Parameters
    ----------
    seconds : ndarray of int64, shape (time,)
        Seconds since 1970-01-01 00:00 in `calendar`.
    calendar : str
        CF name of the calendar.
    is_cftime : bool
        Whether the stamps were `cftime` objects, and are handed out as such, or ``datetime64``.

    Examples
    --------
    >>> axis = TimeAxis.of(np.array(["2000-01-01", "2000-01-02", "2000-01-04"], "datetime64[s]"))
    >>> axis.select(("2000-01-02", "2000")).tolist()
    [False, True, True]
    >>> axis.positions().where.tolist()  # a day is missing
    [0, 1, 3]
    """

    seconds: Integers
    calendar: str
    is_cftime: bool

    def __post_init__(self) -> None:
        seconds = np.array(self.seconds, dtype=np.int64)
        if seconds.ndim != 1 or seconds.size == 0:
            raise DataError(f"time must be a 1-D axis of at least one stamp, got shape {seconds.shape}")
        seconds.flags.writeable = False
        object.__setattr__(self, "seconds", seconds)
        back = np.flatnonzero(np.diff(seconds) <= 0)
        if back.size:
            first, second = self[int(back[0])], self[int(back[0]) + 1]
            raise DataError(
                f"time must be strictly increasing, got {first} then {second} at index {back[0]}",
                hint="sort the dataset by time and drop what is double",
            )

    @classmethod
    def of(cls, values: Any) -> TimeAxis:
        """Read time stamps (``datetime64`` or `cftime` objects of one calendar), to the nearest second.

        Raises
        ------
        DataError
            If a stamp is missing, is no time stamp, or the stamps do not increase.
        """
        stamps = np.asarray(values).reshape(-1)
        if stamps.dtype.kind == "M":
            if np.isnat(stamps).any():
                raise DataError(
                    f"time must be known, got a missing stamp at index {np.isnat(stamps).argmax()}"
                )
            micro = stamps.astype("datetime64[us]").astype(np.int64)
            return cls((micro + 500_000) // 1_000_000, "proleptic_gregorian", is_cftime=False)
        calendar = _common_calendar(stamps)
        micro = cftime.date2num(stamps, f"microseconds {_EPOCH}", calendar=calendar)
        return cls((np.asarray(micro, dtype=np.int64) + 500_000) // 1_000_000, calendar, is_cftime=True)

    def __len__(self) -> int:
        return int(self.seconds.size)

    def __getitem__(self, index: int) -> str:
        """Write the stamp at an index as ISO 8601."""
        return str(self._decode(self.seconds[[index]])[0]).replace(" ", "T")

    @property
    def stamps(self) -> NDArray[Any]:
        """The time stamps: ``datetime64[s]``, or an object array of `cftime`."""
        return self._decode(self.seconds)

    def select(self, period: Period | None) -> NDArray[np.bool_]:
        """Mark the stamps in a period.

        Parameters
        ----------
        period : (start, end), optional
            ISO dates, both included; a partial date covers all of it, so that ``("1979", "2015")`` ends with
            the last stamp of 2015. None leaves an end open.

        Returns
        -------
        ndarray of bool, shape (time,)

        Raises
        ------
        ConfigError
            If a date cannot be read, or the period ends before it begins.
        """
        inside = np.zeros(len(self), dtype=bool)
        start, end = _check_period(period)
        stamps = self.stamps
        index: Any = xr.CFTimeIndex(stamps) if self.is_cftime else pd.DatetimeIndex(stamps)
        try:
            inside[index.slice_indexer(start, end)] = True
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"period must be two ISO dates, got {period!r}", hint=str(error)) from error
        return inside

    def positions(self, step: str | None = None) -> Positions:
        """Count the stamps along a regular axis, so that neighbours in time are neighbours in number.

        Parameters
        ----------
        step : str, optional
            The spacing: ``"6h"``, ``"1D"``, ... or ``"month"`` or ``"year"``, which are as long as the
            calendar has them. By default it is the most frequent one.

        Returns
        -------
        Positions
        """
        unit = self._usual_step() if step is None else _parse_step(step)
        if isinstance(unit, str):
            return self._calendar_positions(unit)
        since = self.seconds - self.seconds[0]
        phase = _most_frequent(since % unit)
        return Positions((since - phase) // unit, (since % unit) == phase, _name_step(unit))

    def _calendar_positions(self, unit: str) -> Positions:
        year, month = self._years_and_months()
        where = year if unit == "year" else year * 12 + month - 1
        alone = np.diff(where, prepend=where[0] - 1) > 0
        return Positions(where, alone, f"1 {unit}")

    def _usual_step(self) -> int | str:
        steps = np.diff(self.seconds)
        if steps.size == 0:
            return _DAY
        usual = _most_frequent(steps)
        middle = float(np.median(steps))
        if np.mean(steps == usual) < 0.9:
            for name, (low, high) in (("month", _MONTH), ("year", _YEAR)):
                if low <= middle <= high:
                    return name
        return usual

    def _years_and_months(self) -> tuple[Integers, Integers]:
        stamps = self.stamps
        if self.is_cftime:
            return np.array([t.year for t in stamps]), np.array([t.month for t in stamps])
        index = pd.DatetimeIndex(stamps)
        return np.asarray(index.year, dtype=np.int64), np.asarray(index.month, dtype=np.int64)

    def _decode(self, seconds: Integers) -> NDArray[Any]:
        if not self.is_cftime:
            return seconds.astype("datetime64[s]")
        dates = cftime.num2date(
            seconds, f"seconds {_EPOCH}", calendar=self.calendar, only_use_cftime_datetimes=True
        )
        return np.asarray(dates, dtype=object)


@dataclass(frozen=True)
class Positions:
    """Where stamps stand on a regular axis.

    Parameters
    ----------
    where : ndarray of int64, shape (time,)
        Number of steps from the axis' origin.
    regular : ndarray of bool, shape (time,)
        False for a stamp that stands between two steps, or shares its step with an earlier one.
    step : str
        The spacing, for a reader.
    """

    where: Integers
    regular: NDArray[np.bool_]
    step: str


def _check_period(period: Period | None) -> Period:
    if period is None:
        return None, None
    if isinstance(period, str) or not isinstance(period, Sequence) or len(period) != 2:
        raise ConfigError(f"period must be two ISO dates, got {period!r}")
    start, end = (None if date is None else str(date).replace(" ", "T") for date in period)
    if start is not None and end is not None:
        both = min(len(start), len(end))  # ISO dates sort as text, as far as both are given
        if start[:both] > end[:both]:
            raise ConfigError(f"period must end after it begins, got {period!r}")
    return start, end


def _common_calendar(stamps: NDArray[Any]) -> str:
    wrong = [stamp for stamp in stamps if not isinstance(stamp, cftime.datetime)]
    if wrong or stamps.size == 0:
        raise DataError(
            f"time must be datetime64 or cftime stamps, got {stamps.dtype} {wrong[:1]}",
            hint="open the data by isopleth.io.open_fields, which decodes times",
        )
    calendars = sorted({stamp.calendar for stamp in stamps})
    if len(calendars) > 1:
        raise DataError(f"time must be of one calendar, got {', '.join(calendars)}")
    return str(calendars[0])


def _parse_step(step: str) -> int | str:
    if step in ("month", "year"):
        return step
    try:
        seconds = pd.Timedelta(step).total_seconds()
    except (ValueError, TypeError) as error:
        raise ConfigError(f"step must be a duration such as '6h', or month, or year, got {step!r}") from error
    if not (seconds >= 1 and seconds == int(seconds)):
        raise ConfigError(f"step must be a whole number of seconds above 0, got {step!r}")
    return int(seconds)


def _name_step(seconds: int) -> str:
    for unit, length in (("day", _DAY), ("hour", 3600), ("minute", 60)):
        if seconds % length == 0:
            return f"{seconds // length} {unit}{'s' if seconds > length else ''}"
    return f"{seconds} seconds"


def _most_frequent(values: Integers) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])
