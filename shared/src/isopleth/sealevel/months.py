"""One time axis for all calendars: months and years, counted; what is missing is named."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from isopleth.errors import DataError

Frequency = Literal["month", "year"]
Counts = NDArray[np.int64]


def count_months(time: xr.DataArray) -> Counts:
    """Count the months of stamps in their own calendar: twelve times the year, plus 0 to 11."""
    return np.asarray(12 * time.dt.year.values.astype(np.int64) + time.dt.month.values - 1)


def middles(months: Counts, frequency: Frequency) -> NDArray[np.datetime64]:
    """Return the middle of each month, or of each month's year, as datetime64[ns]."""
    first = (months - 12 * 1970).astype("datetime64[M]")
    unit: Literal["M", "Y"] = "M" if frequency == "month" else "Y"
    starts = first.astype(f"datetime64[{unit}]")
    ends = (starts + np.timedelta64(1, unit)).astype("datetime64[ns]")
    starts = starts.astype("datetime64[ns]")
    return starts + (ends - starts) // 2


def find_frequency(months: Counts, *, where: str) -> Frequency:
    """Say whether stamps are months or years, by their most common step.

    Raises
    ------
    DataError
        If a month comes twice, or stamps are neither.
    """
    steps = np.diff(months)
    if (steps == 0).any():
        twice = months[:-1][steps == 0][0]
        raise DataError(
            f"there must be one field a month, got two of {name_month(twice)}",
            where=where,
            hint="leave one of the files out, or make monthly means of daily ones",
        )
    common = int(np.median(steps)) if steps.size else 12
    if common not in (1, 12):
        raise DataError(
            f"fields must be means of months or of years, got one every {common} months", where=where
        )
    return "month" if common == 1 else "year"


def whole_years(months: Counts, frequency: Frequency, *, where: str) -> tuple[int, int]:
    """Return the first and the last year of which all months lie between the ends.

    Raises
    ------
    DataError
        If there is none.
    """
    if frequency == "year":
        return int(months[0] // 12), int(months[-1] // 12)
    first, last = int(-(-months[0] // 12)), int((months[-1] + 1) // 12) - 1
    if last < first:
        ends = f"{name_month(int(months[0]))} to {name_month(int(months[-1]))}"
        raise DataError(f"monthly fields must cover a whole year, got {ends}", where=where)
    return first, last


def check_complete(months: Counts, first_year: int, last_year: int, *, where: str) -> slice:
    """Return the steps of whole years, after making sure that none is missing.

    Parameters
    ----------
    months : array of int
        Increasing, as `count_months` gives them.
    first_year, last_year : int
        Both included.
    where : str
        Which member of which ensemble, for the error.

    Raises
    ------
    DataError
        Naming the years, or months, that are missing.
    """
    frequency = find_frequency(months, where=where)
    wanted = np.arange(12 * first_year, 12 * (last_year + 1))
    step = 12 if frequency == "year" else 1
    present = np.isin(wanted // step, months // step)
    if not present.all():
        raise DataError(
            f"every {frequency} of {first_year} to {last_year} must be there, "
            f"got none of {_name_gaps(wanted[~present])}",
            where=where,
            hint="add the missing files, or prepare fewer years",
        )
    inside = np.flatnonzero((months // 12 >= first_year) & (months // 12 <= last_year))
    return slice(int(inside[0]), int(inside[-1]) + 1)


def name_month(month: int) -> str:
    """Write a counted month: 1997-05."""
    return f"{month // 12}-{month % 12 + 1:02d}"


def month_lengths(months: Counts, calendar: str) -> NDArray[np.float64]:
    """Return the days of each month in a calendar."""
    if calendar == "360_day":
        return np.full(months.size, 30.0)
    first = (months - 12 * 1970).astype("datetime64[M]")
    following = first + np.timedelta64(1, "M")
    days = (following.astype("datetime64[D]") - first.astype("datetime64[D]")).astype(np.float64)
    if calendar in ("noleap", "365_day"):
        return np.minimum(days, np.where(months % 12 == 1, 28.0, 31.0))
    return days


def _name_gaps(missing: Counts) -> str:
    """Name whole years as years, other months as months; at most four."""
    years, counts = np.unique(missing // 12, return_counts=True)
    whole = set(years[counts == 12].tolist())
    names = sorted({str(m // 12) if m // 12 in whole else name_month(m) for m in missing.tolist()})
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more
