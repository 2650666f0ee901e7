"""Decimal years and ticks in every calendar, and durations in their units."""

import datetime as dt

import cftime
import numpy as np
import pytest

from isopleth.errors import ConfigError, DataError
from isopleth.fields.times import decimal_years, describe_gap, duration_ticks, ticks

DAY = 86_400_000_000


def test_datetime64_years():
    times = np.array(
        ["2000-01-01", "2000-12-31T12", "2001-07-02T12", "1969-07-02T12"], dtype="datetime64[ns]"
    )
    np.testing.assert_allclose(
        decimal_years(times), [2000, 2000 + 365.5 / 366, 2001.5, 1969.5], rtol=0, atol=1e-12
    )


def test_cftime_years():
    times = np.array([cftime.Datetime360Day(1999, 7, 1), cftime.Datetime360Day(2000, 2, 30)])
    np.testing.assert_allclose(decimal_years(times), [1999.5, 2000 + 59 / 360], rtol=0, atol=1e-12)
    leap_day = np.array([cftime.DatetimeGregorian(2000, 2, 29)])
    np.testing.assert_allclose(decimal_years(leap_day), 2000 + 59 / 366, atol=1e-12)


def test_standard_library_datetimes_and_years_as_numbers():
    assert decimal_years([dt.datetime(2001, 1, 1)])[0] == 2001  # noqa: DTZ001 - model time has no zone
    np.testing.assert_array_equal(decimal_years(np.array([1993, 1994])), [1993.0, 1994.0])


def test_ticks_are_exact():
    times = np.array(["1800-01-01", "2200-01-01T00:00:00.000001"], dtype="datetime64[us]")
    assert np.diff(ticks(times))[0] == 146097 * DAY + 1
    model = np.array([cftime.Datetime360Day(1, 1, 1), cftime.Datetime360Day(401, 1, 1)])
    assert np.diff(ticks(model))[0] == 400 * 360 * DAY


def test_durations_take_the_unit_of_the_axis():
    dates, numbers = ticks(np.array(["2000-01-01"], "datetime64[D]")), ticks(np.array([2000.0]))
    for week in ("7D", np.timedelta64(7, "D"), dt.timedelta(7)):
        assert duration_ticks(week, dates, name="embargo") == 7 * DAY
    assert duration_ticks(7, numbers, name="embargo") == 7
    assert duration_ticks(0, dates, name="embargo") == 0
    assert describe_gap(7.0 * DAY, dates) == "7 days"
    assert describe_gap(7.0, numbers) == "7"


DATES, NUMBERS = np.zeros(1, np.int64), np.zeros(1)


@pytest.mark.parametrize(
    ("duration", "axis"),
    [
        (7, DATES),
        ("7D", NUMBERS),
        ("-7D", DATES),
        ("week", DATES),
        ("NaT", DATES),
        (None, DATES),
        (np.nan, NUMBERS),
        (np.inf, NUMBERS),
    ],
)
def test_durations_that_are_none(duration, axis):
    with pytest.raises(ConfigError, match="embargo must be"):
        duration_ticks(duration, axis, name="embargo")


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (np.array(["2000-01-01", "NaT"], "datetime64[ns]"), "1 missing, the first at 1"),
        (np.array([2000, np.nan]), "missing"),
        (np.array([], "datetime64[ns]"), "non-empty"),
        (np.array([["2000-01-01"]], "datetime64[ns]"), "1-D"),
        (np.array(["2000-01-01"]), "datetime64, cftime or numbers"),
        (np.array([None, None]), "datetime64, cftime or numbers"),
        (np.array([cftime.Datetime360Day(1, 1, 1), cftime.DatetimeNoLeap(1, 1, 2)]), "one calendar"),
    ],
)
def test_stamps_that_are_none(times, message):
    for function in (decimal_years, ticks):
        with pytest.raises(DataError, match=message):
            function(times)
