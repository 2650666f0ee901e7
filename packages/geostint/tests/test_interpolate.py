"""From stores to stores: values, times, meanings, gaps, damage, resumption."""

import numpy as np
import pytest
import xarray as xr

from geostint.config import InterpolateConfig
from geostint.data import open_sequence
from geostint.interpolate import make_plan, make_template, stream
from isopleth.errors import DataError
from isopleth.io import open_fields, write_zarr


@pytest.fixture
def store(make_fields, tmp_path):
    def write(name="in.zarr", *, chunk=4, **options):
        return write_zarr(make_fields(**options), tmp_path / name, chunks={"time": chunk})

    return write


def test_every_frame_comes_back_and_what_is_between_is_linear(store, run, tmp_path):
    source = store(land=True)
    found = run("interpolate", source, tmp_path / "out.zarr", "--factor", "3", "--block", "7")
    assert (found["frames"], found["written"], found["meaning"]) == (25, 73, {"wave": "point"})
    given, made = open_fields(source)["wave"], open_fields(tmp_path / "out.zarr")["wave"]
    np.testing.assert_array_equal(made[::3], given)
    np.testing.assert_array_equal(np.diff(made["time"]), np.timedelta64(2, "h"))
    a, b = given.values[:-1], given.values[1:]
    np.testing.assert_allclose(made.values[1::3], a + (b - a) / 3, atol=1e-6)
    np.testing.assert_array_equal(np.isnan(made[1]), np.isnan(given[0]))
    assert made.attrs["units"] == "K"
    assert made.attrs["cell_methods"] == "time: point"


@pytest.mark.parametrize("method", ["cubic", "climatology", "nearest"])
@pytest.mark.parametrize("block", [1, 5, 100])
def test_blocks_leave_no_trace(store, method, block, tmp_path):
    source = str(store())
    config = InterpolateConfig(source=source, out=tmp_path / "x", method=method, factor=2, block=block)
    plan = make_plan(config)
    template = make_template(plan)
    whole = np.concatenate([plan.make(0, 25)])
    pieces = [piece["wave"].values for piece in stream(plan, template, block=block)]
    np.testing.assert_array_equal(np.concatenate(pieces)[:, None], whole)
    rest = [piece["wave"].values for piece in stream(plan, template, block=block, start=11)]
    np.testing.assert_array_equal(np.concatenate(rest), np.concatenate(pieces)[11:])


@pytest.mark.parametrize("meaning", ["mean", "sum"])
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("block", [3, 50])
def test_parts_give_back_their_parents(store, run, tmp_path, meaning, factor, block):
    offset = 1.6 if meaning == "sum" else 0.0
    source = store(land=True, offset=offset, attrs={"cell_methods": f"time: {meaning}"})
    out = tmp_path / "out.zarr"
    found = run("interpolate", source, out, "--factor", factor, "--block", block, "--method", "cubic",
                *(["--non_negative", "[wave]"] if meaning == "sum" else []))  # fmt: skip
    assert found["meaning"] == {"wave": meaning}
    parents, parts = open_fields(source)["wave"], open_fields(out)["wave"]
    assert parts.attrs["cell_methods"] == f"time: {meaning}"
    groups = parts.values.astype(float).reshape(25, factor, 16, 32)
    total = groups.mean(axis=1) if meaning == "mean" else groups.sum(axis=1)
    np.testing.assert_allclose(total, parents, atol=2e-6)
    times = parts["time"].values.astype("int64").reshape(25, factor).mean(axis=1)
    np.testing.assert_allclose(times, parents["time"].values.astype("int64"), atol=1e9)
    known = np.isfinite(parents.values[3])
    assert groups[3][:, known].std(axis=0).mean() > 0.01
    if meaning == "sum":
        assert np.nanmin(groups) >= 0


def test_parts_of_a_mean_are_nearer_the_truth_than_the_parent(make_fields, tmp_path, run):
    fine = make_fields(times=72, hours=2)
    parents = fine.coarsen(time=3).mean().assign_coords(time=fine["time"].values[1::3])
    parents["wave"].attrs.update(cell_methods="time: mean", units="K")
    source = write_zarr(parents, tmp_path / "mean.zarr")
    run("interpolate", source, tmp_path / "out.zarr", "--factor", "3", "--method", "cubic")
    parts = open_fields(tmp_path / "out.zarr")["wave"]
    np.testing.assert_array_equal(parts["time"], fine["time"])
    inner = slice(3, -3)
    error = np.abs(parts.values - fine["wave"].values)[inner].mean()
    constant = np.abs(np.repeat(parents["wave"].values, 3, axis=0) - fine["wave"].values)[inner].mean()
    assert error < 0.2 * constant


def test_a_cubic_of_rain_is_never_negative(make_fields, tmp_path, run):
    rain = make_fields(offset=-0.5).clip(min=0).rename(wave="rain_rate")
    rain["rain_rate"].attrs["units"] = "kg m-2 s-1"
    source = write_zarr(rain, tmp_path / "rain.zarr")
    run("interpolate", source, tmp_path / "out.zarr", "--factor", "3", "--method", "cubic")
    made = open_fields(tmp_path / "out.zarr")["rain_rate"]
    assert float(made.min()) == 0.0
    config = InterpolateConfig(source=str(source), out=tmp_path / "x", factor=3, method="cubic")
    plan = make_plan(config)
    raw = plan.method.make(plan._read_gaps(0, 24), plan.fractions)
    assert raw.min() < -1e-3


def test_the_network_fills_a_store(store, network, run, tmp_path):
    source = store(shape=(16, 32), land=True)
    network().save_pretrained(tmp_path / "model")
    for name, words in {"whole": [], "tiles": ["--tile", "16"], "blocks": ["--block", "3"]}.items():
        found = run("interpolate", source, tmp_path / f"{name}.zarr", "--model", tmp_path / "model", *words)
        assert found["factor"] == 3
    whole, tiles, blocks = (
        open_fields(tmp_path / f"{n}.zarr")["wave"].values for n in ("whole", "tiles", "blocks")
    )
    np.testing.assert_allclose(tiles, whole, atol=2e-5)
    np.testing.assert_allclose(blocks, whole, atol=2e-5)
    linear = open_fields(source)["wave"].values
    assert np.nanmax(np.abs(whole[1] - (2 * linear[0] + linear[1]) / 3)) > 1e-3


def test_a_network_of_fixed_times_splits_means_only_into_odd_parts(store, network, fail, run, tmp_path):
    source = store(attrs={"cell_methods": "time: mean"})
    network().save_pretrained(tmp_path / "model")
    run("interpolate", source, tmp_path / "ok.zarr", "--model", tmp_path / "model")
    words = ["--model", tmp_path / "model", "--factor", "2"]
    assert "times between frames must be among" in fail("interpolate", source, tmp_path / "o.zarr", *words)


def test_irregular_time_is_refused_unless_regularised(make_fields, tmp_path, fail, run):
    fields = make_fields(times=20)
    stamps = fields["time"].values.copy()
    stamps[3] += np.timedelta64(11, "m")
    odd = fields.assign_coords(time=stamps).isel(time=[k for k in range(20) if k not in (8, 9)])
    source = write_zarr(odd, tmp_path / "odd.zarr")
    error = fail("interpolate", source, tmp_path / "out.zarr", "--factor", "2")
    assert "equal steps of 6 hours" in error
    assert "--regularise" in error
    found = run("interpolate", source, tmp_path / "out.zarr", "--factor", "2", "--regularise", "true")
    assert found["written"] == 18 + 16
    made = open_fields(tmp_path / "out.zarr")["wave"]
    steps = np.diff(made["time"].values) / np.timedelta64(1, "h")
    assert sorted(set(steps)) == [3.0, 18.0]
    np.testing.assert_array_equal(made.sel(time=fields["time"].values[3]), fields["wave"][3])


def test_months_are_as_long_as_they_are(make_fields, tmp_path, run):
    fields = make_fields(times=14)
    months = np.arange("2001-01", "2002-03", dtype="datetime64[M]").astype("datetime64[ns]")
    source = write_zarr(fields.assign_coords(time=months), tmp_path / "m.zarr")
    found = run("interpolate", source, tmp_path / "out.zarr", "--factor", "2")
    assert (found["step"], found["written"]) == ("1 month", 27)
    made = open_fields(tmp_path / "out.zarr")
    assert str(made["time"].values[3])[:13] == "2001-02-15T00"


def test_other_calendars(make_fields, tmp_path, run):
    times = xr.date_range("2001-02-25", periods=25, freq="6h", calendar="360_day", use_cftime=True)
    source = write_zarr(make_fields().assign_coords(time=times), tmp_path / "c.zarr")
    run("interpolate", source, tmp_path / "out.zarr", "--factor", "3")
    made = open_fields(tmp_path / "out.zarr")
    assert made["time"].values[1].calendar == "360_day"
    assert str(made["time"].values[-1]) == str(times[-1])


def test_a_ten_year_store_with_a_damaged_chunk_is_named_and_resumed_after_repair(
    make_fields, tmp_path, run, fail
):
    fields = make_fields(times=3653, hours=24, shape=(6, 8))
    source = write_zarr(fields, tmp_path / "in.zarr", chunks={"time": 100})
    chunk = source / "wave" / "c" / "21" / "0" / "0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: len(whole) // 2])
    words = [
        "interpolate",
        source,
        tmp_path / "out.zarr",
        "--factor",
        "2",
        "--block",
        "50",
        "--resume",
        "true",
    ]
    error = fail(*words)
    assert "wave at 2006-10-02" in error
    assert "wave/c/21" in error
    assert "--resume" in error
    assert not (tmp_path / "out.zarr").exists()
    chunk.write_bytes(whole)
    found = run(*words)
    assert found["resumed_at"] > 2000
    made = open_fields(tmp_path / "out.zarr")["wave"]
    assert made.sizes["time"] == 2 * 3653 - 1
    np.testing.assert_array_equal(made.values[::2], fields["wave"].values)
    run("interpolate", source, tmp_path / "fresh.zarr", "--factor", "2", "--block", "31")
    np.testing.assert_array_equal(made.values, open_fields(tmp_path / "fresh.zarr")["wave"].values)


def test_memory_is_a_few_blocks(store, tmp_path, monkeypatch):
    from geostint.data import Sequence

    seen, read = [], Sequence.read
    monkeypatch.setattr(Sequence, "read", lambda self, a, b: seen.append(b - a) or read(self, a, b))
    config = InterpolateConfig(source=str(store(times=60)), out=tmp_path / "x", factor=2, block=4)
    plan = make_plan(config)
    for _ in stream(plan, make_template(plan), block=4):
        pass
    assert max(seen) <= 4 + 3


def test_a_dask_cluster_reads(store, run, tmp_path):
    distributed = pytest.importorskip("distributed")
    source = store()
    cluster = distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None)
    with cluster, distributed.Client(cluster):
        words = ["--factor", "2", "--scheduler", cluster.scheduler_address]
        assert run("interpolate", source, tmp_path / "there.zarr", *words)["written"] == 49
    run("interpolate", source, tmp_path / "here.zarr", "--factor", "2")
    there, here = (open_fields(tmp_path / f"{name}.zarr")["wave"].values for name in ("there", "here"))
    np.testing.assert_array_equal(there, here)


def test_one_frame_is_no_sequence(make_fields):
    with pytest.raises(DataError, match="at least 2 frames"):
        open_sequence(make_fields(times=1))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--factor", "1"], "factor must be at least 2"),
        (["--factor", "3", "--method", "kriging"], "kriging"),
        (["--factor", "3", "--block", "0"], "block must be above 0"),
        (["--factor", "3", "--variables", "[rain]"], "rain"),
        (["--model", "nowhere/at/all"], "pretrained model"),
        (["--factor", "3", "--period", "['1990', '1991']"], "at least 2 frames, got 0"),
    ],
)
def test_what_cannot_be_done_is_one_line(store, fail, tmp_path, words, message):
    assert message in fail("interpolate", store(), tmp_path / "o.zarr", *words)
