"""The simulated ocean: that it is what its text says, part by part."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

from isopleth.errors import ConfigError
from isopleth.fields import trend
from isopleth.samples import sea_level
from isopleth.samples.ocean import FORCINGS, INTERNAL_TREND, MODELLED, Ocean

COARSE = {"members": 2, "first_year": 1990, "last_year": 2025, "resolution_deg": 6.0}


@pytest.fixture(scope="module")
def sample():
    return sea_level(**COARSE)


def area_mean(field: xr.DataArray) -> xr.DataArray:
    """Average with plain cosines, away from the package's own weights."""
    return field.weighted(np.cos(np.radians(field.lat))).mean(("lat", "lon"))


def rms(field: xr.DataArray) -> float:
    return float(np.sqrt(area_mean(field**2)))


def test_layout(sample):
    truth, model, seen = sample.truth(), sample.model("MPI-GE"), sample.altimeter()
    assert truth.dims == ("time", "lat", "lon")
    assert dict(model.sizes) == {"member": 2, "time": 36, "lat": 30, "lon": 60}
    assert list(seen.time.dt.year.values[[0, -1]]) == [1993, 2022]
    land = ~sample.sea
    for field in (truth, model, seen):
        assert field.dtype == np.float32
        assert field.attrs["units"] == "m"
        assert np.isnan(field.values[..., land]).all()
        assert np.isfinite(field.values[..., ~land]).all()
    assert 0.2 < land.mean() < 0.45


def test_the_same_arguments_give_the_same_bits(sample):
    again = sea_level(**COARSE)
    np.testing.assert_array_equal(again.truth(), sample.truth())
    np.testing.assert_array_equal(again.altimeter(), sample.altimeter())
    more = sea_level(**COARSE | {"members": 3}).model("CESM2")
    np.testing.assert_array_equal(more.isel(member=slice(0, 2)), sample.model("CESM2"))


def test_members_seeds_and_models_differ(sample):
    model = sample.model("CESM1")
    assert rms((model[0] - model[1]).isel(time=3)) > 0.01
    assert rms(sea_level(**COARSE, seed=1).trend((1993, 2022)) - sample.trend((1993, 2022))) > 0.5
    assert rms(sample.forced_model("CESM1")[5] - sample.forced_model("CESM2")[5]) > 1e-3


def test_parts_add_up_to_the_whole(sample):
    rest = sample.truth() - sample.truth("forced") - sample.truth("internal")
    assert float((rest - rest.isel(time=0)).max()) < 2e-6
    assert rms(rest.isel(time=0)) > 0.2


def test_years_are_means_of_months(sample):
    months = sea_level(**COARSE, frequency="month").truth()
    years = months.coarsen(time=12).mean()
    np.testing.assert_allclose(years.values, sample.truth().values, atol=2e-6)
    cycle = months.groupby("time.month").mean()
    high = cycle.sel(lat=45.0, lon=180.0, method="nearest")
    assert int(high.month[int(np.argmax(high.values))]) == 9


@pytest.mark.parametrize("part", ["all", "forced", "internal"])
def test_trends_are_those_of_the_fields(sample, part):
    period = slice("1995", "2024")
    for name, field in (("truth", sample.truth(part)), ("GFDL-ESM2M", sample.model("GFDL-ESM2M", part)[0])):
        years = field.sel(time=period).assign_coords(time=np.arange(1995, 2025))
        fitted = trend(years.astype(float) * 1000.0, method="ols", harmonics=0).slope
        np.testing.assert_allclose(sample.trend((1995, 2024), model=name, part=part), fitted, atol=2e-4)


def test_patterns_have_the_stated_spread_and_no_mean():
    fine = sea_level(resolution_deg=2.0, members=1)
    patterns = fine.ocean.forced(fine._sea_points)
    for forcing, values in zip(FORCINGS, patterns, strict=True):
        field = fine._map(values)
        assert float(area_mean(field)) == pytest.approx(0.0, abs=1e-3)
        assert rms(field) == pytest.approx(forcing.spread, rel=1e-3)


def test_global_mean_rises_and_accelerates_as_observed():
    sample = sea_level(resolution_deg=6.0, members=1)
    years = np.arange(1960, 2056) - 2007.5
    era = slice(1993 - 1960, 2023 - 1960)
    quadratic = np.polyfit(years[era], 1000.0 * sample.global_mean()[era], 2)
    assert quadratic[1] == pytest.approx(3.4, abs=0.1)
    assert 2.0 * quadratic[0] == pytest.approx(0.08, abs=0.02)


def test_internal_trends_have_the_stated_size():
    sample = sea_level(resolution_deg=6.0, members=60, first_year=1993, last_year=2022)
    terms = sample.terms(sample._sea_points)
    axis = np.arange(360) / 12.0
    weights = (axis - axis.mean()) / np.sum((axis - axis.mean()) ** 2)
    squares = []
    for k in range(60):
        modes, noise = sample.ocean.internal_series(np.random.default_rng(k), 360)
        squares.append(rms(sample._map(weights @ (modes.T @ terms.modes + noise.T @ terms.noise))) ** 2)
    assert np.sqrt(np.mean(squares)) == pytest.approx(INTERNAL_TREND, rel=0.07)


def test_a_model_without_error_has_the_true_patterns(sample):
    error = dataclasses.replace(
        sample.error("CESM1"),
        gains=dict.fromkeys(MODELLED, 1.0),
        turn=np.eye(3),
        nonlinearity=0.0,
        distortion=0.0,
    )
    found = sample.ocean.forced(sample._sea_points, error)
    true = sample.ocean.forced(sample._sea_points)
    np.testing.assert_allclose(found[: len(MODELLED)], true[: len(MODELLED)], atol=1e-9)
    np.testing.assert_array_equal(found[len(MODELLED) :], 0.0)


def test_errors_depend_on_sign_and_latitude_as_stated(sample):
    error = dataclasses.replace(
        sample.error("MPI-ESM1-2-LR"),
        gains=dict.fromkeys(MODELLED, 1.3),
        turn=np.eye(3),
        nonlinearity=0.5,
        by_sign=0.8,
        by_latitude=-0.4,
        distortion=0.0,
    )
    points = sample._sea_points
    true = sample.ocean.forced(points)[0]
    twice_lat = 2.0 * np.arcsin(points[:, 2])
    expected = 1.3 * (1.0 + 0.5 * (0.8 * np.tanh(true / FORCINGS[0].spread) - 0.4 * np.cos(twice_lat))) * true
    found = sample.ocean.forced(points, error)[0]
    np.testing.assert_allclose(found - expected, (found - expected).mean(), atol=1e-9)


def test_models_err_but_know_something(sample):
    true = sample.trend((1993, 2022), part="forced")
    true = true - area_mean(true)
    for model in sample.models[:6]:
        found = sample.trend((1993, 2022), model=model, part="forced")
        correlation = float(area_mean(true * found)) / rms(true) / rms(found)
        assert 0.3 < correlation < 0.98


def test_models_are_wrong_in_the_same_way_at_all_times(sample):
    """Ratios of trends of two periods are the curves' alone: one forcing, no ice."""
    early, late = (
        sample.trend(years, model="CESM2-GHG", part="forced") for years in ((1990, 2000), (2010, 2020))
    )
    curve = FORCINGS[0].curve(np.array([1990.0, 2001.0, 2010.0, 2021.0]))
    ratio = (late / early).where(abs(early) > 0.05)
    assert float(ratio.std()) < 1e-6
    assert float(ratio.mean()) == pytest.approx((curve[3] - curve[2]) / (curve[1] - curve[0]), rel=0.01)


def test_single_forcings_add_up_to_all(sample):
    whole = sample.forced_model("CESM2").astype(float)
    parts = sum(sample.forced_model(name).astype(float) for name in sample.models[6:])
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-7)


def test_noise_of_the_altimeter(sample):
    truth = sample.truth().sel(time=slice("1993", "2022"))
    noise = 1000.0 * (sample.altimeter() - (truth - truth.mean("time")))
    stated = np.sqrt((10.0**2 + 8.0**2) / 12.0)
    assert float(noise.std()) == pytest.approx(stated * np.sqrt(29 / 30), rel=0.03)


def test_steric_means_are_the_gains_times_the_expansion(sample):
    years = np.arange(1990, 2026) + 0.5
    truth = sum(f.global_mean * f.curve(years) for f in FORCINGS if f.in_models)
    np.testing.assert_allclose(sample.steric_mean("truth"), truth / 1000.0, atol=2e-5)
    gain = sample.error("CESM2").gains["greenhouse_gases"]
    expected = gain * FORCINGS[0].global_mean * FORCINGS[0].curve(years) / 1000.0
    np.testing.assert_allclose(sample.steric_mean("CESM2-GHG"), expected, atol=2e-5)


def test_the_world_does_not_depend_on_the_period():
    short, long = (sea_level(**COARSE | {"last_year": last}) for last in (2025, 2060))
    np.testing.assert_allclose(short.truth("forced"), long.truth("forced")[:36], atol=1e-7)
    assert Ocean(0).draw_error(0, 1, nonlinearity=0.3).gains == short.error("CESM2").gains


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"members": 0}, "members must be above 0"),
        ({"frequency": "day"}, "frequency must be one of"),
        ({"first_year": 2020, "last_year": 2020}, "two years apart"),
        ({"resolution_deg": 7.0}, "must divide 180"),
        ({"nonlinearity": 2.0}, "nonlinearity must lie"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        sea_level(**wrong)


def test_impossible_requests_are_refused(sample):
    with pytest.raises(ConfigError, match="years must lie in 1990 to 2025"):
        sample.trend((1960, 1990))
    with pytest.raises(ConfigError, match="model must be one of"):
        sample.model("HadCM3")
    with pytest.raises(ConfigError, match="part must be one of"):
        sample.truth("some")
