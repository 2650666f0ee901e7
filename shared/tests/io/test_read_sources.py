"""Where fields come from: paths, globs, folders, lists, zips, URLs; and that nothing is read unasked."""

import functools
import http.server
import threading

import distributed
import fsspec
import numpy as np
import pytest
import xarray as xr
from fsspec.implementations.local import LocalFileSystem

from isopleth.errors import DataError
from isopleth.io import open_fields
from isopleth.io.combine import Piece, combine
from isopleth.testing import (
    Stored,
    write_cmip6_zos,
    write_era5_new_cds,
    write_era5_zip,
    write_prism,
    write_raw,
    write_weatherbench2,
    write_weatherbench2_v3,
)


def write_step(
    path, *, time=None, name="t2m", value=280.0, units="K", member=None, lat=(10.0, 0.0), dims=("time",)
):
    """One small file: a constant field, with a time axis (or a scalar time) and perhaps a member."""
    since = {"units": "days since 2000-01-01", "calendar": "standard"}
    variables = {
        "lat": Stored(dims=("lat",), values=np.array(lat), attrs={"units": "degrees_north"}),
        "lon": Stored(dims=("lon",), values=np.array([0.0, 10.0, 20.0]), attrs={"units": "degrees_east"}),
    }
    if time is not None:
        variables["time"] = Stored(dims=dims, values=np.array(time, "f8"), attrs=since)
    if member is not None:
        variables["realization"] = Stored(
            dims=(), values=np.int32(member), attrs={"standard_name": "realization"}
        )
    shape = (*np.shape(time), len(lat), 3) if dims else (len(lat), 3)
    values = np.full(shape, value, "f4") + np.arange(np.prod(shape), dtype="f4").reshape(shape)
    variables[name] = Stored(dims=(*dims, "lat", "lon"), values=values, attrs={"units": units})
    return write_raw(path, variables)


def test_path_string_and_list_are_the_same(tmp_path):
    path = write_prism(tmp_path).path
    expected = open_fields(path)
    for source in (
        str(path),
        [path],
        [str(path)],
        f"file://{path}",
        str(path.parent / "prism*.nc"),
        path.parent,
    ):
        xr.testing.assert_equal(open_fields(source), expected)


def test_files_join_along_time_whatever_their_order(tmp_path):
    for n, days in enumerate([[4, 5], [0, 1], [2, 3]]):
        write_step(tmp_path / f"part{n}.nc", time=days, value=100.0 * days[0])
    fields = open_fields(tmp_path)
    assert fields["time"].dt.day.values.tolist() == [1, 2, 3, 4, 5, 6]
    parts = [open_fields(tmp_path / f"part{n}.nc")["2m_temperature"].values for n in (1, 2, 0)]
    whole = fields["2m_temperature"]
    np.testing.assert_array_equal(whole.values, np.concatenate(parts))
    np.testing.assert_array_equal(
        whole.isel(time=[4, 0, 3], lat=1).values, np.concatenate(parts)[[4, 0, 3], 1]
    )
    np.testing.assert_array_equal(
        whole.isel(time=-1, lon=[2, 0]).values, np.concatenate(parts)[-1][:, [2, 0]]
    )
    np.testing.assert_array_equal(whole.isel(time=slice(None, None, -2)).values, np.concatenate(parts)[::-2])
    assert whole.isel(time=slice(0, 0)).values.shape == (0, 2, 3)


def test_one_file_a_time_step_with_scalar_time(tmp_path):
    for day in (2, 0, 1):
        write_step(tmp_path / f"{day}.nc", time=day, dims=(), value=float(day))
    fields = open_fields(tmp_path)["2m_temperature"]
    assert fields.dims == ("time", "lat", "lon")
    np.testing.assert_array_equal(fields.values[:, 1, 0], [0.0, 1.0, 2.0])


def test_members_and_variables_in_files_of_their_own(tmp_path):
    for member in (3, 1):
        for name, units, value in (("t2m", "K", 280.0), ("msl", "hPa", 1000.0)):
            path = tmp_path / f"{name}{member}.nc"
            write_step(path, time=[0, 1], name=name, units=units, value=value + member, member=member)
    fields = open_fields(tmp_path / "*.nc")
    assert fields["2m_temperature"].dims == ("member", "time", "lat", "lon")
    assert fields["member"].values.tolist() == [1, 3]
    np.testing.assert_allclose(fields["mean_sea_level_pressure"].values[:, 0, 1, 0], [100100.0, 100300.0])


def test_two_files_that_hold_parts_of_a_block_are_refused(tmp_path):
    write_step(tmp_path / "a.nc", time=[0, 1])
    write_step(tmp_path / "b.nc", time=[2, 3], name="msl", units="Pa")
    with pytest.raises(DataError, match="must share their time axis"):
        open_fields(tmp_path)


def test_two_grids_are_refused(tmp_path):
    write_step(tmp_path / "a.nc", time=[0])
    write_step(tmp_path / "b.nc", time=[1], lat=(11.0, 1.0))
    with pytest.raises(DataError, match=r"must share one grid.*a\.nc.*b\.nc"):
        open_fields(tmp_path)


def test_two_calendars_are_refused(tmp_path):
    for calendar in ("noleap", "360_day"):
        write_cmip6_zos(tmp_path, calendar=calendar)
    with pytest.raises(DataError, match=r"one calendar.*'360_day'.*'noleap'"):
        open_fields(tmp_path)


def test_a_wanted_variable_need_not_be_in_every_file(tmp_path):
    written = write_era5_zip(tmp_path)
    for name in ("2m_temperature", "t2m"):
        assert list(open_fields(written.path, variables=[name]).data_vars) == ["2m_temperature"]
    with pytest.raises(DataError, match="must be one of 2m_temperature, total_precipitation, got 'msl'"):
        open_fields(written.path, variables=["t2m", "msl"])


def test_heights_that_differ_are_not_told_of_both():
    """A 2 m temperature and a 10 m wind merge, and neither height is said to be the other's."""
    coords = {"lat": [0.0, 1.0], "lon": [0.0, 1.0]}
    parts = []
    for name, units, height in (("tas", "K", 2.0), ("uas", "m s-1", 10.0)):
        attrs = {"units": units, "coordinates": "height"}
        ds = xr.Dataset({name: (("lat", "lon"), np.ones((2, 2)), attrs)}, coords=coords)
        parts.append(ds.assign_coords(height=((), height, {"units": "m", "standard_name": "height"})))
    merged = combine([Piece(open_fields(part), (str(n),)) for n, part in enumerate(parts)])
    assert sorted(merged.data_vars) == ["10m_u_component_of_wind", "2m_temperature"]
    assert "height" not in merged.coords


def test_zip_named_nc_gives_both_of_its_files(tmp_path):
    written = write_era5_zip(tmp_path)
    fields = open_fields(written.path)
    assert sorted(fields.data_vars) == ["2m_temperature", "total_precipitation"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["era5_request.nc"]


@pytest.mark.parametrize(
    "write", [write_weatherbench2, write_weatherbench2_v3, write_era5_new_cds, write_era5_zip]
)
def test_in_memory_url(tmp_path, write):
    written = write(tmp_path)
    memory = fsspec.filesystem("memory")
    memory.put(str(written.path), f"/{tmp_path.name}/{written.path.name}", recursive=True)
    fields = open_fields(f"memory://{tmp_path.name}/{written.path.name}")
    for name, expected in written.truth.data_vars.items():
        np.testing.assert_allclose(fields[name].values, expected.values, rtol=1e-6)


@pytest.fixture
def server(tmp_path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("write", [write_weatherbench2, write_era5_new_cds, write_era5_zip])
def test_over_http(tmp_path, server, write):
    pytest.importorskip("aiohttp", reason="http:// needs isopleth[remote]")
    written = write(tmp_path)
    fields = open_fields(f"{server}/{written.path.name}")
    for name, expected in written.truth.data_vars.items():
        np.testing.assert_allclose(fields[name].values, expected.values, rtol=1e-6)


def test_what_is_not_on_the_server_is_missing(server):
    pytest.importorskip("aiohttp", reason="http:// needs isopleth[remote]")
    with pytest.raises(DataError, match="must exist"):
        open_fields(f"{server}/nothing.nc")


class Counting(LocalFileSystem):
    """A local filesystem that notes which files are read."""

    protocol = "counting"
    read: list[str] = []  # noqa: RUF012 - fsspec makes and caches the instances itself

    @classmethod
    def _strip_protocol(cls, path):
        return LocalFileSystem._strip_protocol(str(path).removeprefix("counting://"))

    def cat_file(self, path, *args, **kwargs):
        self.read.append(str(path))
        return super().cat_file(path, *args, **kwargs)


fsspec.register_implementation("counting", Counting, clobber=True)


def chunks_read():
    """Chunks of fields read since the last call; coordinates and metadata are read at opening."""
    names = ("geopotential", "2m_temperature", "total_precipitation_6hr")
    read = [path for path in Counting.read if any(f"/{name}/" in path for name in names)]
    Counting.read.clear()
    return [path for path in read if not path.endswith((".zarray", ".zattrs", "zarr.json"))]


@pytest.mark.parametrize("chunks", [None, {}, {"time": 2}])
@pytest.mark.parametrize("write", [write_weatherbench2, write_weatherbench2_v3])
def test_only_what_is_looked_at_is_read(tmp_path, write, chunks):
    url = f"counting://{write(tmp_path).path}"
    Counting.read.clear()
    fields = open_fields(
        url, period=("2020-01-01T06", "2020-01-01T12"), region=(-30, 30, 100, 200), chunks=chunks
    )
    assert chunks_read() == []
    fields["2m_temperature"].isel(time=0).values  # noqa: B018
    read = chunks_read()
    assert {path.split("/")[-2] for path in read} <= {"2m_temperature", "c", "1", "2", "0"}
    assert len(read) == 1
    fields[["geopotential"]].load()
    assert len(chunks_read()) == 2


def test_dask_chunks_are_those_of_the_store(tmp_path):
    fields = open_fields(write_weatherbench2(tmp_path).path, chunks={})
    assert fields["geopotential"].chunks == ((1,) * 5, (2,), (12,), (24,))
    assert open_fields(tmp_path / "weatherbench2_v2.zarr")["geopotential"].chunks is None


def test_damage_elsewhere_does_not_matter_and_here_is_named(tmp_path):
    path = write_weatherbench2(tmp_path).path
    for chunk in (path / "geopotential").glob("[0-9]*"):
        chunk.write_bytes(b"not a chunk")
    fields = open_fields(path)
    assert np.isfinite(fields["2m_temperature"].values).all()
    with pytest.raises(DataError, match=r"weatherbench2_v2\.zarr, variable 'geopotential'"):
        fields["geopotential"].values  # noqa: B018


def test_lazy_fields_travel_unread(tmp_path):
    """What dask and data loaders send to workers is the recipe, and it gives the same values there."""
    for n in range(3):
        write_step(tmp_path / f"{n}.nc", time=[2 * n, 2 * n + 1], value=10.0 * n)
    fields = open_fields(tmp_path)
    header, frames = distributed.protocol.serialize(fields, serializers=["pickle"])
    arrived = distributed.protocol.deserialize(header, frames)
    np.testing.assert_array_equal(arrived["2m_temperature"].values, fields["2m_temperature"].values)


@pytest.mark.slow
def test_joined_fields_survive_a_dask_cluster(tmp_path):
    """Every lazy array travels: workers are other processes, which get it serialised."""
    for n in range(3):
        write_step(tmp_path / f"{n}.nc", time=[2 * n, 2 * n + 1], value=10.0 * n)
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(processes=True, **options) as cluster, distributed.Client(cluster):
        found = open_fields(tmp_path, chunks={"time": 3})["2m_temperature"].values
    np.testing.assert_array_equal(found, open_fields(tmp_path)["2m_temperature"].values)
