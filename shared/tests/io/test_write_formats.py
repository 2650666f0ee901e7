"""What is in a written file: values, kinds, CF attributes, provenance; and what cannot be written."""

import datetime as dt
import json

import cftime
import dask
import dask.array
import numpy as np
import pytest
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.io.write import Provenance, write_json, write_netcdf, write_zarr


@pytest.fixture(autouse=True)
def _reproducible(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.fixture
def ds():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(3, 2, 4, 8))
    data[0, 0, 0, 0] = np.nan
    return xr.Dataset(
        {
            "geopotential": (("time", "level", "lat", "lon"), data, {"units": "m2 s-2"}),
            "mask": (("lat", "lon"), np.ones((4, 8), bool)),
        },
        coords={
            "time": np.array(["2000-01-01", "2000-01-02", "2000-01-03"], "datetime64[ns]"),
            "level": [500, 850],
            "lat": [-67.5, -22.5, 22.5, 67.5],
            "lon": np.arange(8) * 45.0,
        },
        attrs={"history": "made by hand", "note": "kept"},
    )


def write(kind, ds, path, **options):
    return (write_netcdf if kind == "netcdf" else write_zarr)(ds, path, **options)


def read(kind, path):
    if kind == "netcdf":
        with xr.open_dataset(path, engine="h5netcdf") as ds:
            return ds.load()
    return xr.open_zarr(path, chunks=None).load()


both = pytest.mark.parametrize("kind", ["netcdf", "zarr"])


@both
def test_values_come_back_as_float32(kind, ds, tmp_path):
    back = read(kind, write(kind, ds, tmp_path / "a"))
    assert back["geopotential"].dtype == np.float32
    np.testing.assert_array_equal(back["geopotential"], ds["geopotential"].astype("f4"))
    np.testing.assert_array_equal(back["time"], ds["time"])
    assert back["lat"].dtype == np.float64
    assert back["mask"].dtype == bool
    assert set(back.variables) == set(ds.variables)


@both
def test_a_dtype_of_ones_own_can_be_kept(kind, ds, tmp_path):
    back = read(kind, write(kind, ds, tmp_path / "a", dtype=None))
    assert back["geopotential"].dtype == np.float64
    np.testing.assert_array_equal(back["geopotential"], ds["geopotential"])


@both
def test_cf_attributes_and_provenance_are_on_every_output(kind, ds, tmp_path):
    provenance = Provenance("diffmix", "0.1.0", "abc123", ("era5.zarr",))
    back = read(kind, write(kind, ds, tmp_path / "a", provenance=provenance))
    assert back.attrs["Conventions"].startswith("CF-1.")
    assert back.attrs["history"] == "made by hand\n2023-11-14T22:13:20Z diffmix 0.1.0"
    assert back.attrs["note"] == "kept"
    assert json.loads(back.attrs["isopleth_provenance"]) == {
        "tool": "diffmix",
        "version": "0.1.0",
        "config_hash": "abc123",
        "inputs": ["era5.zarr"],
        "created": "2023-11-14T22:13:20Z",
    }
    expected = {"standard_name": "latitude", "units": "degrees_north", "axis": "Y", "long_name": "latitude"}
    assert expected.items() <= back["lat"].attrs.items()
    assert back["lon"].attrs["axis"] == "X"
    assert back["time"].attrs["axis"] == "T"
    assert back["level"].attrs["units"] == "hPa"
    assert back["geopotential"].attrs["long_name"] == "geopotential"
    assert back["geopotential"].attrs["units"] == "m2 s-2"
    assert back["geopotential"].attrs["standard_name"] == "geopotential"


@both
def test_provenance_is_written_even_where_none_is_given(kind, ds, tmp_path):
    back = read(kind, write(kind, ds, tmp_path / "a"))
    assert json.loads(back.attrs["isopleth_provenance"])["tool"] == "isopleth"


def test_a_standardised_field_gets_no_standard_name(ds, tmp_path):
    ds["geopotential"].attrs["units"] = "1"
    back = read("zarr", write_zarr(ds, tmp_path / "a"))
    assert "standard_name" not in back["geopotential"].attrs


@both
def test_attributes_that_are_there_stay(kind, ds, tmp_path):
    ds["lat"].attrs["long_name"] = "Breite"
    back = read(kind, write(kind, ds, tmp_path / "a"))
    assert back["lat"].attrs["long_name"] == "Breite"
    assert "axis" not in ds["lat"].attrs, "the caller's dataset must not change"


@both
def test_the_same_input_gives_the_same_bytes(kind, ds, tmp_path):
    paths = [write(kind, ds, tmp_path / name / "a") for name in "ab"]
    files = [[p, *sorted(q for q in p.rglob("*") if q.is_file())] if p.is_dir() else [p] for p in paths]
    assert [p.name for p in files[0]] == [p.name for p in files[1]]
    for one, other in zip(*files, strict=True):
        assert one.is_dir() or one.read_bytes() == other.read_bytes()


@both
def test_odd_attributes_are_written_as_text(kind, ds, tmp_path):
    ds.attrs.update(
        none=None,
        flag=True,
        mapping={"a": [1, 2]},
        numbers=np.arange(3),
        words=["a", "b"],
        day=dt.date(2000, 1, 1),
    )
    back = read(kind, write(kind, ds, tmp_path / "a"))
    assert "none" not in back.attrs
    assert back.attrs["flag"] == 1
    assert json.loads(back.attrs["mapping"]) == {"a": [1, 2]}
    assert list(back.attrs["numbers"]) == [0, 1, 2]
    assert json.loads(back.attrs["words"]) == ["a", "b"]


@both
@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_calendars_are_kept(kind, calendar, ds, tmp_path):
    ds["time"] = [cftime.datetime(2000, 2, day, calendar=calendar) for day in (26, 27, 28)]
    back = read(kind, write(kind, ds, tmp_path / "a"))
    assert back["time"].dt.calendar == calendar
    assert list(back["time"].values) == list(ds["time"].values)


@both
def test_leads_are_kept_as_durations(kind, tmp_path):
    lead = np.array([6, 12], "timedelta64[h]").astype("timedelta64[ns]")
    ds = xr.Dataset({"x": (("lead", "lat"), np.zeros((2, 3)))}, coords={"lead": lead})
    back = read(kind, write(kind, ds, tmp_path / "a"))
    np.testing.assert_array_equal(back["lead"], lead)
    assert back["lead"].attrs["standard_name"] == "forecast_period"


@both
def test_the_packing_of_a_source_file_is_not_inherited(kind, ds, tmp_path):
    ds["geopotential"].encoding = {
        "scale_factor": 1.0,
        "dtype": "int16",
        "_FillValue": -1,
        "chunksizes": (1, 1, 1, 1),
    }
    back = read(kind, write(kind, ds, tmp_path / "a"))
    np.testing.assert_array_equal(back["geopotential"], ds["geopotential"].astype("f4"))


@both
def test_data_arrays_scalars_and_text_are_written(kind, tmp_path):
    array = xr.DataArray(np.arange(3.0), dims="time", coords={"station": ("time", ["a", "b", "c"])})
    back = read(kind, write(kind, array, tmp_path / "a"))
    assert back["data"].values.tolist() == [0, 1, 2]
    assert back["station"].values.tolist() == ["a", "b", "c"]
    back = read(kind, write(kind, xr.Dataset({"x": 1.5}), tmp_path / "b"))
    assert float(back["x"]) == 1.5


@both
@pytest.mark.parametrize("steps", [0, 1])
def test_short_and_empty_axes_are_written(kind, steps, ds, tmp_path):
    back = read(kind, write(kind, ds.isel(time=slice(0, steps)), tmp_path / "a"))
    assert back.sizes["time"] == steps


@both
def test_compression_is_on(kind, tmp_path):
    ds = xr.Dataset(
        {"x": (("time", "lat", "lon"), np.zeros((50, 64, 128), "f4") + np.arange(128, dtype="f4"))}
    )
    path = write(kind, ds, tmp_path / "a")
    size = (
        path.stat().st_size
        if path.is_file()
        else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    )
    assert size < ds.nbytes / 20


@both
@pytest.mark.parametrize("name", ["../../escape", "a/b", "a\\b", "..", ".", "", 7])
def test_a_variable_cannot_name_a_path(kind, name, tmp_path):
    with pytest.raises(DataError, match="must be text without slashes"):
        write(kind, xr.Dataset({name: ("time", [1.0])}), tmp_path / "in" / "a")
    assert not (tmp_path / "in").exists()


@both
def test_nothing_to_write_is_an_error(kind, tmp_path):
    with pytest.raises(DataError, match="at least one variable to write, got none"):
        write(kind, xr.Dataset(), tmp_path / "a")


@both
def test_dask_stays_bounded(kind, tmp_path):
    """64 MiB of chunks of 1 MiB: at no time are more than a few alive."""
    import tracemalloc

    field = dask.array.ones((512, 128, 256), dtype="f4", chunks=(8, -1, -1))
    tracemalloc.start()
    with dask.config.set(scheduler="synchronous"):
        write(kind, xr.Dataset({"x": (("time", "lat", "lon"), field)}), tmp_path / "a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < field.nbytes / 3


@both
def test_a_file_that_is_opened_without_dask_is_not_read_whole(kind, tmp_path):
    import tracemalloc

    data = np.zeros((512, 128, 256), "f4")
    source = write("netcdf", xr.Dataset({"x": (("time", "lat", "lon"), data)}), tmp_path / "source.nc")
    del data
    with xr.open_dataset(source, engine="h5netcdf") as ds, dask.config.set(scheduler="synchronous"):
        tracemalloc.start()
        write(kind, ds, tmp_path / "a")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < ds.nbytes
    assert read(kind, tmp_path / "a")["x"].shape == (512, 128, 256)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(0.5), 0.5),
        (np.arange(3), [0, 1, 2]),
        ({"a": (1, None, True)}, {"a": [1, None, True]}),
        (np.datetime64("2000-01-01"), "2000-01-01"),
        (dt.date(2000, 1, 1), "2000-01-01"),
        ({3, 1}, [1, 3]),
    ],
)
def test_json_takes_the_kinds_of_science(value, text, tmp_path):
    path = write_json(tmp_path / "a.json", {"value": value})
    assert json.loads(path.read_text()) == {"value": text}


@pytest.mark.parametrize("value", [np.nan, np.inf, [np.float64("nan")], object()])
def test_json_refuses_what_json_cannot_say(value, tmp_path):
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(DataError, match="must be"):
        write_json(tmp_path / "a.json", {"value": value})
    assert json.loads((tmp_path / "a.json").read_text()) == {"old": 1}


def test_a_false_epoch_is_named(monkeypatch, ds, tmp_path):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(
        ConfigError, match="SOURCE_DATE_EPOCH must be whole seconds since 1970, got 'yesterday'"
    ):
        write_netcdf(ds, tmp_path / "a.nc")
