"""Trends are those of a straight line, and the global mean is where it was asked to be."""

import numpy as np
import pytest
import xarray as xr

from isopleth.errors import DataError
from isopleth.sealevel.global_mean import ocean_mean
from sealevel_trend.config import PeriodConfig
from sealevel_trend.data import _smooth, compute_trends, open_prepared, split_record

PAST = (1993, 2022)


def test_trends_are_polyfit_on_annual_means(prepared):
    trends = compute_trends(prepared, PAST, "keep")
    years = np.arange(1993, 2023)
    cell = prepared["sea_mask"].values.nonzero()[0][400], prepared["sea_mask"].values.nonzero()[1][400]
    series = prepared["observed"].isel(time=slice(30)).values[:, cell[0], cell[1]].astype(float)
    assert trends.observed.values[cell] == pytest.approx(1000 * np.polyfit(years, series, 1)[0], rel=1e-3)
    members = prepared["sea_surface_height"].isel(model=1, time=slice(30)).values[:, :, cell[0], cell[1]]
    slopes = [1000 * np.polyfit(years, one.astype(float), 1)[0] for one in members]
    assert trends.models.values[(1, *cell)] == pytest.approx(np.mean(slopes), abs=1e-3)
    assert trends.members.values[(1, *cell)] == pytest.approx(slopes[0], abs=1e-3)


def test_the_worlds_own_trend_is_found(prepared, world):
    trends = compute_trends(prepared, PAST, "keep")
    truth = world.trend(PAST)
    assert float(abs(trends.observed - truth).mean()) < 0.15  # the altimeter's noise
    assert trends.mean == pytest.approx(float(ocean_mean(truth)), abs=0.05)


def test_the_global_mean_is_removed_or_kept_whatever_was_prepared(prepared):
    kept, removed = (compute_trends(prepared, PAST, option) for option in ("keep", "remove"))
    assert float(ocean_mean(kept.observed)) == pytest.approx(kept.mean)
    assert float(ocean_mean(removed.observed)) == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(kept.observed - kept.mean, removed.observed, atol=1e-6)
    height, observed = prepared["sea_surface_height"], prepared["observed"]
    without = prepared.assign(
        sea_surface_height=(height - prepared["model_global_mean"]).assign_attrs(units="m"),
        observed=(observed - prepared["observed_global_mean"]).assign_attrs(units="m"),
    ).assign_attrs(global_mean="removed")
    for option, expected in (("keep", kept), ("remove", removed), ("add_back", removed)):
        found = compute_trends(without, PAST, option)
        np.testing.assert_allclose(found.observed, expected.observed, atol=1e-3)
        np.testing.assert_allclose(found.models, expected.models, atol=1e-3)
        assert found.mean == pytest.approx(kept.mean, abs=1e-3)


def test_the_future_has_no_observed_trend(prepared):
    future = compute_trends(prepared, (2023, 2052), "remove")
    assert future.observed is None
    assert np.isnan(future.rows().target).all()


def test_missing_years_and_models_are_named(prepared):
    with pytest.raises(DataError, match="every year from 1990 to 2022, got 30 of 33"):
        compute_trends(prepared, (1990, 2022), "remove")
    gap = prepared.isel(time=np.r_[0:10, 11:60])
    with pytest.raises(DataError, match="got 29 of 30"):
        compute_trends(gap, PAST, "remove")
    with pytest.raises(DataError, match="none called CanESM5"):
        compute_trends(prepared, PAST, "remove").select(("CESM1", "CanESM5"))


def test_a_model_of_fewer_members_gives_its_last(prepared):
    short = prepared.copy()
    height = prepared["sea_surface_height"].copy()
    height[0, 1] = np.nan
    short["sea_surface_height"] = height
    whole, found = compute_trends(prepared, PAST, "keep"), compute_trends(short, PAST, "keep", member=1)
    np.testing.assert_allclose(found.members[0], whole.members[0], atol=1e-9)
    np.testing.assert_allclose(found.models[0], found.members[0], atol=1e-9)


def test_internal_spread_is_that_of_members_and_as_wide_as_the_world_says(world, prepared):
    internal = compute_trends(prepared, PAST, "remove").internal
    assert np.isfinite(internal).sum() == world.sea.sum()
    area = np.broadcast_to(np.cos(np.radians(world.grid.lat))[:, None], world.sea.shape).ravel()
    known = np.isfinite(internal)
    rms = np.sqrt(np.average(internal[known] ** 2, weights=area[known]))
    # INTERNAL_TREND of the sample is 1.0 mm/year, times 0.8 to 1.25 in a model.
    assert 0.7 < rms < 1.35
    assert compute_trends(prepared.isel(member=0), PAST, "remove").internal is None


def test_smoothing_is_scipys_and_leaves_land_out():
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    field = rng.normal(size=(30, 60))
    expected = gaussian_filter(field, 1.5, mode=("nearest", "wrap"), truncate=10 / 3)
    np.testing.assert_allclose(_smooth(field, 1.5), expected, atol=0.02)
    holes = np.where(rng.random(field.shape) < 0.3, np.nan, 4.0)
    np.testing.assert_allclose(_smooth(holes, 2.0), holes)


def test_halves_of_the_record_do_not_overlap():
    assert split_record(PeriodConfig()) == ((1993, 2007), (2008, 2022))
    early, late = split_record(PeriodConfig(past=(1993, 2021), future=(2022, 2050)))
    assert early[1] + 1 == late[0]
    assert late[1] == 2021


def test_what_is_not_prepared_is_refused(tmp_path, prepared):
    with pytest.raises(DataError, match="must exist"):
        open_prepared(tmp_path / "none.zarr")
    (tmp_path / "text.nc").write_text("no data")
    with pytest.raises(DataError, match="NetCDF or zarr"):
        open_prepared(tmp_path / "text.nc")
    xr.Dataset({"sla": ("x", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="sea_surface_height"):
        open_prepared(tmp_path / "other.nc")


def test_single_forcing_ensembles_are_not_among_the_models(prepared, tmp_path):
    marked = prepared.assign_coords(forcing=("model", ["all", "all", "all", "aerosols"]))
    marked.to_netcdf(tmp_path / "p.nc", engine="h5netcdf")
    with open_prepared(tmp_path / "p.nc") as opened:
        assert opened["model"].values.tolist() == ["CESM1", "CESM2", "GFDL-ESM2M"]
