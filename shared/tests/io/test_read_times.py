"""Calendars, periods, month-end stamps, leads and levels."""

import cftime
import numpy as np
import pytest
import xarray as xr

from isopleth.io import convert_calendar, open_fields
from isopleth.testing import (
    Stored,
    write_cesm_pop,
    write_cesm_pop_without_bounds,
    write_cmip6_zos,
    write_cmip6_zos_360_day,
    write_daymet,
    write_era5_old_cds,
    write_raw,
)

LAT = {"units": "degrees_north"}
LON = {"units": "degrees_east"}


def on_times(values, attrs, *, source=""):
    values = np.asarray(values)
    data = np.zeros((values.size, 2, 2), "f4") + np.arange(values.size)[:, None, None]
    return xr.Dataset(
        {"sst": (("time", "lat", "lon"), data, {"units": "K"})},
        coords={"time": ("time", values, attrs), "lat": [0.0, 1.0], "lon": [0.0, 1.0]},
        attrs={"source": source},
    )


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_cftime_calendars_are_kept_and_can_be_converted(tmp_path, calendar):
    fields = open_fields(write_cmip6_zos(tmp_path, calendar=calendar).path)
    assert fields["time"].values[0].calendar == calendar
    standard = convert_calendar(fields, "standard")
    assert standard["time"].dtype.kind == "M"
    assert standard.sizes["time"] == fields.sizes["time"]
    assert [str(t)[:7] for t in standard["time"].values] == [
        t.strftime("%Y-%m") for t in fields["time"].values
    ]


@pytest.mark.parametrize(
    ("period", "first", "last"),
    [
        (("1850", "1850"), "1850-01", "1850-12"),
        (("1850-11", None), "1850-11", "1851-02"),
        ((None, "1850-02"), "1850-01", "1850-02"),
        (("1850-06-01", "1850-08-31"), "1850-06", "1850-08"),
        (("1850-06-16", "1850-06-16T23"), "1850-06", "1850-06"),
    ],
)
def test_periods_in_a_360_day_calendar(tmp_path, period, first, last):
    times = open_fields(write_cmip6_zos_360_day(tmp_path).path, period=period)["time"].values
    assert (times[0].strftime("%Y-%m"), times[-1].strftime("%Y-%m")) == (first, last)


@pytest.mark.parametrize(
    ("period", "count"),
    [
        (("2001-01-30", "2001-01-31"), 2),
        (("2001", "2001"), 4),
        (("2001-02", None), 2),
        ((None, "2001-01-31T00"), 2),
    ],
)
def test_periods_include_both_ends(tmp_path, period, count):
    assert open_fields(write_era5_old_cds(tmp_path).path, period=period).sizes["time"] == count


@pytest.mark.parametrize("write", [write_cesm_pop, write_cesm_pop_without_bounds])
def test_month_end_stamps_move_to_the_middle_and_it_is_recorded(tmp_path, write):
    fields = open_fields(write(tmp_path).path)
    assert fields["time"].values[0] == cftime.DatetimeNoLeap(1850, 1, 16, 12)
    assert fields["time"].values[1] == cftime.DatetimeNoLeap(1850, 2, 15)
    assert "time stamps to the middle" in fields.attrs["history"]
    assert [t.month for t in fields["time"].values[:12]] == list(range(1, 13))


def test_stamps_at_the_start_of_months_of_others_stay():
    """ERA5's monthly means stand at the start of their month, and no rule of CESM's may touch them."""
    days = [0, 31, 59, 90]
    fields = open_fields(on_times(days, {"units": "days since 2001-01-01"}, source="ERA5"))
    assert fields["time"].values[0] == np.datetime64("2001-01-01")
    moved = open_fields(on_times(days, {"units": "days since 2001-01-01"}, source="CESM2"))
    assert moved["time"].values[1] == np.datetime64("2001-01-16T12")


@pytest.mark.parametrize(("edges", "moved"), [([0, 31, 59], True), ([0, 1, 2], False)])
def test_stamps_at_the_end_of_bounds_move_if_they_are_months(edges, moved):
    """A daily or hourly sum belongs to the end of its interval, and analyses at that time go with it."""
    since = {"units": "days since 2001-01-01"}
    ds = on_times(edges[1:], {**since, "bounds": "time_bnds"})
    ds["time_bnds"] = (("time", "nv"), np.stack([edges[:-1], edges[1:]], axis=1))
    first = open_fields(ds)["time"].values[0]
    expected = np.datetime64("2001-01-16T12") if moved else np.datetime64("2001-01-02")
    assert first == expected


def test_daymet_keeps_leap_years_without_their_last_day(tmp_path):
    times = open_fields(write_daymet(tmp_path).path)["time"]
    assert times.dt.strftime("%m-%d").values.tolist() == ["12-28", "12-29", "12-30", "01-01", "01-02"]


def test_ancient_reference_dates():
    """The standard calendar is Julian before 1582, which makes two days more than the Gregorian count."""
    fields = open_fields(on_times([734504.0], {"units": "days since 1-1-1 00:00:0.0"}))
    assert fields["time"].values[0] == np.datetime64("2012-01-01")


def test_forecasts_have_leads_and_members(tmp_path):
    data = np.arange(2 * 3 * 2 * 2 * 2, dtype="f4").reshape(2, 3, 2, 2, 2)
    variables = {
        "number": Stored(dims=("number",), values=np.array([1, 0]), attrs={"standard_name": "realization"}),
        "time": Stored(
            dims=("time",),
            values=np.array([0, 12]),
            attrs={"units": "hours since 2020-01-01", "standard_name": "forecast_reference_time"},
        ),
        "step": Stored(
            dims=("step",),
            values=np.array([0, 6, 12]),
            attrs={"units": "hours", "standard_name": "forecast_period"},
        ),
        "valid_time": Stored(
            dims=("time", "step"),
            values=np.array([[0, 6, 12], [12, 18, 24]]),
            attrs={"units": "hours since 2020-01-01", "standard_name": "time"},
        ),
        "latitude": Stored(dims=("latitude",), values=np.array([10.0, 0.0]), attrs=LAT),
        "longitude": Stored(dims=("longitude",), values=np.array([0.0, 10.0]), attrs=LON),
        "t2m": Stored(
            dims=("time", "step", "number", "latitude", "longitude"), values=data, attrs={"units": "K"}
        ),
    }
    fields = open_fields(write_raw(tmp_path / "forecast.nc", variables))["2m_temperature"]
    assert fields.dims == ("member", "time", "lead", "lat", "lon")
    assert fields["member"].values.tolist() == [0, 1]
    assert fields["lead"].values.astype("timedelta64[h]").astype(int).tolist() == [0, 6, 12]
    np.testing.assert_array_equal(fields.values, data.transpose(2, 0, 1, 3, 4)[::-1, :, :, ::-1])


@pytest.mark.parametrize(
    ("name", "units", "values"),
    [
        ("plev", "Pa", [85000.0, 50000.0]),
        ("level", "millibars", [850, 500]),
        ("pressure_level", "hPa", [850.0, 500.0]),
        ("isobaricInhPa", "hPa", [850.0, 500.0]),
        ("level", None, [850, 500]),
        ("lev", "hPa", [850.0, 500.0]),
    ],
)
def test_pressure_is_in_hpa_and_ascends(tmp_path, name, units, values):
    variables = {
        name: Stored(dims=(name,), values=np.array(values), attrs={"units": units} if units else {}),
        "lat": Stored(dims=("lat",), values=np.array([0.0, 1.0]), attrs=LAT),
        "lon": Stored(dims=("lon",), values=np.array([0.0, 1.0]), attrs=LON),
        "z": Stored(
            dims=(name, "lat", "lon"),
            values=np.array([[[8.0] * 2] * 2, [[5.0] * 2] * 2]),
            attrs={"units": "m"},
        ),
    }
    fields = open_fields(write_raw(tmp_path / "a.nc", variables))["geopotential_height"]
    assert fields.dims == ("level", "lat", "lon")
    assert fields["level"].values.tolist() == [500.0, 850.0]
    assert fields.values[:, 0, 0].tolist() == [5.0, 8.0]
    assert fields["level"].attrs["units"] == "hPa"


def test_depth_is_no_pressure(tmp_path):
    variables = {
        "z_t": Stored(
            dims=("z_t",),
            values=np.array([500.0, 1500.0]),
            attrs={"units": "centimeters", "positive": "down"},
        ),
        "lat": Stored(dims=("lat",), values=np.array([0.0, 1.0]), attrs=LAT),
        "lon": Stored(dims=("lon",), values=np.array([0.0, 1.0]), attrs=LON),
        "thetao": Stored(dims=("z_t", "lat", "lon"), values=np.zeros((2, 2, 2)), attrs={"units": "degC"}),
    }
    fields = open_fields(write_raw(tmp_path / "a.nc", variables))
    assert fields["depth"].values.tolist() == [5.0, 15.0]
    assert fields["depth"].attrs["units"] == "m"
