"""The climatology: means of the training years alone, in any calendar, smooth over the turn of the year."""

import cftime
import numpy as np
import pytest
import xarray as xr

from archesweather.climatology import (
    Climatology,
    days_in_year,
    fit_climatology,
    hours_and_days,
    open_climatology,
    smooth_over_days,
)
from archesweather.states import FieldStates
from isopleth.data.times import TimeAxis
from isopleth.errors import DataError
from isopleth.grid import Grid

LAT, LON = np.array([-45.0, 45.0]), np.array([0.0, 120.0, 240.0])


def make_states(times, values):
    data = np.broadcast_to(np.asarray(values, float)[:, None, None], (len(times), 2, 3)).copy()
    fields = xr.Dataset(
        {"2m_temperature": (("time", "lat", "lon"), data, {"units": "K"})},
        {"time": times, "lat": LAT, "lon": LON},
    )
    return FieldStates(fields, ("2m_temperature",))


def daily(first, last, hours=24):
    return np.arange(np.datetime64(first, "h"), np.datetime64(last, "h"), np.timedelta64(hours, "h")).astype(
        "datetime64[ns]"
    )


def cftime_daily(years, calendar):
    start = cftime.datetime(2001, 1, 1, calendar=calendar)
    length = days_in_year(calendar)
    dates = cftime.num2date(np.arange(years * length), f"days since {start}", calendar=calendar)
    return np.array(dates, dtype=object)


def naive(times, values, hour, day, window, length):
    """Average with weights, one training state after the other."""
    stamps = xr.DataArray(times, dims="t").dt
    total = weight = 0.0
    reach = (window - 1) // 2
    for its_hour, its_day, value in zip(stamps.hour.values, stamps.dayofyear.values, values, strict=True):
        apart = min(abs(its_day - day), length - abs(its_day - day))
        if its_hour == hour and apart <= reach:
            total += (1 - apart / (reach + 1)) * value
            weight += 1 - apart / (reach + 1)
    return total / weight


@pytest.mark.parametrize("window", [1, 5, 61])
def test_means_are_those_of_a_naive_average(window):
    times = daily("2003-01-01", "2005-01-01", 12)
    values = np.random.default_rng(0).normal(280, 10, len(times))
    found = fit_climatology(make_states(times, values), ("2003", "2004"), window_days=window)
    for date, hour, day in (("2005-01-02T00", 0, 2), ("2005-12-31T12", 12, 365), ("2005-07-01T12", 12, 182)):
        seconds = np.array([date], "datetime64[s]").astype(np.int64)
        expected = naive(times, values, hour, day, window, 366)
        np.testing.assert_allclose(found.at(seconds), expected, rtol=1e-7)


def test_only_training_years_are_read():
    times = daily("2001-01-01", "2004-01-01")
    values = np.where(times < np.datetime64("2003"), 280.0, 1e6)

    class Guarded(FieldStates):
        def read(self, rows):
            assert self.axis.seconds[np.asarray(rows)].max() < TimeAxis.of(times[730:731]).seconds[0]
            return super().read(rows)

    states = Guarded(make_states(times, values).dataset, ("2m_temperature",))
    found = fit_climatology(states, ("2001", "2002"))
    assert (found.fields == 280.0).all()


@pytest.mark.parametrize(("calendar", "length"), [("noleap", 365), ("360_day", 360), ("all_leap", 366)])
def test_calendars_have_their_own_days(calendar, length):
    times = cftime_daily(2, calendar)
    day = np.tile(np.arange(1.0, length + 1), 2)
    states = make_states(times, day)
    found = fit_climatology(states, (None, None), window_days=1)
    assert found.fields.shape[1] == days_in_year(calendar) == length
    np.testing.assert_allclose(found.at(states.axis.seconds)[:, 0, 0, 0], day)


def test_the_day_that_only_leap_years_have_is_known_from_its_neighbours():
    times = daily("2001-01-01", "2003-01-01")
    found = fit_climatology(make_states(times, np.full(len(times), 7.0)), ("2001", "2002"), window_days=5)
    leap = np.array(["2004-12-31"], "datetime64[s]").astype(np.int64)
    assert hours_and_days(leap, "proleptic_gregorian")[1].tolist() == [366]
    assert (found.at(leap) == 7.0).all()


def test_days_of_the_year_agree_with_xarray():
    seconds = np.random.default_rng(1).integers(-(10**10), 10**10, 500)
    stamps = xr.DataArray(seconds.astype("datetime64[s]"), dims="t").dt
    hour, day = hours_and_days(seconds, "proleptic_gregorian")
    np.testing.assert_array_equal(hour, stamps.hour)
    np.testing.assert_array_equal(day, stamps.dayofyear)


def test_data_without_seasons_have_one_mean():
    times = daily("2001-01-01", "2001-03-01")
    values = np.random.default_rng(2).normal(size=len(times))
    found = fit_climatology(make_states(times, values), ("2001", "2001"), window_days=0)
    later = np.array(["2030-08-15"], "datetime64[s]").astype(np.int64)
    np.testing.assert_allclose(found.at(later), values.mean(), rtol=1e-6)


def test_missing_cells_drop_out_of_their_own_mean():
    times = daily("2001-01-01", "2001-01-05")
    states = make_states(times, [1.0, 2.0, 3.0, 4.0])
    states.dataset["2m_temperature"][1, 0, 0] = np.nan
    states.dataset["2m_temperature"][:, 1, 1] = np.nan
    found = fit_climatology(states, ("2001", "2001"), window_days=0).at(np.array([0]))[0, 0]
    assert found[0, 0] == pytest.approx(8 / 3)
    assert found[0, 1] == pytest.approx(2.5)
    assert np.isnan(found[1, 1])


def test_smoothing_keeps_sums_and_goes_round_the_year():
    totals = np.zeros((10, 1))
    totals[0] = 1.0
    np.testing.assert_allclose(
        smooth_over_days(totals, 5)[:, 0], [1, 2 / 3, 1 / 3, 0, 0, 0, 0, 0, 1 / 3, 2 / 3]
    )


def test_what_cannot_be_known_is_refused():
    states = make_states(daily("2001-01-01", "2001-03-01"), np.zeros(59))
    with pytest.raises(
        DataError, match=r"within 30 days of every day of the year, got none around day 90.*window_days=0"
    ):
        fit_climatology(states, ("2001", "2001"))
    with pytest.raises(DataError, match="training years must hold states"):
        fit_climatology(states, ("1990", "1991"))
    known = fit_climatology(states, ("2001", "2001"), window_days=0)
    with pytest.raises(DataError, match=r"got none for 6 UTC.*it has 0"):
        known.at(np.array([6 * 3600]))


def test_channels_in_groups_give_the_same(monkeypatch):
    times = daily("2001-01-01", "2002-01-01")
    rng = np.random.default_rng(3)
    level = [500.0, 850.0]
    data = rng.normal(size=(len(times), 2, 2, 3))
    dataset = xr.Dataset(
        {"temperature": (("time", "level", "lat", "lon"), data, {"units": "K"})},
        {"time": times, "level": level, "lat": LAT, "lon": LON},
    )
    states = FieldStates(dataset, ("temperature_500", "temperature_850"))
    whole = fit_climatology(states, ("2001", "2001"), window_days=61)
    monkeypatch.setattr("archesweather.climatology._BUDGET_BYTES", 1)
    assert np.array_equal(fit_climatology(states, ("2001", "2001"), window_days=61).fields, whole.fields)


def test_weatherbench_climatologies_are_read(tmp_path):
    values = np.random.default_rng(4).normal(size=(4, 366, 3, 2)).astype("f4")
    stored = xr.Dataset(
        {"2m_temperature": (("hour", "dayofyear", "longitude", "latitude"), values, {"units": "K"})},
        {"hour": [0, 6, 12, 18], "dayofyear": np.arange(1, 367), "longitude": LON, "latitude": LAT},
    )
    stored.to_zarr(tmp_path / "c.zarr", zarr_format=2, consolidated=True)
    found = open_climatology(str(tmp_path / "c.zarr"), ("2m_temperature",), Grid(LAT, LON))
    noon = np.array(["2020-03-01T12"], "datetime64[s]").astype(np.int64)
    np.testing.assert_array_equal(found.at(noon)[0, 0], values[2, 60].T)
    with pytest.raises(DataError, match="must be on the grid"):
        open_climatology(str(tmp_path / "c.zarr"), ("2m_temperature",), Grid([-30.0, 30.0], LON))
    stored.isel(hour=0, drop=True).to_netcdf(tmp_path / "d.nc")
    with pytest.raises(DataError, match="dimensions hour and dayofyear"):
        open_climatology(str(tmp_path / "d.nc"), ("2m_temperature",), Grid(LAT, LON))


def test_a_climatology_answers_in_physical_units_and_float64():
    fields = np.full((1, 1, 1, 2, 3), 5.0, np.float32)
    assert Climatology(fields, (0,)).at(np.array([0, 86_400])).dtype == np.float64
