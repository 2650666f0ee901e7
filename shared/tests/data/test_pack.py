from __future__ import annotations

import itertools
import json
import logging
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from isopleth.data import Normaliser, open_store, pack
from isopleth.errors import ConfigError, DataError
from isopleth.grid import Grid
from isopleth.io.write import Provenance

TRAIN = ("2000-01-01", "2000-01-04")


def layers(fields: xr.Dataset) -> np.ndarray:
    return np.concatenate([fields.geopotential.values, fields["2m_temperature"].values[:, None]], axis=1)


def test_a_store_is_the_z_scores_of_the_dataset(store, fields) -> None:
    values = layers(fields).astype(np.float64)
    train = values[:16]
    mean, std = train.mean(axis=(0, 2, 3)), train.std(axis=(0, 2, 3))
    expected = (values - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(store.read(slice(None)), expected, rtol=1e-6, atol=1e-7)
    assert store.channels == ("geopotential_300", "geopotential_500", "geopotential_850", "2m_temperature")
    assert store.levels == (300.0, 500.0, 850.0, None)
    assert store.shape == (24, 4, 6, 8)
    assert store.grid == Grid.of(fields)
    np.testing.assert_array_equal(store.times, fields.time.values)
    assert store.normaliser.period == ("2000-01-01T00:00:00", "2000-01-04T18:00:00")


def test_it_is_one_zarr_3_array_with_a_chunk_a_time_step(store) -> None:
    array = zarr.open_array(store.path / "fields", mode="r")
    assert array.metadata.zarr_format == 3
    assert array.metadata.dimension_names == ("time", "channel", "lat", "lon")
    assert array.chunks == (1, 4, 6, 8)
    assert len(list((store.path / "fields").iterdir())) == 24 + 1


def test_the_dataset_comes_back_in_its_units(store, fields) -> None:
    again = store.dataset()
    xr.testing.assert_allclose(again, fields, rtol=1e-5)
    assert again.geopotential.attrs == {"units": "m2 s-2"}
    assert again.geopotential.dims == ("time", "level", "lat", "lon")
    assert store.dataset(("2000-01-02", "2000-01-02")).sizes["time"] == 4


def test_some_channels_of_a_prediction_become_a_dataset(store, fields) -> None:
    scores = store.read([3, 4])[:, [3, 1]]
    ds = store.to_dataset(scores, store.times[3:5], channels=["2m_temperature", "geopotential_500"])
    np.testing.assert_allclose(ds["2m_temperature"], fields["2m_temperature"][3:5], rtol=1e-6)
    np.testing.assert_allclose(ds.geopotential.sel(level=500), fields.geopotential[3:5, 1], rtol=1e-6)
    assert ds.level.values.tolist() == [500.0]


def test_xarray_opens_the_folder_without_us(store) -> None:
    ds = xr.open_zarr(store.path)
    assert ds.fields.dims == ("time", "channel", "lat", "lon")
    np.testing.assert_array_equal(ds.time, store.times)
    np.testing.assert_array_equal(ds.fields.values, store.read(slice(None)))
    assert tuple(ds.fields.attrs["channels"]) == store.channels


def test_noleap_times_are_kept(make_fields, noleap_times, repack) -> None:
    times = noleap_times(10)
    store = repack(make_fields(times=times))
    assert list(store.times) == list(times)
    assert open_store(store.path).axis.calendar == "noleap"
    assert store.dataset(("2000-03-01", None)).sizes["time"] == 6


@pytest.mark.parametrize(("dtype", "close"), [("float16", 2.0**-11), ("bfloat16", 2.0**-8)])
def test_half_precision_is_half_the_size_and_rounded_once(fields, repack, dtype: str, close: float) -> None:
    exact, half = repack(fields).read(slice(None)), repack(fields, dtype=dtype)
    found = half.read(slice(None))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=close, atol=1e-6)
    assert half.step_bytes == exact[0].nbytes // 2


@pytest.mark.parametrize("options", [{"compress": True}, {"steps_per_shard": 5}, {"steps_per_shard": 100}])
def test_compressed_and_sharded_stores_hold_the_same(fields, repack, options: dict) -> None:
    plain, other = repack(fields), repack(fields, **options)
    np.testing.assert_array_equal(other.read(slice(None)), plain.read(slice(None)))
    np.testing.assert_array_equal(other.read([23, 0, 7]), plain.read([23, 0, 7]))
    other.verify()
    assert other.fingerprint == plain.fingerprint


def test_statistics_from_elsewhere_are_taken_as_they_are(fields, repack) -> None:
    normaliser = Normaliser.fit(fields[["2m_temperature", "geopotential"]], period=TRAIN)
    store = repack(fields, normaliser=normaliser)
    assert store.normaliser == normaliser.select(store.channels)
    with pytest.raises(ConfigError, match=r"channel '2m_temperature' must be one of the 3"):
        repack(fields, normaliser=normaliser.select(normaliser.channels[1:]))


def test_blocks_chunks_and_where_it_ran_do_not_show_in_the_bytes(fields, tmp_path: Path, tree) -> None:
    trees = []
    for number, (ds, size) in enumerate(
        itertools.product([fields, fields.chunk(time=7), fields.chunk(time=1, lat=2)], [1e-9, 0.006, 100])
    ):
        path = tmp_path / f"{number}.zarr"
        pack(ds, path, train_period=TRAIN, block_mb=size)
        files = tree(path)
        trees.append(
            {name: files[name] for name in files if not name.startswith("digests") and name != "zarr.json"}
        )
    assert all(other == trees[0] for other in trees)
    assert len({open_store(tmp_path / f"{n}.zarr").fingerprint for n in range(9)}) == 1


def test_the_fingerprint_is_that_of_the_content(fields, repack) -> None:
    first = repack(fields).fingerprint
    assert first.startswith("sha256:")
    assert repack(fields).fingerprint == first
    changed = fields.copy(deep=True)
    changed["2m_temperature"][13, 2, 3] += 1e-3
    assert repack(changed).fingerprint != first
    assert repack(fields.assign_coords(lon=fields.lon + 1)).fingerprint != first
    assert repack(fields, train_period=TRAIN).fingerprint != first
    assert repack(fields, dtype="float16").fingerprint != first


def test_provenance_is_kept(fields, repack) -> None:
    store = repack(
        fields, provenance=Provenance(tool="archesweather", version="0.1.0", inputs=("era5.zarr",))
    )
    assert open_store(store.path).provenance["inputs"] == ["era5.zarr"]


# Missing values


def test_missing_values_are_an_error_that_names_variable_and_time(fields, repack) -> None:
    fields["2m_temperature"][17, 0, :2] = np.nan
    with pytest.raises(
        DataError, match=r"2m_temperature must be finite, got nan in 2 of 48 cells at 2000-01-05T06"
    ) as e:
        repack(fields, train_period=TRAIN)  # the training period itself is whole
    assert "missing='mask'" in str(e.value)


def test_a_mask_keeps_missing_values_out(fields, repack) -> None:
    holes = np.random.default_rng(3).random(fields.geopotential.shape) < 0.3
    fields["geopotential"] = fields.geopotential.where(~holes)
    store = repack(fields, missing="mask")
    valid = store.read_valid(slice(None))
    np.testing.assert_array_equal(valid[:, :3], ~holes)
    assert valid[:, 3].all()
    scores = store.read(slice(None))
    assert (scores[~valid] == 0).all()
    expected = np.nanmean(layers(fields).astype(np.float64), axis=(0, 2, 3))
    np.testing.assert_allclose(store.normaliser.mean, expected, rtol=1e-12)
    xr.testing.assert_allclose(store.dataset(), fields, rtol=1e-5)
    store.verify()


def test_infinity_is_never_a_missing_value(fields, repack) -> None:
    fields["geopotential"][4, 0, 0, 0] = np.inf
    with pytest.raises(
        DataError, match=r"geopotential_300 must be finite, got inf in 1 of 48 cells at 2000-01-02"
    ):
        repack(fields, missing="mask")


def test_what_half_precision_cannot_hold_is_refused(fields, repack) -> None:
    fields["2m_temperature"][20, 1, 1] = 1e9
    with pytest.raises(DataError, match=r"2m_temperature must fit into float16 as a z-score.*2000-01-06"):
        repack(fields, train_period=TRAIN, dtype="float16")
    repack(fields, train_period=TRAIN, dtype="bfloat16").verify()


# Sources that cannot be packed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.isel(time=0), "must be numbers over .time, .level,. lat, lon."),
        (lambda ds: ds.assign(mask=ds["2m_temperature"][0]), "variable mask.*without time is no channel"),
        (lambda ds: ds.expand_dims(member=2), "select one of member"),
        (lambda ds: ds.isel(time=[1, 0, 2]), "strictly increasing"),
        (lambda ds: ds[[]], "at least one variable"),
        (lambda ds: ds.drop_vars("time"), "time coordinate"),
        (lambda ds: ds.drop_vars("lat"), "coordinates must include lat and lon"),
        (lambda ds: ds.drop_vars("level"), "level must have a coordinate"),
        (lambda ds: ds.assign(geopotential_500=ds["2m_temperature"]), "unique, got geopotential_500"),
        (lambda ds: ds.assign(kind=ds["2m_temperature"].astype(str)), "must be numbers"),
    ],
)
def test_a_source_that_cannot_be_packed_says_why(fields, repack, change, message: str) -> None:
    with pytest.raises(DataError, match=message):
        repack(change(fields))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_period": None}, "either train_period or normaliser must be given, got neither"),
        ({"dtype": "float64"}, "dtype must be one of float32, float16, bfloat16"),
        ({"missing": "fill"}, "missing must be one of"),
        ({"constant": "two"}, "constant must be one of"),
        ({"steps_per_shard": 0}, "steps_per_shard must be at least 1"),
        ({"block_mb": 0}, "block_mb must be above 0"),
        ({"scheduler": "tcp://127.0.0.1:9"}, "scheduler must be the address"),
    ],
)
def test_senseless_options_are_named(fields, repack, options: dict, message: str, monkeypatch) -> None:
    import isopleth.cluster

    monkeypatch.setattr(isopleth.cluster, "_PATIENCE", "1s")
    with pytest.raises(ConfigError, match=message):
        repack(fields, **options)


def test_a_strangers_folder_is_never_replaced(fields, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.txt").write_text("dear")
    for resume in (True, False):
        with pytest.raises(DataError, match=r"must not replace a folder"):
            pack(fields, tmp_path / "x", train_period=TRAIN, resume=resume)
    assert (tmp_path / "x" / "thesis.txt").read_text() == "dear"


# Resuming


def test_a_finished_store_is_only_opened(store, fields, monkeypatch) -> None:
    monkeypatch.setattr("isopleth.data.packing.run_tasks", None)
    assert pack(fields, store.path, train_period=TRAIN).fingerprint == store.fingerprint


@pytest.mark.parametrize(
    ("change", "options", "name"),
    [
        (lambda ds: ds + 1, {}, "source"),
        (lambda ds: ds.isel(time=slice(0, 20)), {}, "source"),
        (lambda ds: ds, {"train_period": ("2000-01-01", "2000-01-05")}, "statistics"),
        (lambda ds: ds, {"area_weighted": True}, "statistics"),
        (lambda ds: ds, {"dtype": "float16"}, "dtype float32, not float16"),
        (lambda ds: ds, {"missing": "mask"}, "missing error, not mask"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_other_sources_or_options_are_refused(
    fields, tmp_path: Path, monkeypatch, change, options: dict, name: str, finished: bool
) -> None:
    path = tmp_path / "a.zarr"
    if finished:
        pack(fields, path, train_period=TRAIN)
    else:
        with monkeypatch.context() as patch:
            patch.setattr("isopleth.data.layout.write_fields", _fails)
            with pytest.raises(RuntimeError, match=r"disk is full"):
                pack(fields, path, train_period=TRAIN)
        with pytest.raises(DataError, match=r"begun and not finished"):
            open_store(path)
    options = {"train_period": TRAIN, **options}
    with pytest.raises(DataError, match=f"same source, statistics and options, got .*{name}"):
        pack(change(fields), path, **options)
    replaced = pack(change(fields), path, resume=False, **options)
    replaced.verify()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


def _fails(*arguments: object) -> int:
    raise RuntimeError("the disk is full")


def test_a_failed_replacement_leaves_the_old_store(store, fields, monkeypatch) -> None:
    monkeypatch.setattr("isopleth.data.layout.write_fields", _fails)
    with pytest.raises(RuntimeError, match=r"disk is full"):
        pack(fields + 1, store.path, train_period=TRAIN, resume=False)
    open_store(store.path).verify()
    assert open_store(store.path).fingerprint == store.fingerprint


SLOW_PACK = """
import sys, time
import numpy as np, xarray as xr
from isopleth.data import pack

def slowly(block):
    time.sleep(float(sys.argv[3]))
    return block

if __name__ == "__main__":
    ds = xr.open_dataset(sys.argv[1], engine="h5netcdf").load().chunk(time=1)
    for name in ds.data_vars:
        ds[name] = ds[name].copy(data=ds[name].data.map_blocks(slowly, meta=np.empty(0, ds[name].dtype)))
    pack(ds, sys.argv[2], train_period=("2000-01-01", "2000-01-04"), block_mb=0.005)
"""


@pytest.mark.parametrize(
    ("part", "written"), [pytest.param("moments", 4, marks=pytest.mark.slow), ("fields", 5)]
)
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(
    make_fields, tmp_path: Path, tree, caplog, part: str, written: int
) -> None:
    fields = make_fields(24)
    fields.to_netcdf(tmp_path / "source.nc", engine="h5netcdf")
    target = tmp_path / "killed.zarr"
    command = [sys.executable, "-c", SLOW_PACK, tmp_path / "source.nc", target, "0.1"]
    process = subprocess.Popen(list(map(str, command)))
    folder = tmp_path / ".killed.zarr.partial-resume" / "killed.zarr" / part
    deadline = time.monotonic() + 100
    while len([file for file in folder.rglob("*") if file.is_file()]) < written + 1:  # and its zarr.json
        assert time.monotonic() < deadline
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()
    with caplog.at_level(logging.INFO, "isopleth.data.packing"):
        resumed = pack(fields, target, train_period=TRAIN, block_mb=0.005)
    first = {message.split()[0]: int(message.split()[1]) for message in reversed(caplog.messages)}
    assert (
        first.get("read" if part == "moments" else "wrote", 0) > 3
    )  # not from the beginning (3 steps a block)
    unbroken = pack(fields, tmp_path / "unbroken.zarr", train_period=TRAIN, block_mb=0.005)
    assert tree(resumed.path) == tree(unbroken.path)
    resumed.verify()


def test_a_half_written_block_is_written_again(fields, tmp_path: Path, tree, monkeypatch) -> None:
    """Whatever a kill left of the fields of a block without digests does not matter."""
    from isopleth.data import layout

    write = layout.write_fields

    def dies(arrays, path, start, *rest) -> int:
        if start < 12:
            return write(arrays, path, start, *rest)
        (path / "fields" / f"c.{start}.0.0.0").write_bytes(b"half")
        (path / "fields" / f"c.{start}.0.0.deadbeef.partial").write_bytes(b"half")
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(layout, "write_fields", dies)
        with pytest.raises(RuntimeError, match=r"killed"):
            pack(fields, tmp_path / "a.zarr", train_period=TRAIN, block_mb=0.005)
    resumed = pack(fields, tmp_path / "a.zarr", train_period=TRAIN)
    unbroken = pack(fields, tmp_path / "b.zarr", train_period=TRAIN, block_mb=0.005)
    assert tree(resumed.path) == tree(unbroken.path)


# Scale


@pytest.mark.slow
def test_memory_is_bounded_by_the_block(tmp_path: Path) -> None:
    script = """
import resource, sys
import dask.array, numpy as np, xarray as xr
from isopleth.data import pack

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def dataset(n):
    noise = dask.array.random.default_rng(0)
    values = noise.standard_normal((n, 4, 64, 128), chunks=(4, 4, 64, 128), dtype="f4")
    time = np.datetime64("2000-01-01", "ns") + np.arange(n) * np.timedelta64(6, "h")
    lat, lon = np.linspace(-88, 88, 64), np.arange(128) * 2.8125
    coords = {"time": time, "level": [1.0, 2, 3, 4], "lat": lat, "lon": lon}
    return xr.Dataset({"t": (("time", "level", "lat", "lon"), values)}, coords)

pack(dataset(40), sys.argv[1] + "/a.zarr", train_period=(None, None), block_mb=8)
before = peak()
pack(dataset(1200), sys.argv[1] + "/b.zarr", train_period=(None, None), block_mb=8)
print(peak() - before)
"""
    result = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
    )
    shutil.rmtree(tmp_path / "b.zarr")
    assert float(result.stdout) < 40  # of 157 MB


@pytest.mark.parametrize("processes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_cluster_gives_the_same_bytes_and_the_same_errors(
    fields, tmp_path: Path, tree, processes: bool
) -> None:
    from distributed import LocalCluster

    here = pack(fields, tmp_path / "here.zarr", train_period=TRAIN, block_mb=0.005)
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=processes,
        protocol="tcp",
        dashboard_address=None,
        local_directory=tmp_path,
    ) as cluster:
        options = {"train_period": TRAIN, "block_mb": 0.005, "scheduler": cluster.scheduler_address}
        there = pack(fields.chunk(time=5), tmp_path / "there.zarr", **options)
        fields["2m_temperature"][9, 0, 0] = np.nan
        with pytest.raises(DataError, match=r"2m_temperature must be finite.*at 2000-01-03T06") as error:
            pack(fields.chunk(time=5), tmp_path / "bad.zarr", **options)
    assert "missing='mask'" in str(error.value)
    assert tree(there.path) == tree(here.path)


def test_the_record_is_plain_json(store) -> None:
    record = json.loads((store.path / "store.json").read_text())
    assert record["schema"] == "isopleth.store/1"
    assert record["channels"][1] == {
        "name": "geopotential_500",
        "variable": "geopotential",
        "level": 500.0,
        "units": "m2 s-2",
    }
