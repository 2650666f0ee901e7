"""Instants, means and sums in one run: each by its own meaning, on one time axis."""

import numpy as np
import pytest
import xarray as xr

from geostint.config import InterpolateConfig
from geostint.interpolate import make_plan, make_template, stream
from isopleth.io import open_fields, write_zarr

HOUR = np.timedelta64(1, "h")
MEANINGS = {"wave": "point", "flux": "mean", "amount": "sum"}


@pytest.fixture
def mixed(make_fields):
    """Return one dataset with all three meanings, every frame known."""

    def make(times=14, **options):
        wave = make_fields(times=times, shape=(8, 16), land=True, **options)["wave"]
        flux = (2 * wave.roll(lon=3, roll_coords=False)).assign_attrs(
            units="W m-2", cell_methods="time: mean"
        )
        amount = (wave.roll(lon=5, roll_coords=False) + 3).assign_attrs(
            units="kg m-2", cell_methods="area: mean time: sum (interval: 6 hours)"
        )
        return xr.Dataset({"wave": wave, "flux": flux, "amount": amount})

    return make


@pytest.mark.parametrize("stamp", ["start", "middle", "end"])
@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("block", [2, 100])
def test_each_variable_is_what_it_is_alone(mixed, run, tmp_path, stamp, factor, block):
    source = write_zarr(mixed(), tmp_path / "in.zarr", chunks={"time": 4})
    words = ["--factor", factor, "--method", "cubic", "--stamp", stamp, "--block", block]
    found = run("interpolate", source, tmp_path / "all.zarr", *words)
    assert found["meaning"] == MEANINGS
    together = open_fields(tmp_path / "all.zarr")
    for name, meaning in MEANINGS.items():
        run("interpolate", source, tmp_path / f"{name}.zarr", *words, "--variables", f"[{name}]")
        alone = open_fields(tmp_path / f"{name}.zarr")[name]
        xr.testing.assert_equal(together[name].sel(time=alone["time"]), alone)
        others = together[name].drop_sel(time=alone["time"].values)
        assert others.isnull().all()
        assert together[name].attrs["cell_methods"].endswith(f"time: {meaning}")
    assert together["amount"].attrs["cell_methods"] == "area: mean time: sum"


@pytest.mark.parametrize(
    ("stamp", "factor", "first", "step"),
    [
        ("middle", 3, "2000-12-31T22", 2), ("start", 3, "2001-01-01T00", 2), ("end", 3, "2000-12-31T20", 2),
        ("start", 2, "2001-01-01T00", 3), ("end", 2, "2000-12-31T21", 3),
    ],
)  # fmt: skip
def test_instants_and_parts_share_their_times_where_they_can(
    mixed, run, tmp_path, stamp, factor, first, step
):
    source = write_zarr(mixed(), tmp_path / "in.zarr")
    run("interpolate", source, tmp_path / "out.zarr", "--factor", factor, "--stamp", stamp)
    times = open_fields(tmp_path / "out.zarr")["time"].values
    np.testing.assert_array_equal(np.diff(times), step * HOUR)
    assert times[0] == np.datetime64(first)


def test_where_they_cannot_the_axis_has_the_times_of_both(mixed, run, tmp_path):
    source = write_zarr(mixed(), tmp_path / "in.zarr")
    found = run("interpolate", source, tmp_path / "out.zarr", "--factor", "2")
    made = open_fields(tmp_path / "out.zarr")
    assert (found["written"], made.sizes["time"]) == (27 + 28, 55)
    np.testing.assert_array_equal(np.diff(made["time"]), 90 * np.timedelta64(1, "m"))
    sea = made.isel(lat=0, lon=0)
    np.testing.assert_array_equal(sea["wave"].isnull(), np.arange(55) % 2 == 0)
    np.testing.assert_array_equal(sea["flux"].isnull(), np.arange(55) % 2 == 1)


@pytest.mark.parametrize("stamp", ["start", "middle", "end"])
@pytest.mark.parametrize("factor", [3, 4])
def test_bounds_cut_each_step_without_a_seam(mixed, run, tmp_path, stamp, factor):
    fields = mixed()
    source = write_zarr(fields, tmp_path / "in.zarr")
    run("interpolate", source, tmp_path / "out.zarr", "--factor", factor, "--stamp", stamp)
    made = xr.open_zarr(tmp_path / "out.zarr", chunks=None, consolidated=False)
    assert made["time"].attrs["bounds"] == "time_bnds"
    own = made["flux"].isel(lat=0, lon=0).notnull().values
    bounds, times = made["time_bnds"].values[own], made["time"].values[own]
    np.testing.assert_array_equal(bounds[1:, 0], bounds[:-1, 1])
    np.testing.assert_array_equal(np.diff(bounds, axis=1), np.timedelta64(360 // factor, "m"))
    place = {"start": 0.0, "middle": 0.5, "end": 1.0}[stamp]
    np.testing.assert_array_equal((times - bounds[:, 0]) / (bounds[:, 1] - bounds[:, 0]), place)
    begin = fields["time"].values - np.timedelta64(round(6 * 3600 * place), "s")
    np.testing.assert_array_equal(bounds[::factor, 0], begin)
    instants = made["time_bnds"].values[~own]
    np.testing.assert_array_equal(instants[:, 0], instants[:, 1])


def test_parents_come_back(mixed, run, tmp_path):
    fields = mixed()
    source = write_zarr(fields, tmp_path / "in.zarr")
    run("interpolate", source, tmp_path / "out.zarr", "--factor", "3", "--method", "pchip", "--stamp", "end")
    made = open_fields(tmp_path / "out.zarr")
    parts = {name: made[name].values.reshape(14, 3, 8, 16).astype(float) for name in ("flux", "amount")}
    np.testing.assert_allclose(parts["flux"].mean(axis=1), fields["flux"], atol=1e-6)
    np.testing.assert_allclose(parts["amount"].sum(axis=1), fields["amount"], atol=1e-6)
    np.testing.assert_array_equal(made["wave"][2::3], fields["wave"])


@pytest.mark.parametrize("start", [1, 2, 17, 29, 43])
def test_a_mixed_run_goes_on_at_any_step(mixed, tmp_path, start):
    source = str(write_zarr(mixed(times=15), tmp_path / "in.zarr"))
    plan = make_plan(InterpolateConfig(source=source, out=tmp_path / "x", factor=3, block=4))
    template = make_template(plan)
    whole = xr.concat(list(stream(plan, template, block=4)), "time")
    rest = xr.concat(list(stream(plan, template, block=4, start=start)), "time")
    xr.testing.assert_equal(rest, whole.isel(time=slice(start, None)))


def test_a_gap_in_time_stays_open_for_instants_only(mixed, run, tmp_path):
    fields = mixed().isel(time=[k for k in range(14) if k != 6])
    source = write_zarr(fields, tmp_path / "in.zarr")
    for block in (2, 50):
        out = tmp_path / f"{block}.zarr"
        run("interpolate", source, out, "--factor", "3", "--regularise", "true", "--block", block)
        sea = open_fields(out).isel(lat=0, lon=0)
        assert int(sea["wave"].count()) == 13 + 2 * 11
        assert int(sea["flux"].count()) == int(sea["amount"].count()) == 39
        # Beside the hole there is nothing to guess from on one side: those parts are the parent.
        after = fields["flux"].isel(lat=0, lon=0)[6]
        np.testing.assert_allclose(sea["flux"].dropna("time")[18:20], [after, after], rtol=0.3)


def test_a_network_of_several_channels_takes_them_together(mixed, network, run, tmp_path):
    source = write_zarr(mixed(), tmp_path / "in.zarr")
    network(("amount", "flux", "wave")).save_pretrained(tmp_path / "model")
    words = ["--model", tmp_path / "model"]
    for block in (3, 100):
        run("interpolate", source, tmp_path / f"{block}.zarr", *words, "--block", block)
    one, other = (open_fields(tmp_path / f"{block}.zarr") for block in (3, 100))
    xr.testing.assert_allclose(one, other, atol=2e-5)
    np.testing.assert_array_equal(one["wave"][1::3], open_fields(source)["wave"])
    parts = one["flux"].values.reshape(14, 3, 8, 16).astype(float)
    np.testing.assert_allclose(parts.mean(axis=1), open_fields(source)["flux"], atol=2e-5)
    assert parts[..., 0, 0].std(axis=1).mean() > 0.01


def test_stamps_stand_somewhere_known(mixed, fail, tmp_path):
    source = write_zarr(mixed(), tmp_path / "in.zarr")
    assert "stamp" in fail("interpolate", source, tmp_path / "o.zarr", "--stamp", "nowhere")
