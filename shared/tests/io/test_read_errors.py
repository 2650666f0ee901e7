"""What cannot be understood is one DataError: what is wrong, where, and what to do."""

import zipfile

import numpy as np
import pytest
import xarray as xr

from isopleth.errors import ConfigError, DataError, MissingDependencyError
from isopleth.io import archives, open_fields
from isopleth.testing import (
    LAYOUTS,
    Stored,
    write_cesm_pop,
    write_era5_new_cds,
    write_era5_old_cds,
    write_era5_zip,
    write_prism,
    write_raw,
    write_weatherbench2,
)

DEGREES = {"lat": {"units": "degrees_north"}, "lon": {"units": "degrees_east"}}


def write_small(
    path,
    *,
    lat=(0.0, 10.0),
    lon=(0.0, 10.0),
    time=(0.0, 1.0),
    units="K",
    name="t2m",
    attrs=None,
    time_attrs=None,
):
    axes = {"lat": np.asarray(lat), "lon": np.asarray(lon), "time": np.asarray(time)}
    stated = {**DEGREES, "time": {"units": "days since 2000-01-01", **(time_attrs or {})}}
    variables = {key: Stored(dims=(key,), values=values, attrs=stated[key]) for key, values in axes.items()}
    values = np.full((len(time), len(lat), len(lon)), 280.0, "f4")
    field_attrs = {"units": units} if units is not None else {}
    variables[name] = Stored(
        dims=("time", "lat", "lon"), values=values, attrs={**field_attrs, **(attrs or {})}
    )
    return write_raw(path, variables)


def expect(source, match, *, where=None, kind=DataError, **options):
    with pytest.raises(kind) as caught:
        open_fields(source, **options)
    message = str(caught.value)
    assert match in message
    assert "\n" not in message
    if where is not None:
        assert str(where) in message
    return caught.value


@pytest.mark.parametrize(
    "layout", ["era5_old_cds", "era5_new_cds", "era5_zip", "cesm_pop", "duacs", "aviso_trend_map"]
)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_truncated(tmp_path, layout, part):
    path = LAYOUTS[layout](tmp_path).path
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(DataError) as caught:
        open_fields(path).load()
    assert path.name in str(caught.value)


def test_empty(tmp_path):
    path = tmp_path / "empty.nc"
    path.touch()
    expect(path, "must not be empty", where=path)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html><html><body>Login</body></html>", "a web page"),
        (b"\n <html>", "a web page"),
        (b'{"detail": "Not authenticated"}', "JSON"),
        (b"404 page not found", "text that starts '404 page not found'"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\x00\x01\x02\x03\xff", "bytes"),
        (b"\xff\xfe", "bytes"),
        (b"\n\n", "bytes"),
    ],
)
def test_mislabelled(tmp_path, content, kind):
    path = tmp_path / "era5.nc"
    path.write_bytes(content)
    expect(path, kind, where=path)


def test_zip_without_data(tmp_path):
    path = tmp_path / "era5.nc"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    expect(path, "must hold NetCDF or GRIB files, got 'readme.txt'", where=path)
    with zipfile.ZipFile(path, "w"):
        pass
    expect(path, "got nothing", where=path)


@pytest.mark.parametrize(
    "name", ["../escape.nc", "/tmp/escape.nc", "a/../../escape.nc", "..\\escape.nc", "C:\\x.nc"]
)
def test_zip_that_points_outside(tmp_path, name):
    inner = write_prism(tmp_path).path
    path = tmp_path / "sub" / "evil.nc"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(inner, "fine.nc")
        archive.writestr(zipfile.ZipInfo(name), b"CDF\x01")
    expect(path, "must stay inside", where=path)
    assert not (tmp_path / "escape.nc").exists()


def test_zip_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_FREE_BYTES", 2**20)
    path = tmp_path / "bomb.nc"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.nc", b"\0" * 2**24)
    expect(path, "must not grow more than", where=path)


def test_damaged_zip_member(tmp_path):
    path = write_era5_zip(tmp_path).path
    data = bytearray(path.read_bytes())
    data[200:260] = b"\xaa" * 60
    path.write_bytes(data)
    expect(path, "zip archive must be whole", where=path)


def test_missing_file_says_where_it_looked_and_what_is_close(tmp_path):
    write_prism(tmp_path)
    expect(tmp_path / "prism_4km_19990705.nc", "did you mean 'prism_4km_19990704.nc'", where=tmp_path)
    expect(tmp_path / "no" / "such" / "file.nc", "does not exist either", where=tmp_path)
    expect(tmp_path / "*.grib", "got none for", where=tmp_path)
    expect([], "at least one file")
    (tmp_path / "void").mkdir()
    expect(tmp_path / "void", "got nothing", where=tmp_path / "void")


def test_unknown_protocol():
    expect("nosuch://bucket/file.nc", "protocol")


def test_grib_without_its_library_says_what_to_install(tmp_path):
    path = tmp_path / "era5.grib"
    path.write_bytes(b"GRIB" + b"\0" * 100)
    try:
        import cfgrib  # noqa: F401
    except Exception:  # absent, or its C library is
        error = expect(path, "to read GRIB files", kind=MissingDependencyError)
        assert "isopleth[grib]" in str(error)
    else:
        expect(path, "", where=path)


@pytest.mark.parametrize(
    ("time", "match"),
    [
        ((0.0, 2.0, 1.0), "must increase, got 2000-01-03 followed by 2000-01-02 (position 2)"),
        ((2.0, 1.0, 0.0), "must increase"),
        ((0.0, 1.0, 1.0), "must be unique, got 2000-01-02 followed by 2000-01-02"),
        ((0.0, np.nan, 1.0), "must have no missing value"),
        ((0.0, 1e30, 1e31), "must be decodable"),
    ],
)
def test_times(tmp_path, time, match):
    expect(write_small(tmp_path / "a.nc", time=time), match, where="a.nc")


@pytest.mark.parametrize(
    "attrs", [{"units": "fortnights since 2000-01-01"}, {"units": "days since never"}, {"calendar": "mayan"}]
)
def test_undecodable_times(tmp_path, attrs):
    expect(write_small(tmp_path / "a.nc", time_attrs=attrs), "must be decodable", where="a.nc")


def test_time_without_units(tmp_path):
    path = write_raw(
        tmp_path / "a.nc",
        {
            "lat": Stored(dims=("lat",), values=np.array([0.0, 1.0]), attrs=DEGREES["lat"]),
            "lon": Stored(dims=("lon",), values=np.array([0.0, 1.0]), attrs=DEGREES["lon"]),
            "time": Stored(dims=("time",), values=np.array([0.5, 1.5])),
            "t2m": Stored(dims=("time", "lat", "lon"), values=np.zeros((2, 2, 2)), attrs={"units": "K"}),
        },
    )
    expect(path, "must have units like", where="a.nc")


@pytest.mark.parametrize("axis", ["lat", "lon"])
@pytest.mark.parametrize(
    ("values", "match"),
    [
        ((0.0, np.nan, 2.0), "must be finite"),
        ((0.0, np.inf, 2.0), "must be finite"),
        ((0.0, 1.0, 1.0), "must be unique"),
    ],
)
def test_coordinates(tmp_path, axis, values, match):
    expect(write_small(tmp_path / "a.nc", **{axis: values}), match, where="a.nc")


def test_impossible_latitude(tmp_path):
    expect(write_small(tmp_path / "a.nc", lat=(0.0, 95.0)), "within 90 degrees, got 95", where="a.nc")


def test_longitudes_that_meet_once_wrapped(tmp_path):
    expect(write_small(tmp_path / "a.nc", lon=(-10.0, 5.0, 350.0, 20.0)), "must be unique, got 350 twice")


def test_curved_grid_without_any_place(tmp_path):
    path = write_cesm_pop(tmp_path).path
    broken = xr.open_dataset(path, decode_times=False, engine="netcdf4", mask_and_scale=False).load()
    broken["TLONG"][:] = np.nan
    expect(broken, "got only missing values")


@pytest.mark.parametrize(
    ("name", "units", "match"),
    [
        ("t2m", "m s-1", "convertible to 'K', got 'm s-1'"),
        ("t2m", "bananas", "convertible to 'K', got 'bananas'"),
        ("SSH", "kg", "convertible to 'm', got 'kg'"),
        ("z", "K", "convertible to 'm2 s-2' or 'm', got 'K'"),
        ("geopotential", "m", "convertible to 'm2 s-2', got 'm'"),
        ("pr", None, "must be stated"),
        ("z", None, "must be stated"),
    ],
)
def test_wrong_units(tmp_path, name, units, match):
    expect(write_small(tmp_path / "a.nc", name=name, units=units), match, where="a.nc")


@pytest.mark.parametrize("value", ["abc", np.nan, np.inf])
def test_impossible_scale(tmp_path, value):
    expect(
        write_small(tmp_path / "a.nc", attrs={"scale_factor": value}), "scale_factor must be", where="a.nc"
    )


def test_unknown_variable_lists_what_there_is(tmp_path):
    path = write_era5_old_cds(tmp_path).path
    expect(path, "must be one of geopotential, temperature, got 'u'", variables=["u"])


def test_a_bad_variable_hinders_nobody_who_wants_another(tmp_path):
    ds = xr.Dataset(
        {"t2m": (("lat", "lon"), np.ones((2, 2)), {"units": "m"}), "msl": (("lat", "lon"), np.ones((2, 2)))},
        coords={"lat": [0.0, 1.0], "lon": [0.0, 1.0]},
    )
    expect(ds, "units of 't2m' must be convertible")
    expect(ds, "units of 't2m' must be convertible", variables=["2m_temperature"])
    assert list(open_fields(ds, variables=["msl"]).data_vars) == ["mean_sea_level_pressure"]


def test_a_wanted_variable_off_the_grid_is_not_dropped():
    ds = xr.Dataset(
        {"sst": (("lat", "lon"), np.ones((2, 2)), {"units": "K"}), "profile": (("a", "b"), np.ones((2, 2)))},
        coords={"lat": [0.0, 1.0], "lon": [0.0, 1.0]},
    )
    expect(ds, "variable 'profile' must lie on lat and lon", variables=["sst", "profile"])
    assert "left out profile" in open_fields(ds).attrs["history"]


def test_two_names_for_one_quantity(tmp_path):
    ds = xr.Dataset(
        {name: (("lat", "lon"), np.ones((2, 2)), {"units": "m"}) for name in ("zos", "adt")},
        coords={"lat": [0.0, 1.0], "lon": [0.0, 1.0]},
    )
    expect(ds, "one variable must be 'sea_surface_height', got 'zos' and 'adt'")
    assert list(open_fields(ds, variables=["adt"]).data_vars) == ["sea_surface_height"]


def test_two_grids_in_one_file(tmp_path):
    ds = xr.Dataset(
        {
            "u": (("lat", "lon_u"), np.ones((2, 2)), {"units": "m s-1"}),
            "v": (("lat", "lon"), np.ones((2, 3)), {"units": "m s-1"}),
        },
        coords={
            "lat": ("lat", [0.0, 1.0], DEGREES["lat"]),
            "lon": ("lon", [0.0, 1.0, 2.0], DEGREES["lon"]),
            "lon_u": ("lon_u", [0.5, 1.5], DEGREES["lon"]),
        },
    )
    expect(ds, "must share one grid")
    assert open_fields(ds, variables=["v"])["v_component_of_wind"].shape == (2, 3)


def test_no_latitude_and_longitude():
    expect(xr.Dataset({"sst": (("a", "b"), np.ones((2, 2)))}), "must lie on latitude and longitude")
    expect(xr.Dataset(), "must lie on latitude and longitude")


def test_files_that_overlap(tmp_path):
    write_small(tmp_path / "a.nc", time=(0.0, 1.0))
    write_small(tmp_path / "b.nc", time=(1.0, 2.0))
    expect(tmp_path, "must not overlap in time, got 2000-01-02 in")
    expect([tmp_path / "a.nc", tmp_path / "a.nc"], "must not overlap in time")


def test_periods_and_regions_that_are_none(tmp_path):
    path = write_era5_new_cds(tmp_path).path
    expect(path, "period must overlap", period=("1990", "1991"))
    expect(path, "a date must be like", period=("yesterday", None), kind=ConfigError)
    expect(path, "a date must be like", period=("2001-13", None), kind=ConfigError)
    expect(path, "must start before it ends", period=("2002", "2001"), kind=ConfigError)
    expect(path, "period must be (start, end)", period="2001", kind=ConfigError)
    expect(path, "region must be", region=(10, -10, 0, 10), kind=ConfigError)
    expect(path, "region must be", region=(0, 10), kind=ConfigError)
    expect(path, "region must be", region=(0, np.nan, 0, 1), kind=ConfigError)
    expect(path, "region must overlap", region=(1, 2, 1, 2))


def test_metadata_of_a_store_that_are_damaged(tmp_path):
    path = write_weatherbench2(tmp_path).path
    (path / ".zmetadata").write_text("{")
    expect(path, "must be whole", where=path)


@pytest.mark.parametrize("name", ["latitude", "time", "geopotential"])
def test_stored_values_that_cannot_be_decompressed(name, tmp_path):
    path = write_weatherbench2(tmp_path).path
    chunks = [chunk for chunk in (path / name).iterdir() if not chunk.name.startswith(".")]
    for chunk in chunks:
        chunk.write_bytes(b"no compressed block of any kind")
    with pytest.raises(DataError, match="stored values must be readable") as caught:
        open_fields(path).load()
    assert f"variable '{name}'" in str(caught.value)
