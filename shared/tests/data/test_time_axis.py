from __future__ import annotations

import cftime
import numpy as np
import pytest
import xarray as xr

from isopleth.data.times import TimeAxis
from isopleth.errors import ConfigError, DataError


def axis(*stamps: str) -> TimeAxis:
    return TimeAxis.of(np.array(stamps, dtype="datetime64[ns]"))


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day", "julian", "proleptic_gregorian"])
def test_stamps_come_back_in_their_calendar(calendar: str) -> None:
    times = xr.date_range("1850-01-01", periods=900, freq="17h", calendar=calendar, use_cftime=True).values
    read = TimeAxis.of(times)
    assert read.calendar == calendar
    assert read.is_cftime
    assert list(read.stamps) == list(times)


def test_datetime64_stays_datetime64_even_far_from_now() -> None:
    times = np.array(["0850-01-01", "1850-06-01T12:00:01", "9999-12-31"], dtype="datetime64[s]")
    read = TimeAxis.of(times)
    np.testing.assert_array_equal(read.stamps, times)
    assert read.stamps.dtype.kind == "M"


def test_seconds_are_known_ones() -> None:
    assert axis("1970-01-02", "2000-01-01").seconds.tolist() == [86_400, 946_684_800]
    # No leap day in 1972 ... 1996: seven days fewer than the Gregorian calendar has.
    noleap = TimeAxis.of(np.array([cftime.DatetimeNoLeap(2000, 1, 1)]))
    assert noleap.seconds.tolist() == [946_684_800 - 7 * 86_400]


def test_noise_of_float_times_is_rounded_away() -> None:
    noisy = np.array(["2000-01-01T05:59:59.999996", "2000-01-01T12:00:00.000004"], dtype="datetime64[us]")
    assert TimeAxis.of(noisy).seconds.tolist() == axis("2000-01-01T06", "2000-01-01T12").seconds.tolist()


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        (("2000", "2000"), [0, 1, 1, 0]),
        (("2000-02", None), [0, 0, 1, 1]),
        ((None, "2000-01"), [1, 1, 0, 0]),
        (None, [1, 1, 1, 1]),
        (("1990", "1991"), [0, 0, 0, 0]),
    ],
)
@pytest.mark.parametrize("use_cftime", [True, False])
def test_a_partial_date_covers_all_of_it(period: tuple, expected: list[int], use_cftime: bool) -> None:
    times = np.array(["1999-12-31", "2000-01-31T18:00", "2000-02-01", "2001-01-01"], dtype="datetime64[ns]")
    if use_cftime:
        times = xr.CFTimeIndex(
            [cftime.DatetimeGregorian(*map(int, str(t)[:10].split("-")), 18) for t in times]
        )
    assert TimeAxis.of(times).select(period).astype(int).tolist() == expected


@pytest.mark.parametrize("period", [("2001", "2000"), ("yesterday", "2000"), "2000", ("2000",)])
def test_a_senseless_period_is_refused(period: tuple) -> None:
    with pytest.raises(ConfigError, match=r"period must"):
        axis("2000-01-01", "2000-06-01", "2001-06-01").select(period)


def test_positions_show_gaps_and_stray_stamps() -> None:
    stamps = ["2000-01-01", "2000-01-02", "2000-01-04", "2000-01-04T07", "2000-01-05", "2000-01-06"]
    found = axis(*stamps).positions()
    assert found.where[found.regular].tolist() == [0, 1, 3, 4, 5]
    assert found.regular.tolist() == [True, True, True, False, True, True]
    assert found.step == "1 day"


def test_months_and_years_are_steps_however_long() -> None:
    months = TimeAxis.of(xr.date_range("2000-01-31", periods=30, freq="ME").values)
    assert np.diff(months.positions().where).tolist() == [1] * 29
    assert months.positions().step == "1 month"
    years = TimeAxis.of(xr.date_range("1996-01-01", periods=9, freq="YS").values)
    assert np.diff(years.positions().where).tolist() == [1] * 8
    assert years.positions().step == "1 year"


def test_a_leap_day_is_no_gap_in_a_calendar_without() -> None:
    times = xr.date_range("2000-02-25", periods=10, freq="D", calendar="noleap", use_cftime=True).values
    assert np.diff(TimeAxis.of(times).positions().where).tolist() == [1] * 9


def test_the_step_can_be_told() -> None:
    found = axis("2000-01-01T00", "2000-01-01T06", "2000-01-01T12", "2000-01-02T00").positions("12h")
    assert found.regular.tolist() == [True, False, True, True]
    assert found.where[found.regular].tolist() == [0, 1, 2]
    for wrong in ("soon", "-6h", "1ms"):
        with pytest.raises(ConfigError, match=r"step must be"):
            axis("2000-01-01").positions(wrong)


@pytest.mark.parametrize(
    ("stamps", "message"),
    [
        (np.array(["2000-01-02", "2000-01-01"], "datetime64[s]"), "strictly increasing, got 2000-01-02"),
        (np.array(["2000-01-01", "2000-01-01"], "datetime64[s]"), "strictly increasing"),
        (np.array(["2000-01-01", "NaT"], "datetime64[s]"), "missing stamp at index 1"),
        (np.array([0.0, 1.0]), "datetime64 or cftime"),
        (np.array([cftime.DatetimeNoLeap(2000, 1, 1), cftime.Datetime360Day(2000, 1, 2)]), "one calendar"),
        (np.array([], "datetime64[s]"), "at least one"),
    ],
)
def test_bad_stamps_are_named(stamps: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TimeAxis.of(stamps)
