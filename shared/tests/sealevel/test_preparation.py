"""From files to one dataset, against the known truth; and what must be refused on the way."""

import json
import shutil

import distributed
import numpy as np
import pytest
import xarray as xr

from isopleth.errors import ConfigError, DataError
from isopleth.fields import trend
from isopleth.sealevel import (
    EnsembleSource,
    PreparationSettings,
    add_ocean_mean,
    components_table,
    prepare_sea_level,
    write_prepared,
)

YEARS = {"first_year": 2019, "last_year": 2026, "resolution_deg": 6.0}


def prepare(archive, **settings):
    ensembles = [
        EnsembleSource(name=name, source=str(path)) for name, path in archive.items() if name != "altimetry"
    ]
    return prepare_sea_level(ensembles, str(archive["altimetry"]), PreparationSettings(**YEARS | settings))


@pytest.fixture(scope="module")
def prepared(archive):
    return prepare(archive).load()


def departures(field: xr.DataArray, mask: xr.DataArray) -> xr.DataArray:
    """Take off the ocean's mean with plain cosines, away from the package's own means."""
    inside = field.where(mask)
    return inside - inside.weighted(np.cos(np.radians(field.lat))).mean(("lat", "lon"))


def yearly(field: xr.DataArray) -> xr.DataArray:
    return field.astype(float).coarsen(time=12).mean()


def rms(field: xr.DataArray) -> float:
    return float(np.sqrt((field**2).mean()))


# --- the known truth comes back


def test_layout(prepared):
    assert dict(prepared.sizes) == {"model": 4, "time": 8, "lat": 30, "lon": 60}
    assert prepared["sea_surface_height"].dims == ("model", "time", "lat", "lon")
    assert prepared["sea_surface_height"].dtype == prepared["observed"].dtype == np.float32
    assert prepared["sea_mask"].dtype == bool
    assert prepared["time"].dt.year.values.tolist() == list(range(2019, 2027))
    assert prepared["ensemble_size"].values.tolist() == [2, 2, 2, 2]
    inside = prepared["sea_mask"].values
    heights = prepared["sea_surface_height"].values
    assert np.isfinite(heights[..., inside]).all()
    assert np.isnan(heights[..., ~inside]).all()
    seen = prepared["observed"].sel(time=slice("2019", "2022")).values
    assert np.isfinite(seen[:, inside]).all()
    assert np.isnan(prepared["observed"].sel(time=slice("2023", "2026"))).all()
    assert prepared.attrs["observed_years"] == "2019-2022"


def test_forced_responses_are_those_of_the_sample(prepared, world):
    """Cells of 6 degrees hold four of the file's: what is left is the difference of mean and centre."""
    for name in prepared.model.values:
        true = departures(yearly(world.model(str(name)).mean("member")), prepared["sea_mask"])
        found = prepared["sea_surface_height"].sel(model=name)
        true, found = (f - f.mean("time") for f in (true, found.assign_coords(time=true.time)))
        assert rms(found - true) < 0.35 * rms(true)
        assert float(xr.corr(found, true)) > 0.94


def test_trends_are_those_of_the_sample(prepared, world):
    for name in prepared.model.values:
        members = [world.trend((2019, 2026), model=str(name), member=k) for k in range(2)]
        true = departures(sum(members) / 2.0, prepared["sea_mask"])
        series = 1000.0 * prepared["sea_surface_height"].sel(model=name).astype(float)
        found = trend(series, method="ols", harmonics=0).slope
        assert rms(found - true) < 0.3 * rms(true)


def test_the_altimeter_is_the_truth_with_noise(prepared, world):
    true = departures(yearly(world.truth()), prepared["sea_mask"]).sel(time=slice("2019", "2022"))
    seen = prepared["observed"].sel(time=slice("2019", "2022"))
    true, seen = (f - f.mean("time") for f in (true, seen.assign_coords(time=true.time)))
    assert 1000.0 * rms(seen - true) < 12.0
    assert float(xr.corr(seen, true)) > 0.9


def test_the_truth_comes_back_at_two_degrees(world, tmp_path):
    """On grids as fine as real ones the error of trends is a twentieth of the trends."""
    from isopleth.samples import sea_level, write_sea_level_sample

    fine = sea_level(members=1, first_year=1993, last_year=2022)
    files = write_sea_level_sample(tmp_path, fine, models=("CESM2", "MPI-ESM1-2-HR"), resolution_deg=1.5)
    settings = {"first_year": 1993, "last_year": 2022, "resolution_deg": 2.0}
    prepared = prepare(files, **settings).load()
    assert 9000 < int(prepared["sea_mask"].sum()) < 11500
    for name in ("CESM2", "MPI-ESM1-2-HR"):
        true = departures(fine.trend((1993, 2022), model=name), prepared["sea_mask"])
        series = 1000.0 * prepared["sea_surface_height"].sel(model=name).astype(float)
        found = trend(series, method="ols", harmonics=0).slope
        assert rms(found - true) < 0.06 * rms(true)
    seen = trend(1000.0 * prepared["observed"].astype(float), method="ols", harmonics=0).slope
    true = departures(fine.trend((1993, 2022)), prepared["sea_mask"])
    assert rms(seen - true) < 0.15 * rms(true)


def test_removed_means_can_be_put_back(archive, prepared):
    kept = prepare(archive, global_mean="keep").load()
    assert kept.attrs["global_mean"] == "kept"
    for field, mean in (("sea_surface_height", "model_global_mean"), ("observed", "observed_global_mean")):
        np.testing.assert_allclose(prepared[mean], kept[mean], atol=1e-7)
        again = add_ocean_mean(prepared[field], prepared[mean])
        np.testing.assert_allclose(again, kept[field], atol=3e-7)


def test_the_observed_global_mean_is_the_true_one(archive, world):
    seen = prepare(archive)["observed_global_mean"].sel(time=slice("2019", "2022")).values
    true = world.global_mean().reshape(-1, 12).mean(axis=1)[:4]
    # Against the trend's 13 mm in four years: noise, and the mean that internal variability has of its own.
    difference = 1000.0 * (seen - true)
    assert np.ptp(difference) < 6.0


def test_zostoga_is_added_where_it_is(archive, world):
    with_steric = prepare(archive, zostoga="add", global_mean="keep").load()
    without = prepare(archive, zostoga="ignore", global_mean="keep").load()
    added = with_steric["model_global_mean"] - without["model_global_mean"]
    expected = world.steric_mean("GFDL-ESM2M").reshape(-1, 12).mean(axis=1)
    np.testing.assert_allclose(added.sel(model="GFDL-ESM2M"), expected, atol=1e-5)
    np.testing.assert_array_equal(added.sel(model="CESM1"), 0.0)
    table = {row["name"]: row for row in components_table(with_steric)}
    assert table["GFDL-ESM2M"]["steric_mean"] == "added"
    assert table["CESM1"]["steric_mean"] == "no"


def test_a_uniform_gia_tilts_the_mean_alone(archive):
    plain = prepare(archive)["observed_global_mean"].values
    corrected = prepare(archive, gia="-0.3")
    rise = np.polyfit(np.arange(4), 1000.0 * (corrected["observed_global_mean"].values - plain)[:4], 1)[0]
    assert rise == pytest.approx(0.3, abs=1e-3)
    assert {r["name"]: r["gia"] for r in components_table(corrected)}["altimeter"] == "removed"


# --- members, months, coasts


def test_members_are_kept_and_average_to_the_forced_response(archive, prepared):
    kept = prepare(archive, members="keep").load()
    assert kept["sea_surface_height"].dims == ("model", "member", "time", "lat", "lon")
    np.testing.assert_allclose(
        kept["sea_surface_height"].mean("member"), prepared["sea_surface_height"], atol=1e-6
    )


def test_an_ensemble_of_fewer_members_ends_in_nan(archive, tmp_path):
    for path in archive["CESM1"].glob("*.001.*"):
        shutil.copy(path, tmp_path)
    kept = prepare(
        {"CESM1": tmp_path, "CESM2-GHG": archive["CESM2-GHG"], "altimetry": archive["altimetry"]},
        members="keep",
    )
    assert kept["ensemble_size"].values.tolist() == [1, 2]
    heights = kept["sea_surface_height"].load()
    inside = kept["sea_mask"]
    assert heights.sel(model="CESM1", member=1).isnull().all()
    assert heights.sel(model="CESM2-GHG", member=1).where(inside, 0.0).notnull().all()


def test_months_without_their_cycle(archive, world):
    months = prepare(archive, frequency="month").load()
    assert months.sizes["time"] == 96
    kept = prepare(archive, frequency="month", seasonal_cycle="keep").load()
    for field in ("sea_surface_height", "observed"):
        base = months[field].sel(time=slice("2019", "2022"))
        cycle = base.groupby("time.month").mean() - base.mean("time")
        assert float(abs(cycle).max()) < 5e-6
        base = kept[field].sel(time=slice("2019", "2022"))
        cycle = base.groupby("time.month").mean() - base.mean("time")
        assert float(cycle.std()) > 0.02
    np.testing.assert_allclose(
        months["sea_surface_height"].mean("time"), kept["sea_surface_height"].mean("time"), atol=6e-4
    )


@pytest.fixture
def narrow(archive, tmp_path):
    """CESM1 with land where the altimeter has sea: a block of the tropical Pacific."""
    folder = tmp_path / "narrow"
    shutil.copytree(archive["CESM1"], folder)
    import h5py

    for path in folder.iterdir():
        with h5py.File(path, "r+") as file:
            lat, lon = file["TLAT"][:], file["TLONG"][:]
            block = (np.abs(lat) < 8.0) & (np.abs(lon - 200.0) < 20.0)
            values = file["SSH"][:]
            values[:, block] = 1e36
            file["SSH"][:] = values
    return {**archive, "CESM1": folder}


def test_land_where_the_altimeter_has_sea_is_left_out_for_all(narrow, prepared):
    common = prepare(narrow)
    block = common["sea_mask"].sel(lat=slice(-4, 4), lon=slice(190, 210))
    assert not block.any()
    lost = common["lost_cells"].sel(model="CESM1").item() - prepared["lost_cells"].sel(model="CESM1").item()
    assert lost == int(prepared["sea_mask"].sum() - common["sea_mask"].sum()) > 8
    assert common["filled_cells"].values.tolist() == [0, 0, 0, 0]


def test_land_where_the_altimeter_has_sea_is_filled_from_neighbours(narrow, prepared):
    filled = prepare(narrow, coast="fill", fill_km=2500.0).load()
    block = filled["sea_mask"].sel(lat=slice(-4, 4), lon=slice(190, 210))
    assert block.all()
    assert filled["filled_cells"].sel(model="CESM1") >= block.size
    height = filled["sea_surface_height"].sel(model="CESM1")
    assert np.isfinite(height.where(filled["sea_mask"], 0.0)).all()
    # A cell's value is one of its neighbours', so none lies outside their range.
    east = height.sel(lat=3.0, lon=222.0) + filled["model_global_mean"].sel(model="CESM1")
    near = height.sel(lat=3.0, lon=216.0) + filled["model_global_mean"].sel(model="CESM1")
    assert abs(float((east - near).mean())) < 0.5


def test_cells_too_far_to_be_filled_are_lost(narrow):
    near = prepare(narrow, coast="fill", fill_km=100.0)
    assert not near["sea_mask"].sel(lat=3.0, lon=198.0)
    assert near["lost_cells"].sel(model="CESM1") > 8


# --- what is wrong


def damage(archive, tmp_path, change):
    import h5py

    folder = tmp_path / "damaged"
    shutil.copytree(archive["CESM1"], folder)
    with h5py.File(max(folder.iterdir()), "r+") as file:
        values = file["SSH"][:]
        change(values)
        file["SSH"][:] = values
    return {"CESM1": folder, "altimetry": archive["altimetry"]}


def test_a_month_without_values_is_refused(archive, tmp_path):
    def drop(values):
        values[7] = 1e36

    with pytest.raises(DataError, match="a model must have values over its sea at all times") as error:
        prepare(damage(archive, tmp_path, drop)).load()
    assert error.value.where == "CESM1"


def test_a_fill_value_read_as_data_is_refused(archive, tmp_path):
    def hide(values):
        values[:, 20:22, 30:40] = -2147483648.0

    with pytest.raises(DataError, match="sea surface height must lie within 10 m"):
        prepare(damage(archive, tmp_path, hide)).load()


def test_a_wrong_unit_is_refused(archive, tmp_path):
    def inflate(values):
        values[values < 1e30] *= 100.0

    with pytest.raises(DataError, match="sea surface height must lie within 10 m, got"):
        prepare(damage(archive, tmp_path, inflate)).load()


def test_a_missing_year_is_named_with_model_and_member(archive, tmp_path):
    folder = tmp_path / "short"
    shutil.copytree(archive["GFDL-ESM2M"], folder)
    with pytest.raises(DataError, match="got none of 2017, 2018") as error:
        prepare({**archive, "GFDL-ESM2M": folder}, first_year=2017)
    assert "CESM1" in str(error.value)
    assert "member 001" in str(error.value)


def test_months_cannot_be_had_from_years(archive, tmp_path):
    from isopleth.samples import sea_level, write_sea_level_sample

    annual = sea_level(members=1, first_year=2019, last_year=2026, resolution_deg=6.0)
    files = write_sea_level_sample(tmp_path, annual, models=("CESM1",), resolution_deg=6.0)
    with pytest.raises(DataError, match="fields must be monthly to be prepared as months"):
        prepare(files, frequency="month")


def test_altimetry_of_other_years_is_refused(archive):
    with pytest.raises(DataError, match="altimetry must share three years with 2021 to 2026"):
        prepare(archive, first_year=2021)


def test_names_must_differ(archive):
    twice = [EnsembleSource(name="A", source=str(archive["CESM1"]))] * 2
    with pytest.raises(ConfigError, match="each of its own name"):
        prepare_sea_level(twice, str(archive["altimetry"]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"first_year": 2020, "last_year": 2020}, "last_year must be after"),
        ({"resolution_deg": 7.0}, "must divide 180"),
        ({"coast": "guess"}, "coast must be one of"),
        ({"min_valid": 0.0}, "min_valid must be above 0"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        PreparationSettings(**wrong)


# --- writing


def test_written_and_read_back(archive, prepared, tmp_path):
    lazy = prepare(archive)
    for path in (tmp_path / "p.zarr", tmp_path / "p.nc"):
        write_prepared(lazy, path)
        again = xr.open_dataset(path, engine="zarr" if path.suffix == ".zarr" else "h5netcdf").load()
        np.testing.assert_array_equal(again["sea_surface_height"], prepared["sea_surface_height"])
        np.testing.assert_array_equal(again["sea_mask"], prepared["sea_mask"])
        assert again["sea_mask"].dtype == bool
        assert again["model"].values.tolist() == prepared["model"].values.tolist()
        assert json.loads(again.attrs["settings"])["resolution_deg"] == 6.0


def test_a_finished_store_is_left_as_it_is(archive, tmp_path):
    path, lazy = tmp_path / "p.zarr", prepare(archive)
    write_prepared(lazy, path, resume=True)
    before = (path / "zarr.json").stat().st_mtime_ns
    write_prepared(lazy, path, resume=True)
    assert (path / "zarr.json").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="a store to resume must be zarr"):
        write_prepared(lazy, tmp_path / "p.nc", resume=True)


def test_a_cluster_gives_the_same(archive, prepared, tmp_path):
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        path = write_prepared(prepare(archive), tmp_path / "p.zarr", scheduler=cluster.scheduler_address)
    again = xr.open_zarr(path, chunks=None)
    np.testing.assert_array_equal(again["sea_surface_height"], prepared["sea_surface_height"])
