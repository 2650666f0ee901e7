"""Time axes: decoded with their calendar, checked, moved to the middle of what they stand for."""

from __future__ import annotations

import datetime as dt
import itertools
import warnings
from typing import Any

import numpy as np
import xarray as xr

from isopleth.errors import DataError

_MONTH_DAYS = (28, 31)
_SECOND = 10**9
_LEAD_UNITS = {
    **dict.fromkeys(("day", "d"), 86400 * _SECOND),
    **dict.fromkeys(("hour", "hr", "h"), 3600 * _SECOND),
    **dict.fromkeys(("minute", "min"), 60 * _SECOND),
    **dict.fromkeys(("second", "sec", ""), _SECOND),
}


def decode_time(raw: xr.Variable, name: str) -> xr.Variable:
    """Decode a time axis: datetime64[ns] on the calendar of every day, cftime on the others.

    Parameters
    ----------
    raw : xr.Variable
        As stored, with ``units`` "... since ..." and perhaps ``calendar``; or dates as integers, 20240131.
    name : str
        For the error message.

    Raises
    ------
    DataError
        If it cannot be decoded, or holds a missing time.
    """
    raw = _parse_digits(raw)
    coder = xr.coders.CFDatetimeCoder(time_unit="ns")
    try:
        with warnings.catch_warnings():
            # Ancient reference dates are ambiguous and fall back to cftime: both are wanted here.
            warnings.simplefilter("ignore", xr.SerializationWarning)
            decoded = xr.decode_cf(xr.Dataset({"t": raw}), decode_times=coder, decode_timedelta=False)[
                "t"
            ].variable
            values = decoded.load()
    except Exception as error:  # cftime, pandas and xarray each raise their own
        raise DataError(
            f"time axis {name!r} must be decodable, got units {raw.attrs.get('units')!r} "
            f"and calendar {raw.attrs.get('calendar', 'standard')!r}",
            hint=f"({type(error).__name__}: {str(error)[:120]})",
        ) from error
    if values.dtype.kind not in "MO":
        raise DataError(
            f"time axis {name!r} must have units like 'days since 1950-01-01', got {raw.attrs.get('units')!r}"
        )
    if bool(np.asarray(values.isnull()).any()):
        raise DataError(f"time axis {name!r} must have no missing value, got {int(values.isnull().sum())}")
    return values


def decode_lead(raw: xr.Variable, name: str) -> xr.Variable:
    """Decode forecast lead times to timedelta64[ns]; numbers without units count hours."""
    if raw.dtype.kind == "m":
        return raw.astype("timedelta64[ns]")
    units = str(raw.attrs.get("units", "hours"))
    try:
        nanoseconds = _LEAD_UNITS[units.lower().rstrip("s")]
    except KeyError:
        raise DataError(
            f"lead time {name!r} must be in days, hours, minutes or seconds, got {units!r}"
        ) from None
    values = (
        np.round(np.asarray(raw.values, np.float64) * nanoseconds).astype("int64").astype("timedelta64[ns]")
    )
    return xr.Variable(raw.dims, values, {"standard_name": "forecast_period"})


def calendar_of(time: xr.Variable) -> str:
    """Name the calendar of a decoded time axis: "standard", "noleap", "360_day", ..."""
    if time.dtype.kind == "M" or time.size == 0:
        return "standard"
    return str(np.ravel(time.values)[0].calendar)


def centre_stamps(
    time: xr.Variable, bounds: xr.Variable | None, *, stamped_at_end: bool
) -> tuple[xr.Variable, str | None]:
    """Move stamps at the end of their interval to its middle.

    CESM stamps the mean of January with 1 February 00:00. With bounds the middle is theirs; intervals shorter
    than a month are left alone unless the model is known to stamp so, for an hourly sum belongs to its end.
    Without bounds, such a model's stamps are moved if they are monthly and all stand at 00:00 on the 1st.

    Parameters
    ----------
    time : xr.Variable
        Decoded.
    bounds : xr.Variable, optional
        Decoded, ``(time, 2)``.
    stamped_at_end : bool
        Whether the file comes from such a model.

    Returns
    -------
    tuple
        The time axis, and a sentence for the history (None if nothing moved).
    """
    if bounds is not None and bounds.shape == (time.size, 2):
        starts, ends = bounds.values[:, 0], bounds.values[:, 1]
        at_end = time.ndim == 1 and bool((ends == time.values).all() and (starts < ends).all())
        if at_end and (stamped_at_end or _are_months(ends - starts)):
            return time.copy(
                data=starts + (ends - starts) / 2
            ), "moved time stamps to the middle of their bounds"
        return time, None
    if stamped_at_end and time.ndim == 1 and _is_monthly_on_first(time.values):
        ends = time.values
        starts = np.array([_month_before(stamp) for stamp in ends], dtype=ends.dtype)
        return time.copy(data=starts + (ends - starts) / 2), (
            "moved month-end time stamps to the middle of the month before (no bounds in the file)"
        )
    return time, None


def check_times(time: xr.Variable, *, where: str) -> None:
    """Raise unless times increase strictly.

    Raises
    ------
    DataError
        Naming the first time that is repeated or out of order.
    """
    if time.ndim != 1 or time.size < 2:
        return
    values = time.values
    step = values[1:] > values[:-1]
    if step.all():
        return
    first = int(np.argmin(step))
    kind = "be unique" if values[first] == values[first + 1] else "increase"
    raise DataError(
        f"times must {kind}, got {format_time(values[first])} followed by {format_time(values[first + 1])} "
        f"(position {first + 1})",
        where=where,
        hint="sort the file, or remove the repeated steps",
    )


def convert_calendar(fields: xr.Dataset, calendar: Any, *, align_on: Any = None) -> xr.Dataset:
    """Move fields to another calendar, dropping days that it does not have and adding none.

    Parameters
    ----------
    fields : xr.Dataset
        With a ``time`` dimension.
    calendar : str
        "standard", "noleap", "360_day", ...
    align_on : str, optional
        How a 360-day year is spread: see `xarray.Dataset.convert_calendar`; "date" if neither calendar is
        360_day, "year" otherwise.
    """
    here = calendar_of(fields["time"].variable)
    if align_on is None:
        align_on = "year" if "360_day" in {here, calendar} else "date"
    return fields.convert_calendar(calendar, align_on=align_on)


def format_time(value: Any) -> str:
    """Write a time as briefly as its precision allows."""
    text = str(value.isoformat()) if hasattr(value, "isoformat") else str(np.datetime64(value, "s"))
    text = text.replace("T00:00:00", "")
    return text.removesuffix(".000000")


def _parse_digits(raw: xr.Variable) -> xr.Variable:
    """Read dates written as integers (20240131), as the new CDS does for monthly files."""
    if "units" in raw.attrs and "as %Y%m%d" not in str(raw.attrs["units"]):
        return raw
    if raw.dtype.kind not in "iuf" or raw.size == 0:
        return raw
    numbers = np.asarray(raw.values, dtype=np.int64)
    if not ((numbers > 10_000_101) & (numbers < 99_991_231)).all():
        return raw
    texts = [f"{n // 10000:04d}-{n // 100 % 100:02d}-{n % 100:02d}" for n in np.ravel(numbers)]
    try:
        dates = np.array(texts, dtype="datetime64[ns]").reshape(numbers.shape)
    except ValueError:
        return raw
    return xr.Variable(raw.dims, dates)


def _is_monthly_on_first(values: np.ndarray) -> bool:
    if values.size < 2:
        return False
    stamps = [_as_datetime(value) for value in values]
    days = [(after - before).days for before, after in itertools.pairwise(stamps)]
    on_first = all((s.day, s.hour, s.minute, s.second) == (1, 0, 0, 0) for s in stamps)
    return on_first and all(_MONTH_DAYS[0] <= day <= _MONTH_DAYS[1] for day in days)


def _are_months(spans: np.ndarray) -> bool:
    day = np.timedelta64(1, "D") if spans.dtype.kind == "m" else dt.timedelta(days=1)
    return all(_MONTH_DAYS[0] <= span / day for span in spans)


def _as_datetime(value: Any) -> Any:
    """Return a time that has days and hours: numpy's does not."""
    return value.astype("datetime64[us]").item() if isinstance(value, np.datetime64) else value


def _month_before(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return (value.astype("datetime64[M]") - np.timedelta64(1, "M")).astype(value.dtype)
    years, month = divmod(value.month - 2, 12)
    return value.replace(year=value.year + years, month=month + 1)
