"""Miniature files as the archives lay them out, through ``prepare``: what comes out is what they hold."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from climalign.config import PrepareConfig
from climalign.data import COARSE, FINE, name_days, open_prepared, prepare_fields
from isopleth.errors import ConfigError
from isopleth.testing.land import write_daymet, write_eobs, write_livneh, write_prism
from isopleth.testing.miniature import Stored, Written, daily, days_since, make_field, pack, write_raw

LAT, LON = np.arange(-90, 90.1, 1.5), np.arange(0, 360, 1.5)


def plane(lat, lon, days):
    """A field that interpolation leaves alone, shape (time, lat, lon)."""
    east = (np.asarray(lon) - 180.0) % 360 - 180
    return 280 + 0.1 * np.asarray(lat)[:, None] + 0.02 * east + np.arange(days)[:, None, None]


def write_interim(path: Path, short: str, units: str, times, values) -> Path:
    """Write ERA-Interim: classic NetCDF, packed shorts, north first, hours since 1900, day ends at 12."""
    scale, offset = (values.max() - values.min()) / 65532, (values.max() + values.min()) / 2
    raw, _ = pack(values, scale, offset, "i2", -32767)
    hours = days_since(times, "1900-01-01", per_day=24).astype("i4") + 12
    attrs = {"scale_factor": scale, "add_offset": offset, "units": units, "missing_value": np.int16(-32767)}
    since = {"units": "hours since 1900-01-01 00:00:0.0", "calendar": "gregorian"}
    variables = {
        "longitude": Stored(dims=("longitude",), values=LON.astype("f4"), attrs={"units": "degrees_east"}),
        "latitude": Stored(
            dims=("latitude",), values=LAT[::-1].astype("f4"), attrs={"units": "degrees_north"}
        ),
        "time": Stored(dims=("time",), values=hours, attrs=since),
        short: Stored(
            dims=("time", "latitude", "longitude"), values=raw[:, ::-1], attrs=attrs, fill=np.int16(-32767)
        ),
    }
    return write_raw(path, variables, attrs={"Conventions": "CF-1.6"}, kind="NETCDF3_64BIT_OFFSET")


def write_era5(path: Path, short: str, units: str, times, values) -> Path:
    """Write ERA5 of the new store: valid_time, number, expver, floats."""
    dims = ("valid_time", "latitude", "longitude")
    seconds = days_since(times, "1970-01-01", per_day=86400).astype("i8")
    variables = {
        "number": Stored(dims=(), values=np.int64(0), attrs={"units": "1", "standard_name": "realization"}),
        "valid_time": Stored(
            dims=("valid_time",),
            values=seconds,
            attrs={"units": "seconds since 1970-01-01", "standard_name": "time"},
        ),
        "latitude": Stored(
            dims=("latitude",),
            values=LAT[::-1],
            attrs={"units": "degrees_north", "standard_name": "latitude"},
        ),
        "longitude": Stored(
            dims=("longitude",), values=LON, attrs={"units": "degrees_east", "standard_name": "longitude"}
        ),
        "expver": Stored(dims=("valid_time",), values=np.full(len(seconds), "0001", dtype=object)),
        short: Stored(
            dims=dims,
            values=values[:, ::-1].astype("f4"),
            attrs={"units": units, "coordinates": "number valid_time latitude longitude expver"},
            fill=np.float32(np.nan),
        ),
    }
    return write_raw(path, variables, attrs={"GRIB_centre": "ecmf"})


def write_wrf(folder: Path, days: int = 4) -> Written:
    """Write WRF's daily diagnostics: XLAT and XLONG over south_north and west_east, minutes in XTIME."""
    south, west = np.meshgrid(np.arange(24) * 0.25, np.arange(32) * 0.25, indexing="ij")
    # A Lambert grid is turned a little against the parallels.
    lat, lon = 40 + south - 0.02 * west, 250 + west + 0.03 * south
    times = daily("2001-07-01", days)
    coords = {"time": times, "lat": lat[:, 0], "lon": lon[0]}
    values = make_field(np.random.default_rng(0), coords, mean=300.0, spread=4.0).values.astype("f4")
    memory = {"MemoryOrder": "XY ", "stagger": ""}
    variables = {
        "XLAT": Stored(
            dims=("south_north", "west_east"),
            values=lat.astype("f4"),
            attrs={**memory, "units": "degree_north", "description": "LATITUDE, SOUTH IS NEGATIVE"},
        ),
        "XLONG": Stored(
            dims=("south_north", "west_east"),
            values=(lon - 360).astype("f4"),
            attrs={**memory, "units": "degree_east", "description": "LONGITUDE, WEST IS NEGATIVE"},
        ),
        "XTIME": Stored(
            dims=("Time",),
            values=days_since(times, "2001-07-01", per_day=1440).astype("f4"),
            attrs={"units": "minutes since 2001-07-01 00:00:00", "description": "minutes since start"},
        ),
        "T2MAX": Stored(
            dims=("Time", "south_north", "west_east"),
            values=values,
            attrs={**memory, "units": "K", "coordinates": "XLONG XLAT XTIME"},
        ),
    }
    path = write_raw(folder / "wrfxtrm_d01_2001-07-01_00:00:00", variables, attrs={"MAP_PROJ": np.int32(1)})
    places = {"time": times, "lat": (("y", "x"), lat), "lon": (("y", "x"), lon)}
    truth = xr.Dataset({"maximum_2m_temperature": (("time", "y", "x"), values)}, places)
    return Written(path, truth)


def prepare(folder: Path, fine: Written, variable: str, coarse, **options):
    """Prepare a miniature fine file with a coarse one of the same days, a plane everywhere."""
    times = fine.truth["time"].values
    write, short, units = coarse
    path = write(
        folder / "coarse.nc", short, units, times.astype("datetime64[D]"), plane(LAT, LON, len(times))
    )
    day = str(times[0])[:10], str(times[-1])[:10]
    prepare_fields(
        PrepareConfig(
            coarse=str(path), fine=str(fine.path), variable=variable, factor=2, train_coarse=day,
            train_fine=day, out=folder / "prepared", **options,
        )
    )  # fmt: skip
    return open_prepared(folder / "prepared"), day


INTERIM = (write_interim, "mx2t", "K")
CASES = {
    "PRISM": (write_prism, "maximum_2m_temperature", INTERIM, {}),
    "Livneh": (write_livneh, "minimum_2m_temperature", (write_era5, "mn2t", "K"), {}),
    "E-OBS": (write_eobs, "2m_temperature", (write_era5, "t2m", "K"), {"region": (40, 60, -10, 18)}),
}


@pytest.mark.parametrize("name", CASES)
def test_regular_layouts(name, tmp_path):
    write, variable, coarse, options = CASES[name]
    written = write(tmp_path)
    prepared, period = prepare(tmp_path, written, variable, coarse, **options)
    fine, theirs = prepared.load(FINE, period), written.truth[variable]
    made = fine.to_dataarray()
    expected = theirs.sel(lat=fine.lat, lon=fine.lon % 360, method="nearest", tolerance=1e-3)
    np.testing.assert_allclose(made.values, expected.values, atol=1e-2)
    assert np.isnan(made.values).any() == bool(theirs.isnull().any())
    assert fine.units == "K"
    assert (np.diff(fine.lon) > 0).all()
    np.testing.assert_allclose(np.diff(fine.lon), np.diff(fine.lon)[0], rtol=1e-3)
    big = prepared.load(COARSE, period)
    np.testing.assert_allclose(big.values, plane(big.lat, big.lon, len(big.times)), atol=0.15)
    assert len(prepared.common_days) == len(written.truth["time"])


def test_livneh_rain_is_an_amount_and_becomes_one_with_the_reanalysis(tmp_path):
    written = write_livneh(tmp_path)
    prepared, period = prepare(tmp_path, written, "total_precipitation", (write_interim, "tp", "m"))
    fine = prepared.load(FINE, period)
    expected = written.truth["total_precipitation"].sel(lat=fine.lat, lon=fine.lon, method="nearest")
    np.testing.assert_allclose(fine.values, expected.values, atol=1e-5)
    assert fine.units == prepared.load(COARSE, period).units == "m"


@pytest.mark.parametrize(
    ("write", "variable", "coarse", "resolution"),
    [
        (write_wrf, "maximum_2m_temperature", INTERIM, 0.5),
        (write_daymet, "minimum_2m_temperature", (write_era5, "mn2t", "K"), 0.01),
    ],
    ids=["WRF", "Daymet"],
)
def test_curved_layouts_need_a_resolution(write, variable, coarse, resolution, tmp_path):
    written = write(tmp_path)
    with pytest.raises(ConfigError, match="resolution must be given"):
        prepare(tmp_path, written, variable, coarse)
    prepared, period = prepare(tmp_path, written, variable, coarse, resolution=resolution)
    fine = prepared.load(FINE, period)
    # Averages by area of cells that hold several, or parts, of the curved ones.
    places = np.stack([written.truth[dim].values.ravel() for dim in ("lat", "lon")], 1)
    truth = written.truth[variable].values.reshape(len(fine.times), -1)
    for row, lat in enumerate(fine.lat):
        for column, lon in enumerate(fine.lon):
            near = np.argmin(((places - [lat, lon]) ** 2).sum(1))
            if np.isfinite(fine.values[0, row, column]) and np.isfinite(truth[0, near]):
                np.testing.assert_allclose(fine.values[:, row, column], truth[:, near], atol=0.6)
    assert np.isfinite(fine.values).mean() > 0.8


def test_daymet_leaves_out_the_last_of_december_and_still_meets_the_reanalysis(tmp_path):
    written = write_daymet(tmp_path)
    times = np.arange("2020-12-28", "2021-01-03", dtype="datetime64[D]")
    coarse = write_interim(tmp_path / "i.nc", "mn2t", "K", times, plane(LAT, LON, len(times)))
    period = ("2020-12-28", "2021-01-02")
    config = PrepareConfig(
        coarse=str(coarse), fine=str(written.path), variable="minimum_2m_temperature", factor=2,
        resolution=0.01, train_coarse=period, train_fine=period, out=tmp_path / "prepared",
    )  # fmt: skip
    prepare_fields(config)
    prepared = open_prepared(config.out)
    ours, theirs = prepared.load_pairs(period)
    assert name_days(ours.times).tolist() == name_days(theirs.times).tolist() == [
        "2020-12-28", "2020-12-29", "2020-12-30", "2021-01-01", "2021-01-02",
    ]  # fmt: skip
    assert ours.values[3, 0, 0] - ours.values[0, 0, 0] == pytest.approx(4, abs=0.02)
