"""Altimetry of every product, and its correction for glacial isostatic adjustment."""

import numpy as np
import pytest
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.sealevel import correct_gia, open_altimetry, open_trend_map
from isopleth.testing import write_aviso_trend_map, write_duacs, write_measures


def series(first="2000-01", last="2003-01", step="M", value=None):
    """Make maps whose height is the month's number in mm."""
    times = np.arange(first, last, dtype=f"datetime64[{step}]")
    months = times.astype("datetime64[M]").astype(int) - 360
    values = np.broadcast_to((months / 1000.0)[:, None, None], (times.size, 4, 6)).astype("f4")
    coords = {
        "time": times.astype("datetime64[ns]"),
        "lat": [-60.0, -20.0, 20.0, 60.0],
        "lon": np.arange(0.0, 360, 60),
    }
    return xr.DataArray(values, coords, ("time", "lat", "lon"), "sla", {"units": "m"}).to_dataset()


def test_two_satellites_of_c3s(archive, world):
    found = open_altimetry(archive["altimetry"])
    assert found.attrs["product"] == "c3s_twosat"
    assert found.attrs["frequency"] == "month"
    assert found["sea_level_anomaly"].dims == ("time", "lat", "lon")
    np.testing.assert_array_equal(found.time, world.times[:48])


def test_daily_maps_become_months():
    found = open_altimetry(series(step="D"))
    assert found.sizes["time"] == 36
    np.testing.assert_allclose(found["sea_level_anomaly"][:, 0, 0], np.arange(36) / 1000.0, atol=1e-7)
    assert str(found.time.values[1])[:10] == "2000-02-15"


def test_five_daily_maps_become_months():
    daily = series(step="D")
    found = open_altimetry(daily.isel(time=slice(None, None, 5)))
    np.testing.assert_allclose(found["sea_level_anomaly"][:, 0, 0], np.arange(36) / 1000.0, atol=1e-7)


def test_years_stay_years():
    yearly = series().coarsen(time=12).mean()
    assert open_altimetry(yearly).attrs["frequency"] == "year"


def test_duacs_and_measures_are_read(tmp_path):
    """Two miniature products of some days: read, recognised, and refused as no whole years."""
    for written, product in (
        (write_duacs(tmp_path, days=4), "duacs_allsat"),
        (write_measures(tmp_path), "measures"),
    ):
        with pytest.raises(DataError, match="monthly fields must cover a whole year"):
            open_altimetry(written.path)
        whole = xr.concat([written.truth.isel(time=[0])] * 12, "time").drop_vars("time")
        times = np.arange("2001-01", "2002-01", dtype="datetime64[M]").astype("datetime64[ns]")
        whole = whole.assign_coords(time=times).assign_attrs(title=written.path.name)
        found = open_altimetry(whole)
        assert found.attrs["product"] == product
        assert found.sizes["time"] == 12


def test_dynamic_topography_serves_where_there_is_no_anomaly():
    adt = series().rename(sla="adt")
    assert open_altimetry(adt)["sea_level_anomaly"].sizes["time"] == 36


def test_the_trend_map_of_aviso(tmp_path):
    written = write_aviso_trend_map(tmp_path)
    found = open_trend_map(written.path)
    assert found.attrs["units"] == "mm year-1"
    np.testing.assert_allclose(found, written.truth["sea_level_trend"], rtol=1e-6)
    with pytest.raises(DataError, match="altimetry must hold"):
        open_altimetry(written.path)


def test_a_missing_month_is_named():
    months = series()
    with pytest.raises(DataError, match="got none of 2001-04"):
        open_altimetry(months.drop_isel(time=15))


def test_a_single_map_is_refused():
    with pytest.raises(DataError, match="altimetry must have times"):
        open_altimetry(series().isel(time=0, drop=True))


# --- glacial isostatic adjustment


def field():
    return open_altimetry(series(last="2010-01"))["sea_level_anomaly"].compute()


def test_none_changes_nothing():
    assert correct_gia(field(), "none", reference_year=2005.0) is not None
    np.testing.assert_array_equal(correct_gia(field(), "none", reference_year=2005.0), field())


def test_a_uniform_rate_is_taken_out():
    corrected = correct_gia(field(), "-0.3", reference_year=2005.0)
    years = 2000.0 + (np.arange(120) + 0.5) / 12.0
    expected = 0.3 * (years - 2005.0) / 1000.0
    np.testing.assert_allclose((corrected - field())[:, 2, 3], expected, atol=2e-6)


@pytest.mark.parametrize("units", ["mm/yr", "cm/year"])
def test_a_map_of_rates_is_taken_out(tmp_path, units):
    lat, lon = np.arange(-89.0, 90.0, 2.0), np.arange(0.0, 360.0, 2.0)
    scale = 1.0 if units == "mm/yr" else 0.1
    rates = xr.DataArray(
        np.broadcast_to((0.01 * lat * scale)[:, None], (90, 180)).astype("f4"),
        {"lat": lat, "lon": lon}, ("lat", "lon"), "gia", {"units": units},
    )  # fmt: skip
    rates.to_netcdf(tmp_path / "gia.nc", engine="h5netcdf")
    for given in (rates, str(tmp_path / "gia.nc")):
        change = correct_gia(field(), given, reference_year=2000.0) - field()
        last = 9.0 + 11.5 / 12.0
        np.testing.assert_allclose(
            change[-1, :, 0], -0.01 * np.array([-60, -20, 20, 60]) * last / 1e3, atol=2e-5
        )


def test_rates_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="within 5, got 300"):
        correct_gia(field(), "300", reference_year=2000.0)
    with pytest.raises(ConfigError, match="gia must be none, a rate in mm/year or the path of a map"):
        correct_gia(field(), str(tmp_path / "nothing.nc"), reference_year=2000.0)
    metres = field()[0].drop_vars("time") * 0 + 0.5
    metres.attrs["units"] = "m/year"
    with pytest.raises(DataError, match="within 100, got 500"):
        correct_gia(field(), metres, reference_year=2000.0)
