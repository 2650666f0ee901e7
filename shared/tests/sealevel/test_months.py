"""One time axis for all calendars, and means over it."""

import cftime
import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from isopleth.errors import DataError
from isopleth.sealevel import mean_of_years, remove_seasonal_cycle
from isopleth.sealevel.months import check_complete, count_months, find_frequency, middles, month_lengths


def count(*months):
    return np.array([12 * year + month - 1 for year, month in months])


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard", "proleptic_gregorian", "all_leap"])
def test_months_are_counted_in_any_calendar(calendar):
    stamps = [
        cftime.datetime(1999, 12, 30, calendar=calendar),
        cftime.datetime(2000, 1, 1, calendar=calendar),
    ]
    assert count_months(xr.DataArray(stamps, dims="time")).tolist() == [12 * 1999 + 11, 12 * 2000]


@given(st.integers(12 * 1700, 12 * 2200))
def test_middles_lie_in_their_month(month):
    assert count_months(xr.DataArray(middles(np.array([month]), "month"), dims="time"))[0] == month


def test_lengths_of_months_are_the_calendars():
    year = 12 * 2000 + np.arange(12)
    assert month_lengths(year, "standard").sum() == 366
    assert month_lengths(year, "noleap").sum() == 365
    assert month_lengths(year, "noleap")[1] == 28
    assert month_lengths(year, "360_day").tolist() == [30.0] * 12


def test_frequency_and_what_is_none():
    assert find_frequency(12 * 2000 + np.arange(30), where="x") == "month"
    assert find_frequency(12 * np.arange(2000, 2010) + 6, where="x") == "year"
    with pytest.raises(DataError, match="got two of 2000-03"):
        find_frequency(count((2000, 2), (2000, 3), (2000, 3)), where="x")
    with pytest.raises(DataError, match="got one every 3 months"):
        find_frequency(12 * 2000 + np.arange(0, 30, 3), where="x")


def test_gaps_are_named_shortly():
    whole = 12 * 1990 + np.arange(240)
    assert check_complete(whole, 1992, 1993, where="x") == slice(24, 48)
    holes = np.delete(whole, [*range(24, 36), 40, 41, 100, 101, 102, 103])
    with pytest.raises(DataError, match="got none of 1992, 1993-05, 1993-06, 1998-05 and 3 more"):
        check_complete(holes, 1990, 2009, where="x")


def series(months=48, chunks=None):
    values = np.random.default_rng(0).normal(size=(2, months, 3, 4))
    data = values if chunks is None else dask.array.from_array(values, chunks=(1, chunks, 3, 4))
    time = middles(12 * 1999 + np.arange(months), "month")
    return values, xr.DataArray(data, {"time": time}, ("member", "time", "lat", "lon"))


@pytest.mark.parametrize("chunks", [None, 5, 12, 30, 48])
@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
def test_means_of_years_weigh_months_by_their_days(chunks, calendar):
    values, field = series(chunks=chunks)
    days = {"noleap": [31, 28], "360_day": [30, 30], "standard": [31, 28]}[calendar]
    weights = np.array([*days, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], float)
    weights = np.full(12, 30.0) if calendar == "360_day" else weights
    means = mean_of_years(field, calendar)
    assert (means.chunks is None) == (chunks is None)
    np.testing.assert_allclose(
        means[:, 0], np.einsum("mtyx,t->myx", values[:, :12], weights) / weights.sum(), rtol=1e-6
    )
    if calendar == "standard":
        weights[1] = 29.0
    np.testing.assert_allclose(
        means[:, 1], np.einsum("mtyx,t->myx", values[:, 12:24], weights) / weights.sum(), rtol=1e-6
    )
    assert [str(t)[:10] for t in means.time.values[:2]] == ["1999-07-02", "2000-07-02"]


def test_a_year_with_a_missing_month_is_missing():
    _, field = series()
    field[0, 13, 1, 2] = np.nan
    means = mean_of_years(field, "noleap")
    assert np.isnan(means[0, :, 1, 2]).values.tolist() == [False, True, False, False]
    assert int(means.isnull().sum()) == 1


def test_parts_of_years_are_refused():
    with pytest.raises(DataError, match="must make whole years"):
        mean_of_years(series(47)[1], "noleap")
    with pytest.raises(DataError, match="must make whole years"):
        mean_of_years(series()[1].isel(time=slice(6, 42)), "noleap")


def test_the_seasonal_cycle_goes_and_the_rest_stays():
    _, field = series(96, chunks=24)
    months = np.arange(96)
    cycle = xr.DataArray(np.cos(2 * np.pi * months / 12), dims="time")
    with_cycle = field * 0.0 + 5.0 + 0.01 * xr.DataArray(months // 12, dims="time") + cycle
    left = remove_seasonal_cycle(with_cycle, (1999, 2006))
    assert left.chunks is not None
    np.testing.assert_allclose(left[0, :, 0, 0], 5.0 + 0.01 * (months // 12), atol=1e-9)
