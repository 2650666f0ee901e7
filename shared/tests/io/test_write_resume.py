"""A long zarr write goes on where a kill stopped it, and ends with the bytes of an unbroken one."""

import json
import random

import dask.array
import numpy as np
import pytest
import xarray as xr

from isopleth.errors import DataError
from isopleth.io.write import Provenance, ZarrWriter, write_zarr

STEPS = 40


def values(steps=STEPS):
    return np.random.default_rng(0).normal(size=(steps, 6, 8)).astype("f4")


def dataset(data=None, **changes):
    data = values() if data is None else data
    ds = xr.Dataset(
        {"x": (("time", "lat", "lon"), data), "land": (("lat", "lon"), np.eye(6, 8))},
        coords={"time": np.arange(data.shape[0]), "lat": np.arange(6.0), "lon": np.arange(8.0)},
        attrs={"a": 1},
    )
    return ds.assign(changes)


def contents(store):
    return {str(p.relative_to(store)): p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def lazily(function, length=5):
    """Return the values as dask chunks that a function sees when they are computed."""
    chunks = dask.array.from_array(values(), chunks=(length, -1, -1))
    return chunks.map_blocks(function, dtype="f4", meta=np.zeros((0, 0, 0), "f4"))


@pytest.fixture(autouse=True)
def _reproducible(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")


class StoppedError(Exception):
    """What ends a generator early in these tests."""


def begin(path, ds, steps, **options):
    """Write the first steps one by one, then fail."""
    with pytest.raises(StoppedError), ZarrWriter(path, ds, resume=True, **options) as writer:  # noqa: PT012
        for step in range(writer.done, steps):
            writer.write(ds.isel(time=[step]))
        raise StoppedError


@pytest.mark.parametrize("length", [1, 3, 7, STEPS])
def test_a_resumed_store_has_the_bytes_of_an_unbroken_one(tmp_path, length):
    options = {"chunks": {"time": length}, "provenance": Provenance("t", "1")}
    whole = write_zarr(dataset(), tmp_path / "whole.zarr", resume=True, **options)
    broken = tmp_path / "broken.zarr"
    for stop in (2, 17, 30):
        begin(broken, dataset(), stop, **options)
        assert not broken.exists()
    write_zarr(dataset(), broken, resume=True, **options)
    assert contents(broken) == contents(whole)
    at_once = write_zarr(dataset(), tmp_path / "at_once.zarr", **options)
    assert contents(at_once) == contents(whole)
    lazy = write_zarr(dataset().chunk(time=5), tmp_path / "lazy.zarr", resume=True, **options)
    assert contents(lazy) == contents(whole)
    assert names(tmp_path) == ["at_once.zarr", "broken.zarr", "lazy.zarr", "whole.zarr"]


def test_finished_regions_are_not_computed_again(tmp_path):
    begin(tmp_path / "a.zarr", dataset(), 17, chunks={"time": 5})
    seen = []

    def note(block, block_info=None):
        seen.append(block_info[0]["chunk-location"][0])
        return block

    lazy = lazily(note)
    write_zarr(dataset(lazy), tmp_path / "a.zarr", resume=True, chunks={"time": 5})
    assert sorted(seen) == [3, 4, 5, 6, 7]


def test_torn_chunks_of_the_killed_writer_are_written_again(tmp_path):
    """What lies beyond the noted progress may be anything, zarr's own temporary files included."""
    path = tmp_path / "a.zarr"
    begin(path, dataset(), 20, chunks={"time": 5})
    chunks = tmp_path / ".a.zarr.partial-resume" / "a.zarr" / "x" / "c"
    (chunks / "4" / "0").mkdir(parents=True)
    (chunks / "4" / "0" / "0").write_bytes(b"torn")
    (chunks / "4" / "0" / "0.0123.partial").write_bytes(b"torn")
    write_zarr(dataset(), path, resume=True, chunks={"time": 5})
    whole = write_zarr(dataset(), tmp_path / "whole.zarr", chunks={"time": 5})
    assert contents(path) == contents(whole)


CHANGES = {
    "shape": lambda: dataset(values(41)),
    "variables": lambda: dataset(y=dataset()["x"]),
    "name": lambda: dataset().rename(x="z"),
    "coordinates": lambda: dataset().assign_coords(lat=np.arange(6.0) + 0.5),
    "times": lambda: dataset().assign_coords(time=np.arange(STEPS) + 1),
    "attrs": lambda: dataset().assign_attrs(a=2),
    "variable attrs": lambda: dataset(x=dataset()["x"].assign_attrs(units="m")),
    "static field": lambda: dataset(land=(("lat", "lon"), np.zeros((6, 8)))),
    "order of dims": lambda: dataset().transpose("time", "lon", "lat"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("state", ["begun", "finished"])
def test_another_dataset_is_refused(change, state, tmp_path):
    path = tmp_path / "a.zarr"
    if state == "begun":
        begin(path, dataset(), 20, chunks={"time": 5})
    else:
        write_zarr(dataset(), path, chunks={"time": 5})
    with pytest.raises(
        DataError, match="resumed write must be given the dataset it was begun with"
    ) as failure:
        write_zarr(CHANGES[change](), path, resume=True, chunks={"time": 5})
    assert "resume=False" in str(failure.value)
    write_zarr(dataset(), path, resume=True, chunks={"time": 5})
    np.testing.assert_array_equal(xr.open_zarr(path, chunks=None)["x"], values())


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": {"time": 4}},
        {"provenance": Provenance("t", "2")},
        {"provenance": Provenance("t", "1", "other")},
        {"dtype": None},
    ],
)
def test_other_settings_are_refused(options, tmp_path):
    given = {"chunks": {"time": 5}, "provenance": Provenance("t", "1")}
    data = values().astype("f8")
    begin(tmp_path / "a.zarr", dataset(data), 20, **given)
    with pytest.raises(DataError, match="must be given the dataset it was begun with"):
        write_zarr(dataset(data), tmp_path / "a.zarr", resume=True, **{**given, **options})


def test_a_fresh_write_drops_what_was_begun(tmp_path):
    path = tmp_path / "a.zarr"
    begin(path, dataset(), 20, chunks={"time": 5})
    write_zarr(dataset(values() + 1), path, chunks={"time": 5})
    assert names(tmp_path) == ["a.zarr"]


def test_a_finished_store_is_left_as_it_is(tmp_path):
    path = write_zarr(dataset(), tmp_path / "a.zarr", resume=True)
    before = path.stat().st_ino
    fails = lazily(lambda block: 1 / 0)
    write_zarr(dataset(fails), path, resume=True, chunks={"time": STEPS})
    assert path.stat().st_ino == before
    with ZarrWriter(path, dataset(), resume=True) as writer:
        assert writer.done == writer.total == STEPS


def test_a_second_writer_of_the_same_store_is_told(tmp_path):
    ds = dataset()
    with ZarrWriter(tmp_path / "a.zarr", ds, resume=True) as writer:
        with pytest.raises(DataError, match="one resumable writer at a time"):
            write_zarr(ds, tmp_path / "a.zarr", resume=True)
        writer.write(ds)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr", chunks=None)["x"], values())


def test_pieces_of_any_length_give_the_same_store(tmp_path):
    whole = write_zarr(dataset(), tmp_path / "whole.zarr", chunks={"time": 4})
    rng = random.Random(1)
    with ZarrWriter(tmp_path / "a.zarr", dataset(), chunks={"time": 4}) as writer:
        while writer.position < writer.total:
            stop = writer.position + rng.randint(1, 9)
            writer.write(dataset().isel(time=slice(writer.position, stop)))
            assert writer.position - writer.done < 4
    assert contents(tmp_path / "a.zarr") == contents(whole)


def test_a_stream_holds_one_chunk_in_memory(tmp_path):
    import tracemalloc

    template = xr.Dataset({"x": (("lead", "lat", "lon"), dask.array.empty((160, 128, 256), dtype="f4"))})
    tracemalloc.start()
    with ZarrWriter(tmp_path / "a.zarr", template, dim="lead", chunks={"lead": 4}) as writer:
        for step in range(writer.total):
            field = np.random.default_rng(step).random((1, 128, 256), dtype="f4")
            writer.write(xr.Dataset({"x": (("lead", "lat", "lon"), field)}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < template.nbytes / 3
    last = xr.open_zarr(tmp_path / "a.zarr", chunks=None)["x"][159, 0, 0]
    assert float(last) == np.random.default_rng(159).random(dtype="f4")


def test_variables_of_different_sizes_share_regions(tmp_path):
    """A time series beside fields must not make the whole axis one region."""
    steps = 3000
    ds = xr.Dataset(
        {
            "field": (
                ("time", "lat", "lon"),
                dask.array.zeros((steps, 90, 180), dtype="f4", chunks=(10, -1, -1)),
            ),
            "series": ("time", np.arange(steps, dtype="f4")),
        }
    )
    writer = ZarrWriter(tmp_path / "a.zarr", ds)
    assert writer.region_length(64 * 2**20) < 1500
    write_zarr(ds.isel(time=slice(0, 200)), tmp_path / "a.zarr")
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr", chunks=None)["series"], np.arange(200))


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (lambda ds: ds[["land"]], "must have every variable along time"),
        (lambda ds: ds.isel(lat=slice(0, 3)), r"x must be of sizes .*got .*'lat': 3"),
        (lambda ds: ds.assign_coords(time=ds["time"] + 1), "must have the template's time"),
        (lambda ds: ds.assign_coords(lat=ds["lat"] + 1), "must have the template's lat"),
        (lambda ds: ds.isel(time=np.arange(80) % 40), "must add up to 40 along time, got 80"),
    ],
)
def test_a_piece_that_does_not_fit_is_refused(piece, message, tmp_path):
    with pytest.raises(DataError, match=message), ZarrWriter(tmp_path / "a.zarr", dataset()) as writer:
        writer.write(piece(dataset()))
    assert names(tmp_path) == []


def test_missing_pieces_are_an_error_and_can_still_come(tmp_path):
    path = tmp_path / "a.zarr"
    options = {"resume": True, "chunks": {"time": 5}}
    missing = pytest.raises(DataError, match="all 40 steps along time, got 13")
    with missing, ZarrWriter(path, dataset(), **options) as writer:
        writer.write(dataset().isel(time=slice(0, 13)))
    assert not path.exists()
    with ZarrWriter(path, dataset(), **options) as writer:
        assert writer.done == 10
        writer.write(dataset().isel(time=slice(10, None)))
    np.testing.assert_array_equal(xr.open_zarr(path, chunks=None)["x"], values())


@pytest.mark.parametrize("chunks", [{"tim": 5}, {"time": 0}])
def test_chunks_that_are_none_are_refused(chunks, tmp_path):
    with pytest.raises(DataError, match="chunks must be positive lengths of"):
        write_zarr(dataset(), tmp_path / "a.zarr", chunks=chunks)


def test_a_dataset_without_the_dimension_is_written_at_once(tmp_path):
    write_zarr(dataset()[["land"]], tmp_path / "a.zarr", resume=True)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr", chunks=None)["land"], np.eye(6, 8))


def test_values_along_time_of_a_template_are_never_read(tmp_path):
    data = lazily(lambda block: 1 / 0)
    with ZarrWriter(tmp_path / "a.zarr", dataset(data)) as writer:
        writer.write(dataset())


def test_progress_is_noted_after_the_chunks_are_on_the_disk(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr("isopleth.io.zarr_writer.sync_tree", lambda path: order.append(path.name))
    begin(tmp_path / "a.zarr", dataset(), 10, chunks={"time": 5})
    note = "progress.json.new"
    assert order == [note, "0", note, "0", note]
    progress = json.loads((tmp_path / ".a.zarr.partial-resume" / "progress.json").read_text())
    assert progress["done"] == 10


def large_steps():
    """Four steps of six leads and two members each."""
    data = np.random.default_rng(1).normal(size=(4, 6, 2, 3)).astype("f4")
    coords = {"time": range(4), "lead": range(6), "member": range(2), "lat": [0.0, 1.0, 2.0]}
    return xr.Dataset({"x": (("time", "lead", "member", "lat"), data)}, coords)


LARGE = {"chunks": {"time": 1, "lead": 1, "member": 1}}


def parts_of(ds, start, stop):
    for member in range(2):
        for lead in range(6):
            place = {"lead": slice(lead, lead + 1), "member": slice(member, member + 1)}
            yield place, ds.isel(time=slice(start, stop), **place)


def test_steps_in_parts_give_the_same_store(tmp_path):
    ds = large_steps()
    with ZarrWriter(tmp_path / "whole.zarr", ds, **LARGE) as writer:
        writer.write(ds)
    with ZarrWriter(tmp_path / "parts.zarr", ds, **LARGE) as writer:
        writer.write_parts(3, parts_of(ds, 0, 3))
        writer.write_parts(1, parts_of(ds, 3, 4))
    assert contents(tmp_path / "parts.zarr") == contents(tmp_path / "whole.zarr")


def test_steps_in_parts_are_resumed_after_the_last_whole_ones(tmp_path):
    ds = large_steps()

    def broken():
        yield from list(parts_of(ds, 2, 4))[:5]
        raise StoppedError

    with pytest.raises(StoppedError), ZarrWriter(tmp_path / "x.zarr", ds, resume=True, **LARGE) as writer:  # noqa: PT012
        writer.write_parts(2, parts_of(ds, 0, 2))
        writer.write_parts(2, broken())
    with ZarrWriter(tmp_path / "x.zarr", ds, resume=True, **LARGE) as writer:
        assert writer.done == 2
        writer.write_parts(2, parts_of(ds, 2, 4))
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "x.zarr")["x"], ds["x"])


def test_parts_that_do_not_make_up_their_steps_are_refused(tmp_path):
    ds = large_steps()
    few = list(parts_of(ds, 0, 2))[:-1]
    with pytest.raises(DataError, match="must make up steps 0 to 2 of time once"):
        write_some_parts(tmp_path, ds, 2, few)
    twice = [*parts_of(ds, 0, 2), few[0]]
    with pytest.raises(DataError, match="must make up steps 0 to 2 of time once"):
        write_some_parts(tmp_path, ds, 2, twice)
    with pytest.raises(DataError, match="whole chunks of 1 along time, got 5 steps from 0 of 4"):
        write_some_parts(tmp_path, ds, 5, few)
    with pytest.raises(DataError, match="template's lead at steps 0 to 2"):
        write_some_parts(tmp_path, ds, 2, [(few[1][0], few[0][1])])


def write_some_parts(folder, ds, length, parts):
    with ZarrWriter(folder / "x.zarr", ds, **LARGE) as writer:
        writer.write_parts(length, parts)


def test_a_store_of_a_million_chunks_is_begun_without_a_task_for_each(tmp_path):
    empty = dask.array.empty((1000, 1000, 2), dtype="f4", chunks=(1, 1, 2))
    ds = xr.Dataset({"x": (("time", "lead", "lat"), empty)}, {"time": range(1000)})
    writer = ZarrWriter(tmp_path / "x.zarr", ds, chunks={"time": 1, "lead": 1})
    assert writer._template["x"].data.npartitions == 1
    assert writer._chunks["x"] == (1, 1, 2)
